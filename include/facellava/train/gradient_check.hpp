// Gradients against finite differences of the loss, on a user's own batch.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "facellava/train/any_model.hpp"

namespace facellava::train {

struct CheckedGradient {
  std::string name;
  Index row, column;
  double gradient, difference;  // of the loss, over 2 h

  double error() const {
    const double most = std::max(std::abs(gradient), std::abs(difference));
    return most > 0 ? std::abs(gradient - difference) / most : 0;
  }
};

// Of at most `tensors` trained tensors, spread over the model, the entry with the largest gradient. h changes the loss
// by about 0.002, far above its round-off (1e-6) and within what is linear. Values are put back; dropout is off. Error
// kArgument for weights in bf16, which would swallow h.
inline std::vector<CheckedGradient> check_gradients(AnyModel& model, const Batch& batch, std::size_t tensors) {
  Parameters& p = model.parameters();
  if (p.options().precision != Precision::kF32)
    throw Error(ErrorKind::kArgument, "check of gradients: expected the precision f32, found bf16");
  model.zero_gradients();
  p.set_dropout(0, false);
  model.backward(batch, 1);
  model.gradient_norm();
  std::vector<CheckedGradient> out;
  std::vector<float*> where;
  const std::size_t all = p.trained().size(), n = std::min(all, tensors);
  for (std::size_t i = 0; i < n; ++i) {
    const TrainedTensor& t = p.trained()[i * all / n];
    const auto smaller = [](float a, float b) { return std::abs(a) < std::abs(b); };
    const Index at = std::max_element(t.dw.data, t.dw.data + t.dw.count(), smaller) - t.dw.data;
    if (t.dw.data[at] == 0) continue;  // nothing learns here: a module that is not used
    out.push_back({t.name, at / t.dw.size(1), at % t.dw.size(1), double(t.dw.data[at]), 0});
    where.push_back(t.w.data + at);
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float kept = *where[i], h = float(std::min(1e-3 / std::abs(out[i].gradient), 0.05));
    *where[i] = kept + h;
    const double high = model.backward(batch, 0), up = double(*where[i]);
    *where[i] = kept - h;
    const double low = model.backward(batch, 0), down = double(*where[i]);
    *where[i] = kept;
    out[i].difference = (high - low) / (up - down);
  }
  return out;
}

}  // namespace facellava::train

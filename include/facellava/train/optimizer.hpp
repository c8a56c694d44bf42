// Steps of AdamW and SGD over the trained tensors, clipped by their common norm; a rate of its own for each part.
#pragma once
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "facellava/train/landmark_coordinates.hpp"

namespace facellava::train {

enum class Optimizer { kAdamW, kSgd };
inline constexpr std::string_view kOptimizerNames[] = {"adamw", "sgd"};

struct OptimizerOptions {
  Optimizer kind = Optimizer::kAdamW;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adamw
  double momentum = 0;                                // sgd
  double weight_decay = 0;
  // How many times the run's rate, for each run::Part (of the decoder with its adapters), and for heads.
  std::array<double, 6> rates = {1, 1, 1, 1, 1, 1};
  std::optional<LandmarkCoordinates> landmarks = {};  // none: FRLP learns in those of its points

  int moments() const { return kind == Optimizer::kAdamW ? 2 : momentum != 0; }
};

// min(1, most / (norm + 1e-6)); most 0: no clipping.   torch.nn.utils.clip_grad_norm_
inline double clip_factor(double norm, double most) { return most > 0 ? std::min(1.0, most / (norm + 1e-6)) : 1.0; }

inline void zero_gradients(auto& dev, Parameters& p) {
  for (TrainedTensor& t : p.trained()) fill(dev, t.dw, 0);
}

// The norm of all gradients together. Error kNonFinite, which names the first tensor at fault.
inline double gradient_norm(auto& dev, const Parameters& p) {
  double squares = 0;
  for (const TrainedTensor& t : p.trained()) {
    sum_squares(dev, View<double, Host, 1>(&squares), t.dw);
    if (!std::isfinite(squares))
      throw Error(ErrorKind::kNonFinite, "the gradient of " + t.name + " is not finite, or too large to square");
  }
  return std::sqrt(squares);
}

namespace detail {

inline void update_all(auto& dev, Parameters& p, const OptimizerOptions& o, double rate, double scale, int step) {
  const auto with_master = [](TrainedTensor& t, auto&& f) {
    if (t.rounded)
      f(View<bf16, Host, kDyn, kDyn>(t.rounded, t.w.rows(), t.w.size(1)), t.w);
    else
      f(t.w, None{});
  };
  for (TrainedTensor& t : p.trained()) {
    const double own = rate * o.rates[is_head(t.name) ? 5 : std::size_t(t.part)], decay = t.decays ? o.weight_decay : 0;
    with_master(t, [&](auto w, auto master) {
      if (o.kind == Optimizer::kAdamW)
        adamw(dev, w, master, t.m, t.v, t.dw, AdamW{own, o.beta1, o.beta2, o.epsilon, decay, scale}, step);
      else if (o.momentum != 0)
        sgd(dev, w, master, t.m, t.dw, Sgd{own, o.momentum, decay, scale});
      else
        sgd(dev, w, master, None{}, t.dw, Sgd{own, 0, decay, scale});
    });
  }
}

}  // namespace detail

// step: from 1. scale: of the gradients.
inline void update(auto& dev, Parameters& p, const OptimizerOptions& o, double rate, double scale, int step) {
  const auto all = [&] { detail::update_all(dev, p, o, rate, scale, step); };
  if (o.landmarks)
    in_coordinates(*o.landmarks, p, all);
  else
    all();
}

}  // namespace facellava::train

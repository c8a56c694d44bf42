// FRLP learnt in coordinates in which faces differ by about 1, not by hundredths: z = scale · (p − mean). The tensors
// stay the architecture's, of plain points p: W p + b = (W / scale) z + (b + W mean). Only the optimiser's step sees z.
#pragma once
#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "facellava/core/regions.hpp"
#include "facellava/train/parameters.hpp"

namespace facellava::train {

struct LandmarkCoordinates {
  double scale = 1;
  std::array<double, 2 * kPoints> mean{};  // of aligned faces; 0..1, x and y interleaved
};

namespace detail {

// f(first coordinate, weight, bias) for each trained layer of FRLP.
void each_landmark_layer(Parameters& p, auto&& f) {
  const auto find = [&](const std::string& name) {
    auto& all = p.trained();
    const auto at = std::find_if(all.begin(), all.end(), [&](const TrainedTensor& t) { return t.name == name; });
    return at == all.end() ? nullptr : &*at;
  };
  const auto layer = [&](const std::string& name, int first) {
    TrainedTensor *w = find(name + ".weight"), *b = find(name + ".bias");
    if (w && b) f(2 * first, *w, *b);
  };
  layer("global_landmarks_projector", 0);
  for (const Region& r : kRegions) layer(std::string("landmarks_projector.region_layers.") + r.name, r.first);
}

// W ← by · W, and b ← b + side · (W of plain points) · mean
inline void change_coordinates(TrainedTensor& w, TrainedTensor& b, std::span<const double> mean, double by, int side) {
  for (Index r = 0; r < w.w.rows(); ++r) {
    double sum = 0;
    for (Index c = 0; c < w.w.size(1); ++c) {
      const double v = double(w.w(r, c)), changed = v * by;
      sum += (side > 0 ? v : changed) * mean[std::size_t(c)];
      w.w(r, c) = float(changed);
    }
    b.w(0, r) = float(double(b.w(0, r)) + side * sum);
  }
}
inline void change_gradient(TrainedTensor& w, const TrainedTensor& b, std::span<const double> mean, double scale) {
  for (Index r = 0; r < w.w.rows(); ++r)
    for (Index c = 0; c < w.w.size(1); ++c)
      w.dw(r, c) = float(scale * (double(w.dw(r, c)) - double(b.dw(0, r)) * mean[std::size_t(c)]));
}

}  // namespace detail

// update(), an optimiser's step, on FRLP's values and gradients in z; the gradients stay in z.
void in_coordinates(const LandmarkCoordinates& z, Parameters& p, auto&& update) {
  const std::span<const double> mean(z.mean);
  detail::each_landmark_layer(p, [&](int first, TrainedTensor& w, TrainedTensor& b) {
    const auto of_layer = mean.subspan(std::size_t(first));
    detail::change_gradient(w, b, of_layer, z.scale);
    detail::change_coordinates(w, b, of_layer, 1 / z.scale, 1);
  });
  update();
  detail::each_landmark_layer(p, [&](int first, TrainedTensor& w, TrainedTensor& b) {
    detail::change_coordinates(w, b, mean.subspan(std::size_t(first)), z.scale, -1);
  });
  p.round();
}

}  // namespace facellava::train

// The nine face regions of the 68-point layout, in the order of the released code's projectors, and their centroids.
#pragma once
#include <array>
#include <cmath>
#include <utility>

namespace facellava {

struct Region {
  const char* name;
  int first, count;  // points [first, first + count) of the 68
};
inline constexpr int kPoints = 68;
inline constexpr int kRegionCount = 9;
inline constexpr std::array<Region, kRegionCount> kRegions{{{"face", 0, 17},
                                                            {"eyebrow1", 17, 5},
                                                            {"eyebrow2", 22, 5},
                                                            {"nose", 27, 4},
                                                            {"nostril", 31, 5},
                                                            {"eye1", 36, 6},
                                                            {"eye2", 42, 6},
                                                            {"lips", 48, 12},
                                                            {"teeth", 60, 8}}};

// Mean x, y of each region's points.   points: 136 numbers, x and y interleaved.
template <class R>
constexpr std::array<R, 2 * kRegionCount> region_centroids(const auto* points) {
  std::array<R, 2 * kRegionCount> centre{};
  for (int g = 0; g < kRegionCount; ++g)
    for (int axis = 0; axis < 2; ++axis) {
      R sum{};
      for (int i = 0; i < kRegions[g].count; ++i) sum += R(points[2 * (kRegions[g].first + i) + axis]);
      centre[2 * g + axis] = sum / R(kRegions[g].count);
    }
  return centre;
}

// How near a patch is to each region: the additive bias of the region attention (m^RPP).
enum class RegionBias {
  kSoftmaxTransposed,  // softmax over regions of −distance, the patch's row taken for x: as the released `masked` code
  kSoftmax,            // the same with x and y in their places
  kDistance,           // −scale · distance: the paper's figure
};

// The biases of patch i of an n × n grid, row by row; i < 0 is the class token, at distance 0 from every region.
template <class R>
std::array<R, kRegionCount> region_bias_row(const std::array<R, 2 * kRegionCount>& centre, int i, int n,
                                            RegionBias kind, R scale) {
  using std::exp, std::sqrt;
  R x = (R(i % n) + R(0.5)) / R(n), y = (R(i / n) + R(0.5)) / R(n);
  if (kind == RegionBias::kSoftmaxTransposed) std::swap(x, y);
  std::array<R, kRegionCount> bias{};
  for (int g = 0; i >= 0 && g < kRegionCount; ++g) {
    const R dx = x - centre[2 * g], dy = y - centre[2 * g + 1];
    bias[g] = -sqrt(dx * dx + dy * dy);
  }
  if (kind == RegionBias::kDistance) {
    for (R& b : bias) b = b * scale;
    return bias;
  }
  R sum{};
  for (R& b : bias) sum += b = exp(b);
  for (R& b : bias) b = b / sum;
  return bias;
}

}  // namespace facellava

// The 68 landmarks of a face (Multi-PIE layout, as iBUG 300-W and dlib have it) and the numbers that the model gets:
// 136 of them, x and y of each point in turn. The regions they form: core/regions.hpp.
#pragma once
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/regions.hpp"

namespace facellava::faces {

struct Point {
  float x = 0, y = 0;  // pixels of the picture they belong to, from its upper left corner
};
using Landmarks = std::array<Point, kPoints>;

enum class LandmarkNormalisation {
  kBy256,      // by 256, whatever the picture: what the released code does, for its face crops of 256 x 256
  kByPicture,  // x by the width, y by the height
};

// 136 numbers. width, height: of the picture, which kByPicture needs. Errors: kShape (not 68 points), kNonFinite
// (naming the point), kArgument (a size below 1).
inline std::vector<float> normalise(std::span<const Point> points, LandmarkNormalisation policy, int width,
                                    int height) {
  check_equal(kPoints, points.size(), "normalise: landmarks of a face");
  if (policy == LandmarkNormalisation::kByPicture && (width < 1 || height < 1))
    throw Error(ErrorKind::kArgument, "normalise: expected the size of the picture, found " + std::to_string(width) +
                                          " x " + std::to_string(height));
  const bool by_256 = policy == LandmarkNormalisation::kBy256;
  const float w = by_256 ? 256 : float(width), h = by_256 ? 256 : float(height);
  std::vector<float> out;
  out.reserve(2 * points.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(points[i].x) || !std::isfinite(points[i].y))
      throw Error(ErrorKind::kNonFinite, "normalise: landmark " + std::to_string(i) + " is (" +
                                             std::to_string(points[i].x) + ", " + std::to_string(points[i].y) + ")");
    out.push_back(points[i].x / w);
    out.push_back(points[i].y / h);
  }
  return out;
}

}  // namespace facellava::faces

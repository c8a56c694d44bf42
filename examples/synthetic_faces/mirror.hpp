// A sample as a mirror shows it: pixels, points, and every label that knows left from right.
#pragma once
#include "labels.hpp"

namespace synthetic_faces {

// The point that point i becomes.
constexpr int mirrored_point(int i) {
  constexpr struct {
    int first, last, sum;  // points first..last are those with sum − i
  } kRuns[] = {{0, 16, 16},  {17, 26, 43}, {27, 30, 0},   {31, 35, 66},  {36, 39, 81},  {40, 41, 87},
               {42, 45, 81}, {46, 47, 87}, {48, 54, 102}, {55, 59, 114}, {60, 64, 124}, {65, 67, 132}};
  for (const auto& r : kRuns)
    if (i >= r.first && i <= r.last) return r.sum ? r.sum - i : i;
  return i;
}

inline facellava::media::Image mirrored(const facellava::media::Image& image) {
  facellava::media::Image out(image.width(), image.height());
  for (int y = 0; y < image.height(); ++y)
    for (int x = 0; x < image.width(); ++x) std::copy_n(image.pixel(image.width() - 1 - x, y), 3, out.pixel(x, y));
  return out;
}

inline Labels mirrored(Labels l) {
  for (Intensity& i : l.expression.au) std::swap(i.left, i.right);
  l.expression.gaze.x *= -1;
  std::swap(l.covered[1], l.covered[2]);
  std::swap(l.covered[5], l.covered[6]);
  l.pose.yaw *= -1;
  l.pose.roll *= -1;
  l.pose.shift.x *= -1;
  for (Points& frame : l.points) {
    const Points was = frame;
    for (int i = 0; i < facellava::kPoints; ++i) {
      const Vec2 p = was[std::size_t(mirrored_point(i))];
      frame[std::size_t(i)] = {float(l.side) - p.x, p.y};
    }
  }
  return l;
}

}  // namespace synthetic_faces

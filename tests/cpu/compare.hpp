// How far the CPU device's numbers are from the reference device's in double.
#pragma once
#include "support/random.hpp"

namespace facellava::test {

inline constexpr double kEps = 0x1p-24;

// relative_to_max of two matrices of one shape; kSeen: also of what stands between their rows, which must stay.
enum class Gaps { kPassed, kSeen };
inline double error(const Random<float>& a, const Random<double>& b, Gaps gaps = Gaps::kPassed) {
  const auto width = [gaps](const auto& m) { return gaps == Gaps::kSeen ? m.stride : m.width; };
  std::vector<float> x;
  std::vector<double> y;
  for (Index r = 0; r < a.rows; ++r)
    for (Index c = 0; c < width(a); ++c) {
      x.push_back(a.values[std::size_t(r * a.stride + c)]);
      y.push_back(b.values[std::size_t(r * b.stride + c)]);
    }
  return relative_to_max(x, y, Index(x.size()));
}

}  // namespace facellava::test

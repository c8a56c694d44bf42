// Finding NaN and infinity: cheap on every layer's output, thorough on the weights once something went wrong.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "facellava/core/leaf.hpp"
#include "facellava/io/naming.hpp"

namespace facellava::run {

// The first row of x [rows, width] that holds a value which is not finite, or −1.
Index first_row_not_finite(auto x) {
  constexpr std::uint32_t kInfinity = 0x7f800000u;
  for (Index r = 0; r < x.rows(); ++r) {
    std::uint32_t top = 0;
    for (Index c = 0; c < x.size(1); ++c)
      top = std::max(top, std::bit_cast<std::uint32_t>(float(x(r, c))) & 0x7fffffffu);
    if (top >= kInfinity) return r;
  }
  return -1;
}

inline bool is_finite(const Leaf& leaf) {
  for (Index r = 0; r < leaf.rows(); ++r)
    for (Index c = 0; c < leaf.columns(); ++c)
      if (!std::isfinite(leaf(r, c))) return false;
  return true;
}

// "; the weight NAME is not finite (in a checkpoint: NAME)" for the first such weight of a model, or nothing.
inline std::string culprit(std::span<const NamedLeaf> leaves) {
  for (const NamedLeaf& l : leaves) {
    if (!l.leaf.is_bound() || is_finite(l.leaf)) continue;
    const auto theirs = io::rename(io::kOfficial, l.name);
    return "; the weight " + l.name + " is not finite" + (theirs ? " (in a checkpoint: " + theirs->name + ")" : "");
  }
  return {};
}

}  // namespace facellava::run

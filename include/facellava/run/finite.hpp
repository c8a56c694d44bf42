// Finding NaN and infinity: cheap on every layer's output, thorough on the weights once something went wrong.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include "facellava/core/weight.hpp"
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

template <class L>
bool is_finite(const L& leaf) {
  for (Index r = 0; r < leaf.size(0); ++r) {
    if constexpr (L::kRank == 1) {
      if (!std::isfinite(leaf(r))) return false;
    } else {
      for (Index c = 0; c < leaf.size(1); ++c)
        if (!std::isfinite(leaf(r, c))) return false;
    }
  }
  return true;
}

// "; the weight NAME is not finite (in a checkpoint: NAME)" for the first such weight of a model, or nothing.
template <class M>
std::string culprit(const auto& params) {
  std::string found;
  M::visit(
      [&](const std::string& name, const auto& leaf) {
        if (!found.empty() || !leaf.data || is_finite(leaf)) return;
        found = "; the weight " + name + " is not finite";
        if (const auto theirs = io::rename(io::kOfficial, name)) found += " (in a checkpoint: " + theirs->name + ")";
      },
      "", params);
  return found;
}

}  // namespace facellava::run

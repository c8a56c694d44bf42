// Layout: what the rows of a batch are. Built on the host with the ids, copied to the device once a step.
#pragma once
#include "facellava/core/sequence.hpp"
#include "facellava/core/view.hpp"

namespace facellava {

template <class S>
struct Layout {
  View<const Sequence, S, kDyn> sequences;
  View<const KvRange, S, kDyn> ranges;
  View<const int, S, kDyn> positions;  // decoder: rotary position of each row; towers: token of its frame
  View<const int, S, kDyn> slots;      // decoder: row of the KV slab where each row is kept
};

// 1 / sqrt(n), at compile time.
constexpr float inverse_root(int n) {
  double x = n;
  for (int i = 0; i < 60; ++i) x = (x + n / x) / 2;
  return float(1 / x);
}

}  // namespace facellava

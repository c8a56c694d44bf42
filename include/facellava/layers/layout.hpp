// Layout: what the rows of a batch are. Built on the host with the ids, copied to the device once a step.
#pragma once
#include "facellava/core/sequence.hpp"
#include "facellava/core/staging.hpp"
#include "facellava/core/view.hpp"

namespace facellava {

template <class S>
struct Layout {
  View<const Sequence, S, kDyn> sequences;
  View<const KvRange, S, kDyn> ranges;
  View<const int, S, kDyn> positions;  // decoder: rotary position of each row; towers: token of its frame
  View<const int, S, kDyn> slots;      // decoder: row of the KV slab where each row is kept
};

template <class D>
Layout<typename D::Space> in(Staging<D>& staging, const Layout<Host>& l) {
  return {staging.in(l.sequences), staging.in(l.ranges), staging.in(l.positions), staging.in(l.slots)};
}

// What training keeps of every block for its backward: all of its cache, or its input alone, from which the rest is
// computed once more, in memory that the blocks share. The gradients are the same, bit by bit.
enum class Keep { kAll, kInputs };

// Carves the caches of equal blocks.
template <class Block>
void carve_blocks(auto& arena, auto& caches, Index rows, Keep keep) {
  const auto first = arena.mark();
  for (auto& c : caches) {
    if (keep == Keep::kInputs) arena.release(first);
    Block::carve(arena, c, rows);
  }
}

// 1 / sqrt(n), at compile time.
constexpr float inverse_root(int n) {
  double x = n;
  for (int i = 0; i < 60; ++i) x = (x + n / x) / 2;
  return float(1 / x);
}

}  // namespace facellava

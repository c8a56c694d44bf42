// The largest operands that a piece of work gives a device, from which it says what scratch it will need.
#pragma once
#include <algorithm>

#include "facellava/core/view.hpp"

namespace facellava {

struct LargestOps {
  Index elements = 0;  // of the input x [rows, columns] of a product, packed into tiles, at most
  Index columns = 0;   // of such an input, at most
  Index keys = 0;      // that one query attends to, at most
  Index head_dim = 0;  // at most
  Index width = 0;     // of a row that is read from an embedding matrix, at most

  constexpr void product(Index rows, Index inner) {
    const Index padded = (inner + kTile - 1) / kTile * kTile;
    columns = std::max(columns, padded);
    elements = std::max(elements, (rows + kTile) * padded);
  }
  constexpr void attention(Index all_keys, Index dim) {
    keys = std::max(keys, all_keys);
    head_dim = std::max(head_dim, dim);
  }
  constexpr void embedding(Index columns_of_it) { width = std::max(width, columns_of_it); }

  static constexpr Index kTile = 32;  // rows, and columns, that packing may add at most
};

// Bytes of scratch that work with these operands makes dev keep; 0 where the device does not say.
template <class D>
std::size_t scratch_bytes(const D& dev, const LargestOps& ops) {
  if constexpr (requires { dev.scratch_bytes(ops); })
    return std::size_t(dev.scratch_bytes(ops));
  else
    return 0;
}

}  // namespace facellava

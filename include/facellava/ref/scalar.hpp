// What the reference device's loops are made of.
#pragma once
#include <algorithm>

#include "facellava/core/ops.hpp"

namespace facellava::ref {

// What a view's elements are computed in.
template <class V>
using Field = Stat<std::remove_const_t<typename V::Element>>;

template <class R, class T>
R number(const T& x) {
  if constexpr (std::is_same_v<T, bf16>)
    return R(to_float(x));
  else
    return R(x);
}
template <class T>
void put(T& y, const auto& x) {
  if constexpr (std::is_same_v<T, bf16>)
    y = to_bf16(float(x));
  else
    y = x;
}
template <class T>
void put(T& y, const auto& x, Write write) {
  write == Write::kAccumulate ? y += x : y = x;
}
// Head g of row i of a by head h of row j of b.
auto dot(auto a, Index i, Index g, auto b, Index j, Index h) {
  using R = Field<decltype(a)>;
  R sum{};
  for (Index d = 0; d < a.size(2); ++d) sum += R(a(i, g, d)) * number<R>(b(j, h, d));
  return sum;
}

// Calls f(query row, keys) for every query of every sequence; keys(g) calls g(key row) for each key it sees, in order.
void for_each_query(auto sequences, auto ranges, Mask mask, auto f) {
  for (Index s = 0; s < sequences.rows(); ++s) {
    const Sequence q = sequences(s);
    int all = 0;
    for (int n = 0; n < q.ranges_count; ++n) all += ranges(q.ranges_first + n).count;
    for (int i = 0; i < q.q_count; ++i)
      f(q.q_first + Index(i) * q.stride, [=](auto g) {
        int seen = mask == Mask::kCausal ? all - q.q_count + i + 1 : all;
        for (int n = 0; n < q.ranges_count && seen > 0; ++n) {
          const KvRange kv = ranges(q.ranges_first + n);
          for (int j = 0; j < std::min(kv.count, seen); ++j) g(kv.first + Index(j) * q.stride);
          seen -= kv.count;
        }
      });
  }
}

}  // namespace facellava::ref

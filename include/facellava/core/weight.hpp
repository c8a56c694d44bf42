// Policies that say what the leaves of a layer's Params and Cache are.
//   Plain<T, Space>  every leaf is a View<T, Space, ...>: training, tests, hosts with weights of their own
//   Stored<Space>    a matrix keeps the format it has in its file (core/format.hpp), known at run time, per tensor;
//                    a vector is fp32. One compiled model serves every precision.
//   Brain<Space>     matrices bf16, vectors fp32: training in half the memory, with fp32 masters
//   Absent           no leaf is there: gradients of what is frozen
//   Act<T, Space>    activations of element T
#pragma once
#include "facellava/core/format.hpp"
#include "facellava/core/view.hpp"

namespace facellava {

// A matrix in the format of its file. Rows without gaps; a row of a block format is padded to whole blocks.
template <class S, Index... D>
struct StoredTensor {
  using Memory = S;
  static constexpr int kRank = sizeof...(D);
  static constexpr Index kStatic[kRank] = {D...};

  const std::byte* data = nullptr;
  Format format = Format::kF32;
  Index sizes[kRank] = {D...};
  const Nf4Scales* nf4 = nullptr;  // kNf4 only: the scales of the whole matrix that this one is, or is rows of

  constexpr Index size(int d) const { return sizes[d]; }
  constexpr Index rows() const { return sizes[0]; }
  const std::byte* row(Index r) const { return data + r * row_bytes(format, sizes[1]); }
  float operator()(Index i, Index j) const requires(kRank == 2) { return decode(format, row(i), j, nf4); }
};

template <Index First, Index N, class S, Index D0, Index D1>
StoredTensor<S, N, D1> rows(const StoredTensor<S, D0, D1>& w) {
  static_assert(First + N <= D0, "more rows than the matrix has");
  return {w.row(First), w.format, {N, D1}, w.nf4};
}

template <class T, class S>
struct Plain {
  template <Index out, Index in>
  using MatrixOf = View<T, S, out, in>;
  template <Index n>
  using VectorOf = View<T, S, n>;
};
template <class S>
struct Brain {
  template <Index out, Index in>
  using MatrixOf = View<bf16, S, out, in>;
  template <Index n>
  using VectorOf = View<float, S, n>;
};
template <class S>
struct Stored {
  template <Index out, Index in>
  using MatrixOf = StoredTensor<S, out, in>;
  template <Index n>
  using VectorOf = View<const float, S, n>;
};
struct None {};  // an absent operand: no bias, no residual, no gradient
template <class T>
inline constexpr bool kPresent = !std::is_same_v<std::remove_cvref_t<T>, None>;

// The policy of what is not there: the gradients of a frozen part.
struct Absent {
  template <Index out, Index in>
  using MatrixOf = None;
  template <Index n>
  using VectorOf = None;
};
template <class P, Index out, Index in>
using Matrix = typename P::template MatrixOf<out, in>;
template <class P, Index n>
using Vector = typename P::template VectorOf<n>;

template <class T, class S>
struct Act {
  using Element = T;
  using Space = S;
};
template <class A, Index... D>
using Tensor = View<typename A::Element, typename A::Space, D...>;
template <class A, Index... D>
using Statistic = View<Stat<typename A::Element>, typename A::Space, D...>;

// The values of a vector, as a matrix of one row.
template <class T, class S, Index N>
constexpr View<T, S, 1, N> as_row(View<T, S, N> v) {
  View<T, S, 1, N> o;
  o.data = v.data;
  o.sizes[1] = v.sizes[0];
  o.stride = v.sizes[0];
  return o;
}

}  // namespace facellava

// View<T, Space, Dims...>: a non-owning, trivially copyable array in a memory space. The last dimension is contiguous,
// the first may be strided; each dimension is static or kDyn. Features are static, batch and sequence are dynamic.
#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "facellava/core/error.hpp"
#include "facellava/core/host_device.hpp"

namespace facellava {

using Index = std::int64_t;
inline constexpr Index kDyn = -1;

struct Host {};  // memory that the program itself can read

template <class T, class Space, Index... D>
struct View {
  using Element = T;
  using Memory = Space;
  static constexpr int kRank = sizeof...(D);
  static constexpr Index kStatic[kRank] = {D...};

  T* data = nullptr;
  Index sizes[kRank] = {D...};
  Index stride = 0;  // elements from one first index to the next

  constexpr View() = default;

  // Contiguous. dynamic: the sizes of the dynamic dimensions, in order.
  template <std::convertible_to<Index>... I>
  constexpr explicit View(T* p, I... dynamic) : data(p) {
    static_assert(sizeof...(I) == ((D == kDyn) + ... + 0), "give one size per dynamic dimension");
    const Index n[] = {Index(dynamic)..., 0};
    for (int d = 0, k = 0; d < kRank; ++d)
      if (kStatic[d] == kDyn) sizes[d] = n[k++];
    stride = 1;
    for (int d = 1; d < kRank; ++d) stride *= sizes[d];
  }

  // Adds const; forgets static sizes or checks them.
  template <class U, Index... E>
  requires(std::is_convertible_v<U (*)[], T (*)[]> && sizeof...(E) == kRank &&
           !std::is_same_v<View<U, Space, E...>, View>) constexpr View(View<U, Space, E...> o)
      : data(o.data), stride(o.stride) {
    static_assert(((D == kDyn || E == kDyn || D == E) && ...), "static sizes differ");
    for (int d = 0; d < kRank; ++d) {
      if (kStatic[d] != kDyn) check_equal(kStatic[d], o.sizes[d], "size of a view");
      sizes[d] = o.sizes[d];
    }
  }

  FACELLAVA_HOST_DEVICE constexpr Index size(int d) const { return sizes[d]; }
  FACELLAVA_HOST_DEVICE constexpr Index rows() const { return sizes[0]; }
  constexpr Index row_size() const {
    Index n = 1;
    for (int d = 1; d < kRank; ++d) n *= sizes[d];
    return n;
  }
  constexpr Index count() const { return rows() * row_size(); }
  constexpr bool contiguous() const { return stride == row_size(); }
  FACELLAVA_HOST_DEVICE constexpr T* row(Index r) const { return data + r * stride; }

  FACELLAVA_HOST_DEVICE constexpr T& operator()(Index i) const requires(kRank == 1) { return data[i]; }
  FACELLAVA_HOST_DEVICE constexpr T& operator()(Index i, Index j) const requires(kRank == 2) {
    return data[i * stride + j];
  }
  FACELLAVA_HOST_DEVICE constexpr T& operator()(Index i, Index j, Index k) const requires(kRank == 3) {
    return data[i * stride + j * sizes[2] + k];
  }
};

// Rows [first, first + n) of v; the first dimension becomes dynamic.
template <class T, class S, Index D0, Index... D>
constexpr auto rows(View<T, S, D0, D...> v, Index first, Index n) {
  if (first < 0 || n < 0 || first > v.rows() - n)
    throw Error(ErrorKind::kShape, std::to_string(n) + " rows from row " + std::to_string(first) + " on of a view of " +
                                       std::to_string(v.rows()));
  View<T, S, kDyn, D...> o;
  o.data = v.row(first);
  o.stride = v.stride;
  o.sizes[0] = n;
  for (int d = 1; d < o.kRank; ++d) o.sizes[d] = v.sizes[d];
  return o;
}

// Rows [First, First + N), both static.
template <Index First, Index N, class T, class S, Index D0, Index... D>
constexpr auto rows(View<T, S, D0, D...> v) {
  static_assert(First + N <= D0, "more rows than the view has");
  View<T, S, N, D...> o;
  o.data = v.row(First);
  o.stride = v.stride;
  return o;
}

// Every step-th row of v, n of them, from first on.
template <class T, class S, Index D0, Index... D>
constexpr auto every(View<T, S, D0, D...> v, Index first, Index step, Index n) {
  if (n > 0) check_index(first + (n - 1) * step, v.rows(), "every");
  View<T, S, kDyn, D...> o;
  o.data = v.row(first);
  o.stride = v.stride * step;
  o.sizes[0] = n;
  for (int d = 1; d < o.kRank; ++d) o.sizes[d] = v.sizes[d];
  return o;
}

// Columns [First, First + N) of a matrix.
template <Index First, Index N, class T, class S, Index D0, Index D1>
constexpr auto columns(View<T, S, D0, D1> v) {
  static_assert(D1 == kDyn || First + N <= D1, "more columns than the view has");
  View<T, S, D0, N> o;
  o.data = v.data + First;
  o.stride = v.stride;
  o.sizes[0] = v.sizes[0];
  return o;
}

// [rows, H * D] seen as [rows, H, D].
template <Index H, class T, class S, Index R, Index N>
constexpr auto heads(View<T, S, R, N> v) {
  static_assert(N % H == 0, "the width must be a multiple of the number of heads");
  View<T, S, R, H, N / H> o;
  o.data = v.data;
  o.stride = v.stride;
  o.sizes[0] = v.sizes[0];
  return o;
}

}  // namespace facellava

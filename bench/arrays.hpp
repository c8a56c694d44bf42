// Operands of an op under test: the same random numbers for every element type, so that ref in double gets what the
// CPU device gets.
#pragma once
#include "random_matrix.hpp"

namespace facellava::bench {

template <class T>
class Arrays {
 public:
  using Element = T;
  View<T, Host, kDyn> vector(Index n, double amplitude = 1) { return View<T, Host, kDyn>(numbers(n, amplitude), n); }
  View<T, Host, kDyn, kDyn> matrix(Index rows, Index columns, double amplitude = 1) {
    return View<T, Host, kDyn, kDyn>(numbers(rows * columns, amplitude), rows, columns);
  }
  View<T, Host, kDyn, kDyn, kDyn> tensor(Index rows, Index heads, Index size) {
    return View<T, Host, kDyn, kDyn, kDyn>(numbers(rows * heads * size, 1), rows, heads, size);
  }
  // Keys or values: bf16, or T.
  template <class Kv>
  auto keys(Index rows, Index heads, Index size) {
    if constexpr (std::is_same_v<Kv, bf16>) {
      auto& kept = halves_.emplace_back(std::size_t(rows * heads * size));
      for (bf16& x : kept) x = to_bf16(float(2 * rng_.uniform() - 1));
      return View<bf16, Host, kDyn, kDyn, kDyn>(kept.data(), rows, heads, size);
    } else {
      return tensor(rows, heads, size);
    }
  }
  // In [0, below).
  View<int, Host, kDyn> ids(Index n, Index below) {
    auto& kept = integers_.emplace_back(std::size_t(n));
    for (int& i : kept) i = int(rng_.next() % std::uint64_t(below));
    return View<int, Host, kDyn>(kept.data(), n);
  }
  View<int, Host, kDyn> count_up(Index n) {
    auto& kept = integers_.emplace_back(std::size_t(n));
    for (Index i = 0; i < n; ++i) kept[std::size_t(i)] = int(i);
    return View<int, Host, kDyn>(kept.data(), n);
  }
  StoredTensor<Host, kDyn, kDyn> weights(Format f, Index rows, Index columns) {
    return matrices_.add(f, rows, columns);
  }

 private:
  T* numbers(Index n, double amplitude) {
    auto& kept = numbers_.emplace_back(std::size_t(n));
    fill(kept.begin(), kept.end(), amplitude, rng_);
    return kept.data();
  }

  Rng rng_{5};
  RandomMatrices matrices_{6};
  std::list<std::vector<T>> numbers_;
  std::list<std::vector<bf16>> halves_;
  std::list<std::vector<int>> integers_;
};

}  // namespace facellava::bench

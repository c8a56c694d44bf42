// Seeded random matrices for tests, with rows that may be strided.
#pragma once
#include <random>
#include <vector>

#include "facellava/core/weight.hpp"

namespace facellava::test {

template <class T>
struct Random {
  std::vector<T> values;
  Index rows, width, stride;

  Random(Index r, Index n, unsigned seed, Index gap = 0, float scale = 1) : rows(r), width(n), stride(n + gap) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, scale);
    values.resize(std::size_t(r * stride + 1));
    for (T& v : values) v = T(normal(engine));
  }
  View<T, Host, kDyn, kDyn> matrix() {
    View<T, Host, kDyn, kDyn> v(values.data(), rows, width);
    v.stride = stride;
    return v;
  }
  View<T, Host, kDyn> vector() { return View<T, Host, kDyn>(values.data(), width); }
  // [rows, heads, width / heads]
  View<T, Host, kDyn, kDyn, kDyn> heads(Index h) {
    View<T, Host, kDyn, kDyn, kDyn> v(values.data(), rows, h, width / h);
    v.stride = stride;
    return v;
  }
  template <class U>
  Random<U> as() const {
    Random<U> o(0, 0, 0);
    o.values.assign(values.begin(), values.end());
    o.rows = rows;
    o.width = width;
    o.stride = stride;
    return o;
  }
};

template <class T>
View<const T, Host, kDyn> array(const std::vector<T>& v) {
  return View<const T, Host, kDyn>(v.data(), Index(v.size()));
}

// max |a − b| / max |b|: the measure of every tolerance in the tests.
inline double relative_to_max(const auto& a, const auto& b, Index n) {
  double worst = 0, top = 0;
  for (Index i = 0; i < n; ++i) {
    const double d = std::abs(double(a[i]) - double(b[i]));
    worst = d <= worst ? worst : d;  // a NaN sticks
    if (!(d == d)) return d;
    top = std::max(top, std::abs(double(b[i])));
  }
  return top > 0 ? worst / top : worst;
}

}  // namespace facellava::test

// The exact check of a backward: for outputs y = f(x) and any upstream gradient dy, the derivative of <dy, y> along a
// direction v, carried by dual numbers, equals Σ <dx, v>.
#pragma once
#include <doctest/doctest.h>

#include <array>

#include "facellava/core/backward_ops.hpp"
#include "facellava/core/dual.hpp"
#include "support/random.hpp"

namespace facellava::test {

using Duals = Random<Dual>;

struct Input {
  Random<float> at;
  Write how = Write::kAccumulate;  // what backward does with its gradient
};
inline double inner(const Duals& gradient, const Duals& direction) {
  double sum = 0;
  for (Index r = 0; r < direction.rows; ++r)
    for (Index c = 0; c < direction.width; ++c)
      sum += gradient.values[std::size_t(r * gradient.stride + c)].value *
             direction.values[std::size_t(r * direction.stride + c)].slope;
  return sum;
}
// Two sums of the same numbers in double: the order of addition is all that differs.
inline void check_slope(double want, double got) {
  CHECK(std::abs(want) > 1e-6);
  CHECK(std::abs(got - want) < 1e-11 * (1 + std::abs(want)));
}

// forward(y, x) and backward(dx, dy, x, y), with dx of the shapes of x. Gradients are begun with random numbers: where
// they are to be added to, that is taken off again.
inline void check_backward(const std::vector<Input>& inputs, Index rows, Index width, auto forward, auto backward) {
  std::vector<Duals> x, dx;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    x.push_back(inputs[i].at.as<Dual>());
    dx.push_back(Duals(x[i].rows, x[i].width, unsigned(200 + i), x[i].stride - x[i].width));
    const Duals along(x[i].rows, x[i].width, unsigned(300 + i), x[i].stride - x[i].width);
    for (std::size_t k = 0; k < x[i].values.size(); ++k) x[i].values[k].slope = along.values[k].value;
  }
  Duals y(rows, width, 1), dy(rows, width, 400);
  forward(y, x);
  const std::vector<Duals> before = dx;
  backward(dx, dy, x, y);
  double want = inner(dy, y), got = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    got += inner(dx[i], x[i]);
    if (inputs[i].how == Write::kAccumulate) got -= inner(before[i], x[i]);
    for (Index r = 0; r < x[i].rows; ++r)  // what stands between rows is nobody's
      for (Index c = x[i].width; c < x[i].stride; ++c) {
        const std::size_t at = std::size_t(r * x[i].stride + c);
        CHECK(dx[i].values[at].value == before[i].values[at].value);
      }
  }
  check_slope(want, got);
}

}  // namespace facellava::test

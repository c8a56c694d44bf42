// Parameters of a layer over dual numbers, and their gradients.
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/ref/device.hpp"
#include "support/devices.hpp"
#include "support/slopes.hpp"

namespace facellava::test {

using DualAct = Act<Dual, Host>;
inline ref::Device dev;

inline void randomise(auto view, float scale = 1) {
  static unsigned seed = 1000;
  std::mt19937 engine(++seed);
  std::normal_distribution<float> normal(0, scale);
  for (Index r = 0; r < view.rows(); ++r)
    for (Index c = 0; c < view.row_size(); ++c) view.row(r)[c] = Dual(normal(engine), normal(engine));
}
double inner(auto gradient, auto direction) {
  double sum = 0;
  for (Index r = 0; r < direction.rows(); ++r)
    for (Index c = 0; c < direction.row_size(); ++c) sum += gradient.row(r)[c].value * direction.row(r)[c].slope;
  return sum;
}

// p is random, dp is 0.
template <class L>
struct DualParams {
  typename L::template Params<Plain<Dual, Host>> p, dp;

  DualParams() {
    memory_.carve([&](Arena& a) {
      L::visit(
          [&](std::string_view, auto& leaf, auto& gradient) {
            a.take(leaf);
            a.take(gradient);
          },
          "", p, dp);
    });
    ref::Device dev;
    L::visit(
        [&](std::string_view, auto& leaf, auto& gradient) {
          randomise(leaf);
          fill(dev, gradient, 0);
        },
        "", p, dp);
  }
  double inner_product() {
    double sum = 0;
    L::visit([&](std::string_view, auto& leaf, auto& gradient) { sum += inner(gradient, leaf); }, "", p, dp);
    return sum;
  }

 private:
  Workspace memory_;
};

}  // namespace facellava::test

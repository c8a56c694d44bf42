// The reference ops over dual numbers: the slope along a random direction equals the central difference in double.
#include "facellava/core/dual.hpp"

#include <doctest/doctest.h>

#include "facellava/layers/fusion.hpp"
#include "facellava/ref/device.hpp"
#include "support/random.hpp"

using namespace facellava;
using test::Random;

namespace {

// f(inputs) → output, generic over the field; inputs move along directions.
template <class F>
void check_slopes(const std::vector<Random<float>>& at, Index rows, Index width, F f) {
  std::vector<Random<float>> along;
  for (std::size_t i = 0; i < at.size(); ++i)
    along.push_back(Random<float>(at[i].rows, at[i].width, unsigned(100 + i)));
  std::vector<Random<Dual>> dual;
  for (std::size_t i = 0; i < at.size(); ++i) {
    dual.push_back(at[i].as<Dual>());
    for (std::size_t k = 0; k < along[i].values.size(); ++k) dual[i].values[k].slope = along[i].values[k];
  }
  Random<Dual> y(rows, width, 1);
  f(y, dual);
  const double h = 1e-5;
  Random<double> plus(rows, width, 1), minus(rows, width, 1);
  for (int sign : {1, -1}) {
    std::vector<Random<double>> moved;
    for (std::size_t i = 0; i < at.size(); ++i) {
      moved.push_back(at[i].as<double>());
      for (std::size_t k = 0; k < along[i].values.size(); ++k) moved[i].values[k] += sign * h * along[i].values[k];
    }
    f(sign > 0 ? plus : minus, moved);
  }
  bool any = false;
  for (Index i = 0; i < rows * width; ++i) {
    const double want = (plus.values[std::size_t(i)] - minus.values[std::size_t(i)]) / (2 * h);
    CHECK(y.values[std::size_t(i)].slope ==
          doctest::Approx(want).epsilon(1e-6));  // h² and 2^-53 / h are both near 1e-10
    any = any || std::abs(want) > 1e-3;
  }
  CHECK(any);
}

}  // namespace

TEST_CASE("slopes of the ops") {
  ref::Device dev;
  const Index m = 3, n = 5;
  const Random<float> x(m, n, 1), w(4, n, 2), b(1, 4, 3), res(m, 4, 4), g(1, n, 5), u(m, n, 6);
  SUBCASE("linear") {
    check_slopes({x, w, b, res}, m, 4, [&](auto& y, auto& in) {
      linear(dev, y.matrix(), in[0].matrix(), in[1].matrix(), in[2].vector(), in[3].matrix());
    });
  }
  SUBCASE("norms") {
    check_slopes({x, g}, m, n, [&](auto& y, auto& in) {
      auto rstd = in[0];
      rms_norm(dev, y.matrix(), View<typename decltype(rstd.values)::value_type, Host, kDyn>(rstd.values.data(), m),
               in[0].matrix(), in[1].vector(), 1e-5f);
    });
    check_slopes({x, g, g}, m, n, [&](auto& y, auto& in) {
      auto mean = in[0], rstd = in[0];
      using T = typename decltype(rstd.values)::value_type;
      layer_norm(dev, y.matrix(), View<T, Host, kDyn>(mean.values.data(), m),
                 View<T, Host, kDyn>(rstd.values.data(), m), in[0].matrix(), in[1].vector(), in[2].vector(), 1e-5f);
    });
  }
  SUBCASE("gelu and swiglu") {
    check_slopes({x}, m, n, [&](auto& y, auto& in) { gelu(dev, y.matrix(), in[0].matrix()); });
    check_slopes({x, u}, m, n, [&](auto& y, auto& in) { swiglu(dev, y.matrix(), in[0].matrix(), in[1].matrix()); });
  }
  SUBCASE("attention") {
    const std::vector<Sequence> sequences{{0, 3, 0, 2}};
    const std::vector<KvRange> ranges{{0, 2}, {3, 3}};
    check_slopes({Random<float>(3, 8, 1), Random<float>(6, 4, 2), Random<float>(6, 4, 3)}, 3, 8,
                 [&](auto& y, auto& in) {
                   auto lse = in[0];
                   lse.width = lse.stride = 2;
                   attention(dev, y.heads(2), lse.matrix(), in[0].heads(2), in[1].heads(1), in[2].heads(1),
                             View<const Sequence, Host, kDyn>(sequences.data(), 1),
                             View<const KvRange, Host, kDyn>(ranges.data(), 2), Mask::kCausal, 0.4f);
                 });
  }
  SUBCASE("region attention with its bias: through tokens, points and the distance scale") {
    for (auto kind : {RegionBias::kDistance, RegionBias::kSoftmax})
      check_slopes({Random<float>(5, 6, 1), Random<float>(9, 6, 2), Random<float>(9, 6, 3),
                    Random<float>(1, 136, 4, 0, .3f), Random<float>(1, 1, 5)},
                   5, 6, [&](auto& y, auto& in) {
                     using T = typename std::remove_reference_t<decltype(y.values)>::value_type;
                     Random<T> bias(5, 9, 7), p(5, 18, 8);
                     region_bias(dev, bias.matrix(), in[3].matrix(), in[4].vector(), 1.f, kind, ClassToken::kFirst, 2);
                     region_attention(dev, y.heads(2), p.heads(2), in[0].heads(2), in[1].heads(2), in[2].heads(2),
                                      bias.matrix(), 0.5f);
                   });
  }
}

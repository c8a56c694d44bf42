// The backward of every op on the reference device, exactly, by dual numbers; losses and optimisers against their
// formulas.
#include "facellava/core/backward_ops.hpp"
#include "facellava/ref/device.hpp"
#include "support/slopes.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

constexpr Write kWrites[] = {Write::kAssign, Write::kAccumulate};

}  // namespace

TEST_CASE("linear") {
  ref::Device dev;
  for (auto [m, n, k] : {std::array<Index, 3>{1, 1, 1}, {3, 4, 5}, {7, 2, 9}})
    for (Write how : kWrites)
      check_backward(
          {{Random<float>(m, k, 1, 2), how}, {Random<float>(n, k, 2)}, {Random<float>(1, n, 3)}}, m, n,
          [&](auto& y, auto& x) { linear(dev, y.matrix(), x[0].matrix(), x[1].matrix(), x[2].vector(), None{}); },
          [&](auto& d, auto& dy, auto& x, auto&) {
            linear_dx(dev, d[0].matrix(), dy.matrix(), x[1].matrix(), how);
            linear_dw(dev, d[1].matrix(), d[2].vector(), dy.matrix(), x[0].matrix());
          });
}
TEST_CASE("linear: absent gradients leave the others as they are") {
  ref::Device dev;
  Random<double> x(5, 3, 1), w(4, 3, 2), dy(5, 4, 3), dw(4, 3, 4), db(1, 4, 5), other = dw, bias = db;
  linear_dx(dev, None{}, dy.matrix(), w.matrix(), Write::kAssign);
  linear_dw(dev, None{}, None{}, dy.matrix(), x.matrix());
  linear_dw(dev, dw.matrix(), db.vector(), dy.matrix(), x.matrix());
  linear_dw(dev, other.matrix(), None{}, dy.matrix(), x.matrix());
  linear_dw(dev, None{}, bias.vector(), dy.matrix(), x.matrix());
  CHECK(dw.values == other.values);
  CHECK(db.values == bias.values);
}
TEST_CASE("rows: embed, add_rows, gather_rows") {
  ref::Device dev;
  const std::vector<int> ids{2, -1, 0, 2, 5}, all{2, 1, 0, 2, 5}, beyond{0, 1, 2, 3, 6};
  const auto backward = [&](const std::vector<int>& index) {
    return [&](auto& d, auto& dy, auto&, auto&) { scatter_add_rows(dev, d[0].matrix(), dy.matrix(), array(index)); };
  };
  const std::vector<Input> table{{Random<float>(6, 3, 1, 1)}};
  check_backward(
      table, 5, 3, [&](auto& y, auto& x) { embed(dev, y.matrix(), array(ids), x[0].matrix()); },
      [&](auto& d, auto& dy, auto&, auto&) { embed_dw(dev, d[0].matrix(), dy.matrix(), array(ids)); });
  check_backward(
      table, 5, 3, [&](auto& y, auto& x) { add_rows(dev, y.matrix(), array(all), x[0].matrix()); },
      [&](auto& d, auto& dy, auto&, auto&) { embed_dw(dev, d[0].matrix(), dy.matrix(), array(all)); });
  check_backward(
      table, 5, 3, [&](auto& y, auto& x) { gather_rows(dev, y.matrix(), x[0].matrix(), array(ids)); }, backward(ids));
  Random<double> dx(6, 3, 1), dy(5, 3, 2);
  CHECK_THROWS_AS(scatter_add_rows(dev, dx.matrix(), dy.matrix(), array(beyond)), Error);
  embed_dw(dev, None{}, dy.matrix(), array(beyond));  // nobody wants it: nobody looks
}
TEST_CASE("means of rows") {
  ref::Device dev;
  const std::vector<int> index{2, 1, 0, 2, 5, 4}, beyond{2, 1, 0, 2, 6, 4};
  for (const Index r : {1, 2, 3, 6})
    check_backward(
        {{Random<float>(6, 3, 1, 1)}}, r, 3,
        [&](auto& y, auto& x) { mean_rows(dev, y.matrix(), x[0].matrix(), array(index)); },
        [&](auto& d, auto& dy, auto&, auto&) { mean_rows_backward(dev, d[0].matrix(), dy.matrix(), array(index)); });
  Random<double> x(6, 3, 1), y(3, 3, 2), uneven(4, 3, 2);
  mean_rows(dev, y.matrix(), x.matrix(), array(index));
  CHECK(y.matrix()(1, 2) == doctest::Approx((x.matrix()(0, 2) + x.matrix()(2, 2)) / 2));
  CHECK_THROWS_AS(mean_rows(dev, y.matrix(), x.matrix(), array(beyond)), Error);
  CHECK_THROWS_AS(mean_rows_backward(dev, x.matrix(), y.matrix(), array(beyond)), Error);
  CHECK_THROWS_AS(mean_rows(dev, uneven.matrix(), x.matrix(), array(index)), Error);
}
TEST_CASE("norms") {
  ref::Device dev;
  const auto column = [](Duals& v) { return View<Dual, Host, kDyn>(v.values.data(), v.rows); };
  for (Index n : {1, 2, 7})
    for (Write how : kWrites) {
      Duals mean(5, 1, 8), rstd(5, 1, 9);
      const Input x{Random<float>(5, n, 1, 3), how}, w{Random<float>(1, n, 2)};
      check_backward(
          {x, w}, 5, n,
          [&](auto& y, auto& in) { rms_norm(dev, y.matrix(), column(rstd), in[0].matrix(), in[1].vector(), 1e-2f); },
          [&](auto& d, auto& dy, auto& in, auto&) {
            rms_norm_backward(dev, d[0].matrix(), d[1].vector(), dy.matrix(), column(rstd), in[0].matrix(),
                              in[1].vector(), how);
          });
      check_backward(
          {x, w, w}, 5, n,
          [&](auto& y, auto& in) {
            layer_norm(dev, y.matrix(), column(mean), column(rstd), in[0].matrix(), in[1].vector(), in[2].vector(),
                       1e-2f);
          },
          [&](auto& d, auto& dy, auto& in, auto&) {
            layer_norm_backward(dev, d[0].matrix(), d[1].vector(), d[2].vector(), dy.matrix(), column(mean),
                                column(rstd), in[0].matrix(), in[1].vector(), how);
            auto frozen = d[0];  // absent weights change nothing
            auto again = d[0];
            layer_norm_backward(dev, frozen.matrix(), None{}, None{}, dy.matrix(), column(mean), column(rstd),
                                in[0].matrix(), in[1].vector(), Write::kAssign);
            fill(dev, again.matrix(), 0);
            layer_norm_backward(dev, again.matrix(), None{}, None{}, dy.matrix(), column(mean), column(rstd),
                                in[0].matrix(), in[1].vector(), Write::kAccumulate);
            CHECK(inner(frozen, in[0]) == doctest::Approx(inner(again, in[0])));
          });
    }
}
TEST_CASE("gelu and swiglu, also in place of the upstream gradient") {
  ref::Device dev;
  const Input x{Random<float>(3, 5, 1, 1, 2), Write::kAssign}, u{Random<float>(3, 5, 2), Write::kAssign};
  check_backward(
      {x}, 3, 5, [&](auto& y, auto& in) { gelu(dev, y.matrix(), in[0].matrix()); },
      [&](auto& d, auto& dy, auto& in, auto&) {
        copy(dev, d[0].matrix(), dy.matrix());
        gelu_backward(dev, d[0].matrix(), d[0].matrix(), in[0].matrix());
      });
  check_backward(
      {x, u}, 3, 5, [&](auto& y, auto& in) { swiglu(dev, y.matrix(), in[0].matrix(), in[1].matrix()); },
      [&](auto& d, auto& dy, auto& in, auto&) {
        copy(dev, d[0].matrix(), dy.matrix());
        swiglu_backward(dev, d[0].matrix(), d[1].matrix(), d[0].matrix(), in[0].matrix(), in[1].matrix());
      });
}
TEST_CASE("rope: the inverse turns gradients back") {
  ref::Device dev;
  Duals table(6, 4, 3);
  for (Dual& t : table.values) t.slope = 0;
  const std::vector<int> positions{5, 0, 3};
  check_backward(
      {{Random<float>(3, 8, 1), Write::kAssign}}, 3, 8,
      [&](auto& y, auto& x) {
        copy(dev, y.matrix(), x[0].matrix());
        rope(dev, y.heads(2), array(positions), table.matrix(), Rotate::kForward);
      },
      [&](auto& d, auto& dy, auto&, auto&) {
        copy(dev, d[0].matrix(), dy.matrix());
        rope(dev, d[0].heads(2), array(positions), table.matrix(), Rotate::kInverse);
      });
}
TEST_CASE("attention: ranges shared and packed, causal tails, strides, grouped heads") {
  ref::Device dev;
  struct Case {
    std::vector<Sequence> sequences;
    std::vector<KvRange> ranges;
    Mask mask;
  };
  const std::vector<Case> cases{
      {{{0, 6, 0, 1}}, {{0, 6}}, Mask::kFull},
      {{{0, 6, 0, 1}}, {{2, 6}}, Mask::kCausal},
      {{{0, 2, 0, 1}, {2, 3, 1, 2}, {5, 1, 3, 2}}, {{0, 2}, {0, 2}, {2, 3}, {0, 2}, {5, 1}}, Mask::kCausal},
      {{{0, 3, 0, 1, 2}, {1, 3, 1, 1, 2}}, {{0, 3}, {1, 3}}, Mask::kFull},
  };
  for (auto [heads, kv, d] : {std::array<Index, 3>{1, 1, 3}, {4, 2, 2}, {3, 1, 5}})
    for (const Case& c : cases) {
      Duals lse(6, heads, 5);
      const auto sequences = array(c.sequences);
      const auto ranges = array(c.ranges);
      check_backward(
          {{Random<float>(6, heads * d, 1, 1), Write::kAssign},
           {Random<float>(8, kv * d, 2)},
           {Random<float>(8, kv * d, 3)}},
          6, heads * d,
          [&](auto& y, auto& x) {
            attention(dev, y.heads(heads), lse.matrix(), x[0].heads(heads), x[1].heads(kv), x[2].heads(kv), sequences,
                      ranges, c.mask, 0.6f);
          },
          [&](auto& g, auto& dy, auto& x, auto& y) {
            attention_backward(dev, g[0].heads(heads), g[1].heads(kv), g[2].heads(kv), dy.heads(heads), y.heads(heads),
                               lse.matrix(), x[0].heads(heads), x[1].heads(kv), x[2].heads(kv), sequences, ranges,
                               c.mask, 0.6f);
          });
    }
}
TEST_CASE("region attention, its bias and the scale of that") {
  ref::Device dev;
  const Write own = Write::kAssign;
  Duals p(10, 18, 8), dbias(10, 9, 9), bias(10, 9, 7);
  Duals points(2, 136, 4, 0, .3f);
  for (Dual& v : points.values) v.slope = 0;  // detached
  check_backward(
      {{Random<float>(10, 6, 1, 1), own},
       {Random<float>(18, 6, 2), own},
       {Random<float>(18, 6, 3), own},
       {Random<float>(1, 1, 5)}},
      10, 6,
      [&](auto& y, auto& x) {
        region_bias(dev, bias.matrix(), points.matrix(), x[3].vector(), 0.7f, RegionBias::kDistance, ClassToken::kFirst,
                    2);
        region_attention(dev, y.heads(2), p.heads(2), x[0].heads(2), x[1].heads(2), x[2].heads(2), bias.matrix(), 0.5f);
      },
      [&](auto& d, auto& dy, auto& x, auto&) {
        region_attention_backward(dev, d[0].heads(2), d[1].heads(2), d[2].heads(2), dbias.matrix(), dy.heads(2),
                                  p.heads(2), x[0].heads(2), x[1].heads(2), x[2].heads(2), 0.5f);
        region_bias_backward(dev, d[3].vector(), dbias.matrix(), points.matrix(), 0.7f, ClassToken::kFirst, 2);
      });
}
TEST_CASE("cross entropy: the gradient takes the place of the logits") {
  ref::Device dev;
  const Index m = 4, vocabulary = 7;
  const std::vector<int> labels{3, 0, -100, 6}, beyond{3, 0, -100, 7};
  Duals x(m, vocabulary, 1, 2, 3), nll(1, m, 2);
  for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i].slope = double(i % 5) - 1.7;
  auto logits = x;
  cross_entropy(dev, nll.vector(), logits.matrix(), array(labels), 0.25f);
  double slope = 0;
  for (Index r = 0; r < m; ++r) slope += 0.25 * nll.values[std::size_t(r)].slope;
  check_slope(slope, inner(logits, x));
  CHECK(nll.values[2].value == 0);
  for (Index c = 0; c < vocabulary; ++c) CHECK(logits.matrix()(2, c).value == 0);
  double sum = 0;
  for (Index c = 0; c < vocabulary; ++c) sum += std::exp(x.matrix()(1, c).value);
  CHECK(nll.values[1].value == doctest::Approx(std::log(sum) - x.matrix()(1, 0).value));
  CHECK_THROWS_AS(cross_entropy(dev, nll.vector(), logits.matrix(), array(beyond), 1), Error);
}
TEST_CASE("losses of labels: the gradient takes the place of what was said; a missing label counts for nothing") {
  ref::Device dev;
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  Duals x(3, 4, 1, 2, 3), loss(3, 4, 2);
  for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i].slope = double(i % 5) - 1.7;
  Random<double> targets(3, 4, 3);
  const auto check = [&](double missing, auto run) {
    targets.values[5] = missing;
    auto said = x;
    run(said);
    double slope = 0;
    for (const Dual& l : loss.values) slope += 0.25 * l.slope;
    check_slope(slope, inner(said, x));
    CHECK(loss.matrix()(1, 1).value == 0);
    CHECK(said.matrix()(1, 1).value == 0);
    return said;
  };
  for (std::size_t i = 0; i < 12; ++i) targets.values[i] = double(i % 3) / 2;
  x.values[2].value = 0.4;
  for (const double far : {1.0, 40.0}) {  // where e^x and e^−x alone would not do
    x.values[0].value *= far;
    x.values[1].value *= -far;
    check(-1, [&](auto& said) { binary_cross_entropy(dev, loss.matrix(), said.matrix(), targets.matrix(), 0.25f); });
    const double v = x.values[2].value, t = targets.values[2], p = 1 / (1 + std::exp(-v));
    CHECK(loss.values[2].value == doctest::Approx(-t * std::log(p) - (1 - t) * std::log(1 - p)));
  }
  for (const Distance how : {Distance::kSquared, Distance::kSmoothL1}) {
    check(unknown,
          [&](auto& said) { regression_loss(dev, loss.matrix(), said.matrix(), targets.matrix(), how, 0.25f); });
    const double e = x.values[0].value - targets.values[0], f = x.values[2].value - targets.values[2];
    REQUIRE(std::abs(e) > 1);
    REQUIRE(std::abs(f) < 1);
    CHECK(loss.values[0].value == doctest::Approx(how == Distance::kSquared ? e * e : std::abs(e) - 0.5));
    CHECK(loss.values[2].value == doctest::Approx(how == Distance::kSquared ? f * f : f * f / 2));
  }
}
TEST_CASE("optimisers against their formulas, step by step") {
  ref::Device dev;
  Random<double> w(2, 3, 1), m(2, 3, 2), v(2, 3, 3), g(2, 3, 4);
  const double w0 = w.values[1];
  fill(dev, m.matrix(), 0);
  fill(dev, v.matrix(), 0);
  double first = 0, second = 0, want = w0;
  const AdamW how{.rate = 0.01, .decay = 0.1, .scale = 0.5};
  for (int t = 1; t <= 3; ++t) {
    const double d = 0.5 * g.values[1];
    first = 0.9 * first + 0.1 * d;
    second = 0.999 * second + 0.001 * d * d;
    want -= 0.01 * 0.1 * want;
    want -= 0.01 * (first / (1 - std::pow(0.9, t))) / (std::sqrt(second / (1 - std::pow(0.999, t))) + 1e-8);
    adamw(dev, w.matrix(), None{}, m.matrix(), v.matrix(), g.matrix(), how, t);
    CHECK(w.values[1] == doctest::Approx(want).epsilon(1e-13));
    g.values[1] += 0.3;
  }
  CHECK_THROWS_AS(adamw(dev, w.matrix(), None{}, m.matrix(), v.matrix(), g.matrix(), how, 0), Error);
  adamw(dev, w.matrix(), None{}, None{}, None{}, None{}, how, 1);  // frozen: w stays
  CHECK(w.values[1] == doctest::Approx(want).epsilon(1e-13));

  double momentum = 0;
  fill(dev, m.matrix(), 0);
  for (int t = 0; t < 3; ++t) {
    momentum = 0.8 * momentum + (2 * g.values[1] + 0.1 * want);
    want -= 0.05 * momentum;
    sgd(dev, w.matrix(), None{}, m.matrix(), g.matrix(), {.rate = 0.05, .momentum = 0.8, .decay = 0.1, .scale = 2});
    CHECK(w.values[1] == doctest::Approx(want).epsilon(1e-13));
  }
  CHECK_THROWS_AS(sgd(dev, w.matrix(), None{}, None{}, g.matrix(), {.rate = 1, .momentum = 0.8}), Error);
}
TEST_CASE("steps smaller than bf16 can say gather in the master") {
  ref::Device dev;
  Random<float> master(1, 4, 1), g(1, 4, 2), m(1, 4, 3);
  std::vector<bf16> rounded(4), lone(4);
  for (std::size_t i = 0; i < 4; ++i) {
    master.values[i] = 1;
    g.values[i] = 1e-3f;
    rounded[i] = lone[i] = to_bf16(1);
  }
  const View<bf16, Host, kDyn> w(rounded.data(), 4), alone(lone.data(), 4);
  for (int t = 0; t < 10; ++t) {
    sgd(dev, w, master.vector(), None{}, g.vector(), {.rate = 1});
    sgd(dev, alone, None{}, None{}, g.vector(), {.rate = 1});
  }
  CHECK(to_float(w(0)) == to_float(to_bf16(0.99f)));
  CHECK(to_float(alone(0)) == 1);
}
TEST_CASE("sum of squares adds, of matrices and of vectors") {
  ref::Device dev;
  Random<float> x(3, 4, 1, 2);
  double total = 5, want = 5;
  const View<double, Host, 1> at(&total);
  sum_squares(dev, at, x.matrix());
  sum_squares(dev, at, x.vector());
  sum_squares(dev, at, None{});
  for (Index r = 0; r < 3; ++r)
    for (Index c = 0; c < 4; ++c) want += (r == 0 ? 2 : 1) * double(x.matrix()(r, c)) * double(x.matrix()(r, c));
  CHECK(total == doctest::Approx(want).epsilon(1e-14));
}

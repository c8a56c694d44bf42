// Backward, loss and optimisers of the CPU device, at every instruction set of this machine, against the reference
// device in double. Tolerance: kEps = 2^-24 times the root of the length of the longest sum, times a factor of a few.
#include <doctest/doctest.h>

#include "cpu/compare.hpp"
#include "facellava/core/backward_ops.hpp"
#include "facellava/core/quantise.hpp"
#include "facellava/cpu/device.hpp"
#include "facellava/ref/device.hpp"
#include "support/counting_memory.hpp"

using namespace facellava;
using test::array;
using test::error;
using test::kEps;
using test::Random;

namespace {

constexpr Write kWrites[] = {Write::kAssign, Write::kAccumulate};

// run(dev, in, out) on every level, with as many threads, against the reference in double: inputs are read, outputs
// begin with random numbers. One thread, three threads: the same bits.
void check_op(const std::vector<Random<float>>& inputs, const std::vector<Random<float>>& outputs, double tolerance,
              auto run) {
  const auto widen = [](const std::vector<Random<float>>& v) {
    std::vector<Random<double>> o;
    for (const auto& x : v) o.push_back(x.template as<double>());
    return o;
  };
  ref::Device ref;
  auto wide_in = widen(inputs), want = widen(outputs);
  run(ref, wide_in, want);
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    cpu::Device three({.threads = 3, .isa = isa}), one({.threads = 1, .isa = isa});
    auto in = inputs, got = outputs, alone = outputs;
    run(three, in, got);
    run(one, in, alone);
    for (std::size_t i = 0; i < got.size(); ++i) {
      CAPTURE(i);
      CHECK(error(got[i], want[i], test::Gaps::kSeen) < tolerance);
      CHECK(got[i].values == alone[i].values);
    }
  }
}

}  // namespace

TEST_CASE("linear: gradients of x, W and bias, odd sizes and strides") {
  for (auto [m, n, k] : {std::array<Index, 3>{0, 3, 5},
                         {1, 1, 1},
                         {3, 5, 7},
                         {7, 33, 18},
                         {65, 130, 100},
                         {200, 67, 161},
                         {131, 259, 130},
                         {30, 200, 400}})
    for (Write how : kWrites) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      const double tolerance = 8 * kEps * std::sqrt(double(std::max({m, n, k})));
      const Random<float> x(m, k, 1, 3), w(n, k, 2, 1), dy(m, n, 3, 2);
      check_op({dy, w}, {Random<float>(m, k, 4, 5)}, tolerance, [&](auto& dev, auto& in, auto& out) {
        linear_dx(dev, out[0].matrix(), in[0].matrix(), in[1].matrix(), how);
      });
      check_op({dy, x}, {Random<float>(n, k, 4, 5), Random<float>(1, n, 5)}, tolerance,
               [&](auto& dev, auto& in, auto& out) {
                 linear_dw(dev, out[0].matrix(), out[1].vector(), in[0].matrix(), in[1].matrix());
               });
    }
}
TEST_CASE("linear: gradient of x through every weight format, and through bf16 in a view") {
  const Index m = 19, n = 37, k = 160;
  for (Format f : kFormats) {
    CAPTURE(format_name(f));
    const Random<float> w(n, k, 2);
    std::vector<std::byte> bytes(std::size_t(n * row_bytes(f, k)));
    Nf4Matrix nf4;
    Nf4Scales scales;
    StoredTensor<Host, kDyn, kDyn> stored{bytes.data(), f, {n, k}, &scales};
    if (f == Format::kNf4) {
      nf4 = quantise_nf4(w.values.data(), n * k);
      scales = nf4.scales();
      stored.data = nf4.packed.data();
    } else {
      for (Index r = 0; r < n; ++r)
        quantise_row(f, bytes.data() + r * row_bytes(f, k), &w.values[std::size_t(r * k)], k);
    }
    check_op({Random<float>(m, n, 1)}, {Random<float>(m, k, 4, 5)}, 8 * kEps * std::sqrt(double(n)),
             [&](auto& dev, auto& in, auto& out) {
               linear_dx(dev, out[0].matrix(), in[0].matrix(), stored, Write::kAssign);
             });
    if (f != Format::kBf16) continue;
    const View<const bf16, Host, kDyn, kDyn> view(reinterpret_cast<const bf16*>(bytes.data()), n, k);
    cpu::Device dev({.threads = 2});
    Random<float> dy(m, n, 1), a(m, k, 2), b = a, x(m, k, 3), y(m, n, 4), z = y;
    linear_dx(dev, a.matrix(), dy.matrix(), stored, Write::kAccumulate);
    linear_dx(dev, b.matrix(), dy.matrix(), view, Write::kAccumulate);
    CHECK(a.values == b.values);
    linear(dev, y.matrix(), x.matrix(), stored, None{}, None{});
    linear(dev, z.matrix(), x.matrix(), view, None{}, None{});
    CHECK(y.values == z.values);
  }
}
TEST_CASE("rows that meet in one row") {
  const std::vector<int> ids{2, -1, 0, 2, 5, 2}, beyond{0, 1, 2, 3, 6, 0};
  for (Index n : {1, 7, 300})
    check_op({Random<float>(6, n, 1, 2)}, {Random<float>(6, n, 2, 1)}, 4 * kEps, [&](auto& dev, auto& in, auto& out) {
      scatter_add_rows(dev, out[0].matrix(), in[0].matrix(), array(ids));
      auto lost = out;
      CHECK_THROWS_AS(scatter_add_rows(dev, lost[0].matrix(), in[0].matrix(), array(beyond)), Error);
    });
}
TEST_CASE("norms, gelu, swiglu") {
  for (Index n : {1, 7, 8, 17, 100, 513})
    for (Write how : kWrites) {
      CAPTURE(n);
      const Index m = 37;
      Random<float> x(m, n, 1, 2), w(1, n, 2), dy(m, n, 3, 1), mean(1, m, 4, 0, 0.1f), rstd(1, m, 5);
      for (float& r : rstd.values) r = 1 + std::abs(r) / 8;
      check_op({x, w, dy, rstd}, {Random<float>(m, n, 6, 3), Random<float>(1, n, 7)}, 64 * kEps,
               [&](auto& dev, auto& in, auto& out) {
                 rms_norm_backward(dev, out[0].matrix(), out[1].vector(), in[2].matrix(), in[3].vector(),
                                   in[0].matrix(), in[1].vector(), how);
               });
      check_op({x, w, dy, mean, rstd}, {Random<float>(m, n, 6, 3), Random<float>(1, n, 7), Random<float>(1, n, 8)},
               64 * kEps, [&](auto& dev, auto& in, auto& out) {
                 layer_norm_backward(dev, out[0].matrix(), out[1].vector(), out[2].vector(), in[2].matrix(),
                                     in[3].vector(), in[4].vector(), in[0].matrix(), in[1].vector(), how);
               });
      x.values[0] = 30;  // gelu and silu saturate
      x.values[std::size_t(m / 2 * (n + 2))] = -30;
      check_op({x, dy}, {Random<float>(m, n, 6, 3)}, 16 * kEps, [&](auto& dev, auto& in, auto& out) {
        gelu_backward(dev, out[0].matrix(), in[1].matrix(), in[0].matrix());
      });
      check_op({x, dy, Random<float>(m, n, 8)}, {Random<float>(m, n, 6, 3), Random<float>(m, n, 7)}, 16 * kEps,
               [&](auto& dev, auto& in, auto& out) {
                 swiglu_backward(dev, out[0].matrix(), out[1].matrix(), in[1].matrix(), in[0].matrix(), in[2].matrix());
               });
    }
}
TEST_CASE("attention: ranges shared and packed, causal tails, strides, grouped heads") {
  struct Case {
    std::vector<Sequence> sequences;
    std::vector<KvRange> ranges;
    Mask mask;
  };
  const std::vector<Case> cases{
      {{{0, 150, 0, 1}}, {{0, 150}}, Mask::kFull},
      {{{0, 150, 0, 1}}, {{3, 150}}, Mask::kCausal},
      {{{0, 70, 0, 1}, {70, 30, 1, 2}, {100, 50, 3, 2}},
       {{0, 70}, {0, 70}, {70, 30}, {0, 70}, {100, 50}},
       Mask::kCausal},
      {{{0, 5, 0, 1, 8}, {1, 5, 1, 1, 8}, {2, 5, 2, 1, 8}}, {{0, 5}, {1, 5}, {2, 5}}, Mask::kFull},
      {{{10, 40, 0, 3}, {50, 3, 3, 1}}, {{90, 30}, {20, 9}, {40, 40}, {130, 7}}, Mask::kCausal},
      {{{0, 3, 0, 0}}, {}, Mask::kFull},  // nothing to see
  };
  for (auto [heads, kv, d] : {std::array<Index, 3>{1, 1, 8}, {4, 2, 24}, {3, 1, 33}})
    for (const Case& c : cases) {
      CAPTURE(d);
      CAPTURE(c.sequences.size());
      const Index n = 160;
      Random<float> q(n, heads * d, 1), k(n, kv * d, 2, 4), v(n, kv * d, 3), o(n, heads * d, 4), lse(n, heads, 5);
      cpu::Device exact({.threads = 1, .isa = cpu::Isa::kPortable});
      attention(exact, o.heads(heads), lse.matrix(), q.heads(heads), k.heads(kv), v.heads(kv), array(c.sequences),
                array(c.ranges), c.mask, 0.25f);
      // exp of a sum of d terms of size about 3, and sums of 150 of them
      check_op({q, k, v, o, lse, Random<float>(n, heads * d, 6)},
               {Random<float>(n, heads * d, 7, 3), Random<float>(n, kv * d, 8, 1), Random<float>(n, kv * d, 9)},
               64 * kEps, [&](auto& dev, auto& in, auto& out) {
                 attention_backward(dev, out[0].heads(heads), out[1].heads(kv), out[2].heads(kv), in[5].heads(heads),
                                    in[3].heads(heads), in[4].matrix(), in[0].heads(heads), in[1].heads(kv),
                                    in[2].heads(kv), array(c.sequences), array(c.ranges), c.mask, 0.25f);
               });
    }
  cpu::Device dev({.threads = 1});
  Random<float> x(4, 8, 1), y(4, 8, 2), lse(4, 1, 3);
  const std::vector<Sequence> beyond{{0, 4, 0, 1}};
  const std::vector<KvRange> keys{{1, 4}};
  CHECK_THROWS_AS(attention_backward(dev, y.heads(1), y.heads(1), y.heads(1), x.heads(1), x.heads(1), lse.matrix(),
                                     x.heads(1), x.heads(1), x.heads(1), array(beyond), array(keys), Mask::kFull, 1),
                  Error);
}
TEST_CASE("region attention, with a gradient of its bias and without; the scale of the bias") {
  for (auto [frames, tokens, heads, d] : {std::array<Index, 4>{1, 1, 1, 3}, {2, 100, 2, 8}, {3, 17, 4, 19}}) {
    Random<float> q(frames * tokens, heads * d, 1), k(frames * 9, heads * d, 2), v(frames * 9, heads * d, 3),
        p(frames * tokens, heads * 9, 4), d_o(frames * tokens, heads * d, 5), o = d_o;
    cpu::Device exact({.threads = 1, .isa = cpu::Isa::kPortable});
    region_attention(exact, o.heads(heads), p.heads(heads), q.heads(heads), k.heads(heads), v.heads(heads), None{},
                     .4f);
    const std::vector<Random<float>> gradients{
        Random<float>(frames * tokens, heads * d, 6, 1), Random<float>(frames * 9, heads * d, 7, 2),
        Random<float>(frames * 9, heads * d, 8), Random<float>(frames * tokens, 9, 9)};
    for (bool bias : {false, true})
      check_op({q, k, v, p, d_o}, gradients, 64 * kEps, [&](auto& dev, auto& in, auto& out) {
        const auto run = [&](auto dbias) {
          region_attention_backward(dev, out[0].heads(heads), out[1].heads(heads), out[2].heads(heads), dbias,
                                    in[4].heads(heads), in[3].heads(heads), in[0].heads(heads), in[1].heads(heads),
                                    in[2].heads(heads), .4f);
        };
        bias ? run(out[3].matrix()) : run(None{});
      });
  }
  check_op({Random<float>(2 * 17, 9, 1), Random<float>(2, 136, 2, 0, 0.3f)}, {Random<float>(1, 1, 3)}, 64 * kEps,
           [](auto& dev, auto& in, auto& out) {
             region_bias_backward(dev, out[0].vector(), in[0].matrix(), in[1].matrix(), .7f, ClassToken::kFirst, 4);
           });
}
TEST_CASE("cross entropy") {
  const std::vector<int> labels{3, 0, -100, 2, 1}, beyond{3, 0, -100, 2, 999};
  for (Index n : {4, 17, 1000})
    check_op({}, {Random<float>(1, 5, 1), Random<float>(5, n, 2, 3, 4)}, 32 * kEps, [&](auto& dev, auto&, auto& out) {
      auto lost = out;
      if (n < 999) CHECK_THROWS_AS(cross_entropy(dev, lost[0].vector(), lost[1].matrix(), array(beyond), 0.2f), Error);
      cross_entropy(dev, out[0].vector(), out[1].matrix(), array(labels), 0.2f);
    });
}
TEST_CASE("means of rows and losses of labels") {
  const std::vector<int> index{2, 1, 0, 2, 5, 4};
  for (const Index n : {1, 7, 100}) {
    for (const Index r : {1, 3, 6}) {
      check_op({Random<float>(6, n, 1, 2)}, {Random<float>(r, n, 2)}, 8 * kEps,
               [&](auto& dev, auto& in, auto& out) { mean_rows(dev, out[0].matrix(), in[0].matrix(), array(index)); });
      check_op({Random<float>(r, n, 1, 2)}, {Random<float>(6, n, 2, 1)}, 8 * kEps, [&](auto& dev, auto& in, auto& out) {
        mean_rows_backward(dev, out[0].matrix(), in[0].matrix(), array(index));
      });
    }
    Random<float> targets(5, n, 3);
    for (std::size_t i = 0; i < targets.values.size(); ++i) targets.values[i] = float(int(i % 4) - 1) / 2;
    check_op({targets}, {Random<float>(5, n, 1, 1), Random<float>(5, n, 2, 3, 4)}, 16 * kEps,
             [&](auto& dev, auto& in, auto& out) {
               binary_cross_entropy(dev, out[0].matrix(), out[1].matrix(), in[0].matrix(), 0.2f);
             });
    targets.values[0] = std::numeric_limits<float>::quiet_NaN();
    for (const Distance how : {Distance::kSquared, Distance::kSmoothL1})
      check_op({targets}, {Random<float>(5, n, 1, 1), Random<float>(5, n, 2, 3, 4)}, 16 * kEps,
               [&](auto& dev, auto& in, auto& out) {
                 regression_loss(dev, out[0].matrix(), out[1].matrix(), in[0].matrix(), how, 0.2f);
               });
  }
}
TEST_CASE("optimisers, with masters of bf16 weights and without; sums of squares") {
  for (Index n : {1, 9, 333}) {
    const Index m = 70;
    const Random<float> w(m, n, 1, 1), g(m, n, 2, 2);
    Random<float> first(m, n, 3), second(m, n, 4);
    for (float& v : second.values) v = v * v;
    check_op({g}, {w, first, second}, 16 * kEps, [&](auto& dev, auto& in, auto& out) {
      adamw(dev, out[0].matrix(), None{}, out[1].matrix(), out[2].matrix(), in[0].matrix(),
            {.rate = 0.1, .decay = 0.1, .scale = 0.5}, 7);
    });
    check_op({g}, {w, first}, 16 * kEps, [&](auto& dev, auto& in, auto& out) {
      sgd(dev, out[0].matrix(), None{}, out[1].matrix(), in[0].matrix(), {.rate = 0.1, .momentum = 0.9, .decay = 0.1});
      sgd(dev, out[0].matrix(), None{}, None{}, in[0].matrix(), {.rate = 0.1});
    });
    check_op({g}, {w}, 16 * kEps, [&](auto& dev, auto& in, auto& out) {
      double total = 1;
      sum_squares(dev, View<double, Host, 1>(&total), in[0].matrix());
      out[0].matrix()(0, 0) = typename std::remove_reference_t<decltype(out[0].values)>::value_type(total);
    });
    cpu::Device dev({.threads = 2});
    std::vector<bf16> brain(std::size_t(m * n)), lone = brain;
    const View<bf16, Host, kDyn, kDyn> rounded(brain.data(), m, n), alone(lone.data(), m, n);
    Random<float> master(m, n, 1), moment(m, n, 5), square(m, n, 6), dw(m, n, 7), start(m, n, 8);
    for (float& v : square.values) v = v * v;
    auto moment2 = moment, square2 = square;
    for (Index r = 0; r < m; ++r)
      for (Index c = 0; c < n; ++c) {
        alone(r, c) = to_bf16(master.matrix()(r, c));
        start.matrix()(r, c) = to_float(alone(r, c));
      }
    const AdamW how{.rate = 0.01};
    adamw(dev, rounded, master.matrix(), moment.matrix(), square.matrix(), dw.matrix(), how, 1);
    adamw(dev, alone, None{}, moment2.matrix(), square2.matrix(), dw.matrix(), how, 1);
    auto moment3 = Random<float>(m, n, 5), square3 = Random<float>(m, n, 6);
    for (float& v : square3.values) v = v * v;
    adamw(dev, start.matrix(), None{}, moment3.matrix(), square3.matrix(), dw.matrix(), how, 1);
    for (Index r = 0; r < m; ++r)
      for (Index c = 0; c < n; ++c) {
        REQUIRE(rounded(r, c).bits == to_bf16(master.matrix()(r, c)).bits);
        REQUIRE(alone(r, c).bits == to_bf16(start.matrix()(r, c)).bits);
      }
  }
}
TEST_CASE("fill writes rows and nothing between") {
  check_op({}, {Random<float>(5, 700, 1, 3)}, kEps, [](auto& dev, auto&, auto& out) {
    fill(dev, out[0].matrix(), 0.5f);
    fill(dev, rows(out[0].heads(7), 1, 2), -1);
  });
}
TEST_CASE("scratch stays within what was said") {
  const Index m = 300, n = 260, k = 390, heads = 3, d = 130;
  const std::vector<Sequence> sequences{{0, int(m), 0, 1}};
  const std::vector<KvRange> ranges{{0, int(m)}};
  LargestOps ops;
  ops.product(m, k);
  ops.attention(m, d);
  ops.embedding(k);
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    test::CountingMemory memory;
    cpu::Device dev({.threads = 3, .isa = isa, .memory = &memory});
    Random<float> x(m, k, 1), w(n, k, 2), dy(m, n, 3), dx(m, k, 4), dw(n, k, 5), lse(m, heads, 6), p(m, heads * 9, 7),
        q(9, k, 8), dq = x, dk = x, dv = x, rest = q, other = q;
    linear(dev, dy.matrix(), x.matrix(), w.matrix(), None{}, None{});
    linear_dx(dev, dx.matrix(), dy.matrix(), w.matrix(), Write::kAssign);
    linear_dw(dev, dw.matrix(), None{}, dy.matrix(), x.matrix());
    attention_backward(dev, dq.heads(heads), dk.heads(heads), dv.heads(heads), x.heads(heads), x.heads(heads),
                       lse.matrix(), x.heads(heads), x.heads(heads), x.heads(heads), array(sequences), array(ranges),
                       Mask::kCausal, 0.1f);
    region_attention_backward(dev, dq.heads(heads), rest.heads(heads), other.heads(heads), None{}, x.heads(heads),
                              p.heads(heads), x.heads(heads), q.heads(heads), q.heads(heads), 0.1f);
    CHECK(memory.peak() > 0);
    CHECK(Index(memory.peak()) <= dev.training_scratch_bytes(ops));
  }
}

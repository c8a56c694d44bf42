// Backward of attention and of the region attention on the CUDA device against the reference device in double. The same
// file runs in the emulator and on a GPU.
#include <array>
#include <climits>
#include <utility>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::ArrayOnDevice;
using test::check_op;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;

namespace {

struct Case {
  std::vector<Sequence> sequences;
  std::vector<KvRange> ranges;
  Mask mask;
};
const std::vector<Case> kCases{
    {{{0, 37, 0, 1}}, {{0, 37}}, Mask::kFull},
    {{{0, 45, 0, 1}}, {{3, 45}}, Mask::kCausal},
    {{{0, 30, 0, 1}, {30, 17, 1, 2}, {47, 23, 3, 2}},  // two answers behind one prefix
     {{0, 30}, {0, 30}, {30, 17}, {0, 30}, {47, 23}},
     Mask::kCausal},
    {{{0, 5, 0, 1, 8}, {1, 5, 1, 1, 8}, {2, 5, 2, 1, 8}}, {{0, 5}, {1, 5}, {2, 5}}, Mask::kFull},  // every 8th
    {{{60, 6, 0, 1, -2}}, {{70, 9}}, Mask::kCausal},                                               // backwards
    {{{10, 40, 0, 3}, {50, 3, 3, 1}}, {{60, 13}, {20, 9}, {40, 20}, {30, 7}}, Mask::kCausal},
    {{{0, 3, 0, 0}, {5, 9, 0, 1}, {20, 0, 0, 1}}, {{0, 4}}, Mask::kCausal},  // nothing to see, nobody who sees
};
// Sequences of one query, more than a warp looks at: their key is shared.
Case many() {
  Case c{{}, {{5, 3}}, Mask::kFull};
  for (int i = 0; i < 70; ++i) c.sequences.push_back({i, 1, 0, 1});
  return c;
}

void check_attention(const Case& c, Index heads, Index kv, Index d, Index gap) {
  CAPTURE(d);
  const Index n = 80;
  Random<float> q(n, heads * d, 1, gap), k(n, kv * d, 2, 4), v(n, kv * d, 3, 4), d_o(n, heads * d, 6, gap);
  auto qd = q.as<double>(), kd = k.as<double>(), vd = v.as<double>();
  Random<double> od(n, heads * d, 4), ld(n, heads, 5);
  ref::Device ref;
  attention(ref, od.heads(heads), ld.matrix(), qd.heads(heads), kd.heads(kv), vd.heads(kv), test::array(c.sequences),
            test::array(c.ranges), c.mask, 0.25f);
  cuda::BackwardDevice dev(test::kSmallDevice);
  const ArrayOnDevice<Sequence> sequences(dev, c.sequences);
  const ArrayOnDevice<KvRange> ranges(dev, c.ranges);
  // exp of a sum of d terms of size about 3, and sums of up to 45 of them, or of 70 queries behind one key
  check_op({q, k, v, od.as<float>(), ld.as<float>(), d_o},
           {Random<float>(n, heads * d, 7, 3), Random<float>(n, kv * d, 8, 1), Random<float>(n, kv * d, 9)}, {},
           64 * kEps, [&](auto& on, auto& in, auto& out, auto) {
             const auto run = [&](auto s, auto r) {
               attention_backward(on, out[0].heads(heads), out[1].heads(kv), out[2].heads(kv), in[5].heads(heads),
                                  in[3].heads(heads), in[4].matrix(), in[0].heads(heads), in[1].heads(kv),
                                  in[2].heads(kv), s, r, c.mask, 0.25f);
             };
             if constexpr (std::is_same_v<std::remove_cvref_t<decltype(on)>, ref::Device>)
               run(test::array(c.sequences), test::array(c.ranges));
             else
               run(sequences.view(), ranges.view());
           });
}

}  // namespace

TEST_CASE("attention_backward: ranges shared and packed, causal tails, strides, grouped heads") {
  for (auto [heads, kv, d, gap] : {std::array<Index, 4>{1, 1, 8, 4}, {3, 1, 33, 3}})
    for (const Case& c : kCases) {
      CAPTURE(&c - kCases.data());
      check_attention(c, heads, kv, d, gap);
    }
  for (auto [heads, kv, d, gap] : {std::array<Index, 4>{4, 2, 24, 0}, {1, 1, 100, 4}, {1, 1, 256, 0}})
    check_attention(kCases[2], heads, kv, d, gap);  // one case shows the wider kernels
  check_attention(many(), 2, 1, 12, 4);
}

TEST_CASE("attention_backward: a key's gradient takes nothing from a query that does not see it") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  Random<float> x(4, 8, 1), zero(4, 8, 2, 0, 0), bad = x, lse(4, 1, 3, 0, 0);
  for (Index c = 0; c < 8; ++c) bad.matrix()(0, c) = std::numeric_limits<float>::quiet_NaN();
  OnDevice X(dev, x), Bad(dev, bad), L(dev, lse), DQ(dev, zero), DK(dev, zero), DV(dev, zero);
  const ArrayOnDevice<Sequence> sequences(dev, {{0, 4, 0, 1}});
  const ArrayOnDevice<KvRange> ranges(dev, {{0, 4}});
  attention_backward(dev, DQ.heads(1), DK.heads(1), DV.heads(1), Bad.heads(1), X.heads(1), L.matrix(), X.heads(1),
                     X.heads(1), X.heads(1), sequences.view(), ranges.view(), Mask::kCausal, 1.f);
  for (const auto& now : {DK.get(), DV.get(), DQ.get()})
    for (Index i = 0; i < 32; ++i) CHECK(std::isnan(now.values[std::size_t(i)]) == (i < 8));
}

TEST_CASE("attention_backward: hostile sequences and ranges are reported and touch nothing") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  Random<float> q(10, 8, 1), k(20, 8, 2), dq(10, 8, 3), lse(10, 2, 4), dk(20, 8, 5), wide(2, 257, 6), one(2, 1, 7);
  OnDevice Q(dev, q), K(dev, k), DQ(dev, dq), L(dev, lse), DK(dev, dk), DV(dev, dk), W(dev, wide), One(dev, one);
  const auto run = [&](Sequence s, KvRange r) {
    const ArrayOnDevice<Sequence> sequences(dev, {s});
    const ArrayOnDevice<KvRange> ranges(dev, {r});
    attention_backward(dev, DQ.heads(2), DK.heads(2), DV.heads(2), Q.heads(2), Q.heads(2), L.matrix(), Q.heads(2),
                       K.heads(2), K.heads(2), sequences.view(), ranges.view(), Mask::kCausal, 1.f);
    dev.synchronize();
  };
  const std::vector<std::pair<Sequence, KvRange>> hostile{
      {{0, 11, 0, 1}, {0, 20}},         {{-1, 2, 0, 1}, {0, 20}},
      {{0, INT_MAX, 0, 1}, {0, 20}},    {{0, 3, 0, 1, 5}, {0, 2}},
      {{9, 3, 0, 1, INT_MIN}, {0, 20}}, {{0, 10, 0, 2}, {0, 20}},
      {{0, 10, 1, 1}, {0, 20}},         {{0, 10, -1, 1}, {0, 20}},
      {{0, 10, 0, -1}, {0, 20}},        {{0, 10, INT_MAX, INT_MAX}, {0, 20}},
      {{0, 10, 0, 1}, {0, 21}},         {{0, 10, 0, 1}, {-1, 5}},
      {{0, 10, 0, 1}, {0, -5}},         {{0, 10, 0, 1}, {INT_MAX, INT_MAX}},
      {{0, 2, 0, 1, 9}, {3, 3}},        {{0, 2, 0, 1, 0}, {0, 20}}};
  for (const auto& [s, r] : hostile) {
    CAPTURE(s.q_first);
    CAPTURE(r.first);
    CHECK(kind_of([&] { run(s, r); }) == ErrorKind::kShape);
    CHECK(DQ.get().values == dq.values);
    CHECK(DK.get().values == dk.values);
    CHECK(DV.get().values == dk.values);
  }
  run({0, -7, 0, 1}, {0, 20});  // no queries
  CHECK(DK.get().values == dk.values);
  run({0, 10, 0, 1}, {0, 20});  // and the device works on
  CHECK(DQ.get().values != dq.values);
  CHECK(DK.get().values != dk.values);

  const ArrayOnDevice<Sequence> sequences(dev, {{0, 2, 0, 1}});
  const ArrayOnDevice<KvRange> ranges(dev, {{0, 2}});
  CHECK(kind_of([&] {
          attention_backward(dev, W.heads(1), W.heads(1), W.heads(1), W.heads(1), W.heads(1), One.matrix(), W.heads(1),
                             W.heads(1), W.heads(1), sequences.view(), ranges.view(), Mask::kFull, 1.f);
        }) == ErrorKind::kShape);
  CHECK(kind_of([&] {
          attention_backward(dev, Q.heads(1), K.heads(2), K.heads(2), Q.heads(1), Q.heads(1), rows(One.matrix(), 0, 2),
                             rows(Q.heads(1), 0, 2), K.heads(2), K.heads(2), sequences.view(), ranges.view(),
                             Mask::kFull, 1.f);
        }) == ErrorKind::kShape);
}

TEST_CASE("region_attention_backward, region_bias_backward: with a gradient of the bias and without") {
  for (auto [frames, tokens, heads, d] :
       {std::array<Index, 4>{1, 1, 1, 3}, {2, 40, 2, 8}, {3, 5, 3, 35}, {2, 0, 1, 4}, {0, 0, 1, 4}}) {
    CAPTURE(tokens);
    const Index n = frames * tokens;
    Random<float> q(n, heads * d, 1), k(frames * 9, heads * d, 2, 1), v(frames * 9, heads * d, 3),
        p(n, heads * 9, 4, 2), d_o(n, heads * d, 5, 3);
    auto qd = q.as<double>(), kd = k.as<double>(), vd = v.as<double>(), pd = p.as<double>(), od = d_o.as<double>();
    ref::Device ref;
    if (n > 0)
      region_attention(ref, od.heads(heads), pd.heads(heads), qd.heads(heads), kd.heads(heads), vd.heads(heads), None{},
                       .4f);
    const std::vector<Random<float>> gradients{Random<float>(n, heads * d, 6, 1),
                                               Random<float>(frames * 9, heads * d, 7, 2),
                                               Random<float>(frames * 9, heads * d, 8), Random<float>(n, 9, 9, 2)};
    for (bool bias : {false, true})
      // Sums of 40 terms, of products of weights below 1.
      check_op({q, k, v, pd.as<float>(), d_o}, gradients, {}, 64 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
        const auto run = [&](auto dbias) {
          region_attention_backward(dev, out[0].heads(heads), out[1].heads(heads), out[2].heads(heads), dbias,
                                    in[4].heads(heads), in[3].heads(heads), in[0].heads(heads), in[1].heads(heads),
                                    in[2].heads(heads), .4f);
        };
        bias ? run(out[3].matrix()) : run(None{});
      });
  }
  for (ClassToken token : {ClassToken::kNone, ClassToken::kFirst})
    // Sums of 2 · 36 · 9 terms with random signs.
    check_op({Random<float>(2 * (36 + (token == ClassToken::kFirst)), 9, 1, 1), Random<float>(2, 136, 2, 3, 0.3f)},
             {Random<float>(1, 1, 3)}, {}, 64 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
               region_bias_backward(dev, out[0].vector(), in[0].matrix(), in[1].matrix(), .7f, token, 6);
               region_bias_backward(dev, None{}, in[0].matrix(), in[1].matrix(), .7f, token, 6);
             });
}

TEST_CASE("region_attention_backward: shapes beyond the kernels") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  Random<float> x(3, 8, 1), p(3, 2 * 33, 2), k(66, 8, 3), one(1, 8, 4), nine(1, 18, 5);
  OnDevice X(dev, x), P(dev, p), K(dev, k), One(dev, one), Nine(dev, nine);
  const auto run = [&](auto& q, auto& weights, auto& keys) {
    region_attention_backward(dev, q.heads(2), keys.heads(2), keys.heads(2), None{}, q.heads(2), weights.heads(2),
                              q.heads(2), keys.heads(2), keys.heads(2), 1.f);
  };
  CHECK(kind_of([&] { run(X, P, K); }) == ErrorKind::kShape);  // 33 regions
  Random<float> three(3, 18, 6), two(18, 8, 7);
  OnDevice Three(dev, three), Two(dev, two);
  CHECK(kind_of([&] { run(X, Three, Two); }) == ErrorKind::kShape);  // 3 rows, 2 frames
}

// The ops of the CUDA device against the reference device in double. The same file runs in the emulator and on a GPU.
// Tolerance: kEps = 2^-24 times a few roundings, times the root of the longest sum's length for its random signs.
#include <array>
#include <cmath>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::array;
using test::ArrayOnDevice;
using test::error;
using test::kEps;
using test::linear_tolerance;
using test::OnDevice;
using test::Random;

namespace {

struct Stored16 {
  std::vector<std::uint16_t> bits;
  Random<double> values;
};
// bf16 rounds w; fp16 takes patterns of its own: normal, subnormal and zero, either sign.
Stored16 stored_as(Format format, const Random<float>& w) {
  Stored16 s{{}, w.as<double>()};
  for (std::size_t i = 0; i < std::size_t(w.rows * w.width); ++i) {
    const auto half = std::uint16_t((i % 7 == 0 ? i % 0x400 : 0x3000u + i * 37 % 0x1000) + (i % 2) * 0x8000u);
    s.bits.push_back(format == Format::kBf16 ? to_bf16(w.values[i]).bits : half);
    s.values.values[i] = double(format == Format::kBf16 ? to_float(bf16{s.bits[i]}) : to_float(f16{s.bits[i]}));
  }
  return s;
}
StoredTensor<cuda::Space, kDyn, kDyn> stored(const ArrayOnDevice<std::uint16_t>& bits, Index skip, Format f, Index rows,
                                             Index n) {
  return {reinterpret_cast<const std::byte*>(bits.first() + skip), f, {rows, n}};
}

}  // namespace

TEST_CASE("rms_norm: odd widths, strides, misaligned rows") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Index n : {1, 3, 4, 31, 64, 127, 128, 130, 1024, 2049})
    for (Index gap : {0, 3, 4})
      for (Index shift : {0, 1}) {
        CAPTURE(n);
        CAPTURE(gap);
        CAPTURE(shift);
        const Index m = 3;
        Random<float> x(m, n, 1, gap), w(1, n, 2), y(m, n, 3, 4 - gap), rstd(1, m, 4);
        auto xd = x.as<double>(), wd = w.as<double>(), yd = y.as<double>(), sd = rstd.as<double>();
        OnDevice X(dev, x, shift), W(dev, w), Y(dev, y), R(dev, rstd);
        rms_norm(dev, Y.matrix(), R.vector(), X.matrix(), W.vector(), 1e-5f);
        rms_norm(ref, yd.matrix(), sd.vector(), xd.matrix(), wd.vector(), 1e-5f);
        // A thread adds up to 8 quads, then 8 levels of reduction; all terms positive: few roundings matter.
        CHECK(error(Y.get(), yd, y) < 8 * kEps);
        CHECK(error(R.get(), sd, rstd) < 8 * kEps);
      }
  Random<float> none(0, 8, 1), w(1, 8, 2), rstd(1, 0, 3);
  OnDevice X(dev, none), W(dev, w), R(dev, rstd);
  rms_norm(dev, X.matrix(), R.vector(), X.matrix(), W.vector(), 1e-5f);
  dev.synchronize();
}

TEST_CASE("rms_norm: a row has the same bits aligned, misaligned, alone and among others") {
  cuda::Device dev(test::kSmallDevice);
  const Index m = 5, n = 300;
  Random<float> x(m, n, 1), w(1, n, 2), y(m, n, 3), rstd(1, m, 4), single(1, n, 5);
  OnDevice X(dev, x), odd(dev, x, 1), W(dev, w), Y(dev, y), other(dev, y), R(dev, rstd), one(dev, single);
  rms_norm(dev, Y.matrix(), R.vector(), X.matrix(), W.vector(), 1e-6f);
  rms_norm(dev, other.matrix(), R.vector(), odd.matrix(), W.vector(), 1e-6f);
  const auto a = Y.get();
  CHECK(a.values == other.get().values);
  for (Index r = 0; r < m; ++r) {
    rms_norm(dev, one.matrix(), View<float, cuda::Space, kDyn>(R.vector().data, 1), rows(X.matrix(), r, 1), W.vector(),
             1e-6f);
    const auto b = one.get();
    CHECK(std::equal(b.values.begin(), b.values.begin() + n, a.values.begin() + r * n));
  }
}

TEST_CASE("linear: fp32 weights, odd sizes, strides, bias, residual apart and in place") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (auto [m, n, k] : {std::array<Index, 3>{0, 5, 7}, {1, 1, 1}, {1, 9, 33}, {5, 3, 17}, {7, 13, 64}, {29, 50, 130}})
    for (Index shift : {0, 1}) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      Random<float> x(m, k, 1, 3), w(n, k, 2, 2), b(1, n, 3), res(m, n, 4, 1), y(m, n, 5, 2);
      auto xd = x.as<double>(), wd = w.as<double>(), bd = b.as<double>(), rd = res.as<double>(), yd = y.as<double>();
      OnDevice X(dev, x, shift), W(dev, w, shift), B(dev, b), R(dev, res, shift), Y(dev, y, shift);
      linear(dev, Y.matrix(), X.matrix(), W.matrix(), B.vector(), R.matrix());
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), bd.vector(), rd.matrix());
      CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
      linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, None{});
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), None{}, None{});
      CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
      linear(dev, R.matrix(), X.matrix(), W.matrix(), B.vector(), R.matrix());
      linear(ref, rd.matrix(), xd.matrix(), wd.matrix(), bd.vector(), rd.matrix());
      CHECK(error(R.get(), rd, res) < linear_tolerance(k));
    }
}

TEST_CASE("linear: bf16 and fp16 weights are widened exactly, whole or in blocks") {
  ref::Device ref;
  const Index m = 5, n = 71, k = 45;
  Random<float> x(m, k, 1), w(n, k, 2), b(1, n, 3), y(m, n, 4, 1);
  auto xd = x.as<double>(), bd = b.as<double>(), rd = y.as<double>(), yd = y.as<double>();
  for (Format format : {Format::kBf16, Format::kF16}) {
    auto s = stored_as(format, w);
    s.bits.insert(s.bits.begin(), 0);  // the second copy starts 2 bytes off
    linear(ref, yd.matrix(), xd.matrix(), s.values.matrix(), bd.vector(), rd.matrix());
    // Scratch for all rows of W, for 32 at a time, for 3, for one.
    for (Index room : {n, Index(40), Index(3), Index(1)}) {
      CAPTURE(room);
      cuda::Device dev({.workspace_bytes = 1 << 20, .scratch_bytes = std::size_t(room * k) * sizeof(float)});
      OnDevice X(dev, x), B(dev, b), Y(dev, y);
      const ArrayOnDevice<std::uint16_t> odd(dev, s.bits), even(dev, {s.bits.begin() + 1, s.bits.end()});
      linear(dev, Y.matrix(), X.matrix(), stored(even, 0, format, n, k), B.vector(), Y.matrix());
      const auto first = Y.get();
      CHECK(error(first, yd, y) < linear_tolerance(k));
      OnDevice again(dev, y);
      linear(dev, again.matrix(), X.matrix(), stored(odd, 1, format, n, k), B.vector(), again.matrix());
      CHECK(again.get().values == first.values);
    }
  }
}

TEST_CASE("attention: ranges, causal tails, strides, grouped heads") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  struct Case {
    std::vector<Sequence> sequences;
    std::vector<KvRange> ranges;
    Mask mask;
  };
  const std::vector<Case> cases{
      {{{0, 40, 0, 1}}, {{0, 40}}, Mask::kFull},
      {{{0, 40, 0, 1}}, {{0, 40}}, Mask::kCausal},
      {{{0, 7, 0, 1}, {7, 33, 1, 2}}, {{3, 7}, {20, 25}, {45, 33}}, Mask::kCausal},  // a prefix and own keys
      {{{0, 1, 0, 3}, {1, 39, 3, 1}}, {{0, 30}, {70, 9}, {33, 1}, {0, 60}}, Mask::kCausal},
      {{{0, 5, 0, 1, 8}, {1, 5, 1, 1, 8}, {2, 5, 2, 1, 8}}, {{0, 5}, {1, 5}, {2, 5}}, Mask::kFull},  // every 8th
      {{{4, 6, 0, 3}}, {{10, 4}, {30, 0}, {40, 2}}, Mask::kCausal},  // the queries' keys lie in two ranges
      {{{0, 3, 0, 0}, {5, 9, 0, 1}}, {{0, 4}}, Mask::kCausal},       // nothing to see: o = 0
  };
  for (auto [heads, kv, d, gap] :
       {std::array<Index, 4>{1, 1, 8, 4}, {4, 2, 24, 0}, {6, 1, 33, 3}, {2, 2, 64, 4}, {1, 1, 100, 0}, {2, 1, 130, 1}})
    for (const Case& c : cases) {
      if (d > 64 && &c != &cases[2]) continue;  // one case shows the wider kernels
      CAPTURE(d);
      CAPTURE(&c - cases.data());
      Random<float> q(40, heads * d, 1), k(80, kv * d, 2, gap), v(80, kv * d, 3), o(40, heads * d, 4, 2),
          lse(40, heads, 5, 1);
      auto qd = q.as<double>(), kd = k.as<double>(), vd = v.as<double>(), od = o.as<double>(), ld = lse.as<double>();
      attention(ref, od.heads(heads), ld.matrix(), qd.heads(heads), kd.heads(kv), vd.heads(kv), array(c.sequences),
                array(c.ranges), c.mask, 0.3f);
      OnDevice Q(dev, q), K(dev, k), V(dev, v), O(dev, o), L(dev, lse);
      const ArrayOnDevice<Sequence> sequences(dev, c.sequences);
      const ArrayOnDevice<KvRange> ranges(dev, c.ranges);
      attention(dev, O.heads(heads), L.matrix(), Q.heads(heads), K.heads(kv), V.heads(kv), sequences.view(),
                ranges.view(), c.mask, 0.3f);
      // exp of a sum of d terms, a few units in size: its absolute error is the exponential's relative one
      CHECK(error(O.get(), od, o) < 64 * kEps);
      CHECK(error(L.get(), ld, lse) < 64 * kEps);
    }
}

TEST_CASE("attention: chunks, ranges elsewhere and neighbours change no bit") {
  cuda::Device dev(test::kSmallDevice);
  const Index n = 50, h = 2, d = 20;
  Random<float> q(n, h * d, 1), k(n + 20, h * d, 2), v(n + 20, h * d, 3), o(n, h * d, 4), lse(n, h, 5);
  OnDevice Q(dev, q), K(dev, k), V(dev, v), whole(dev, o), L(dev, lse);
  const ArrayOnDevice<Sequence> all(dev, {{0, int(n), 0, 1}});
  const ArrayOnDevice<KvRange> range(dev, {{0, int(n)}});
  attention(dev, whole.heads(h), L.matrix(), Q.heads(h), K.heads(h), V.heads(h), all.view(), range.view(),
            Mask::kCausal, 0.2f);
  const auto want = whole.get();
  for (int cut : {1, 31, 49}) {
    auto other_k = k, other_v = v;  // the tail of the keys moved elsewhere in the slab
    for (int r = cut; r < n; ++r)
      for (Index c = 0; c < h * d; ++c) {
        other_k.matrix()(r + 20, c) = k.matrix()(r, c);
        other_v.matrix()(r + 20, c) = v.matrix()(r, c);
      }
    OnDevice moved_k(dev, other_k), moved_v(dev, other_v), part(dev, o);
    const ArrayOnDevice<Sequence> two(dev, {{0, cut, 0, 1}, {cut, int(n) - cut, 1, 2}});
    const ArrayOnDevice<KvRange> ranges(dev, {{0, cut}, {0, cut}, {cut + 20, int(n) - cut}});
    attention(dev, part.heads(h), L.matrix(), Q.heads(h), moved_k.heads(h), moved_v.heads(h), two.view(), ranges.view(),
              Mask::kCausal, 0.2f);
    CHECK(part.get().values == want.values);
  }
}

TEST_CASE("NaN and infinity reach the output") {
  cuda::Device dev(test::kSmallDevice);
  const Index n = 40;
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Random<float> x(1, n, 1), w(1, n, 2), y(1, n, 3), s(1, 1, 4);
    x.values[17] = bad;
    OnDevice X(dev, x), W(dev, w), Y(dev, y), S(dev, s);
    rms_norm(dev, Y.matrix(), S.vector(), X.matrix(), W.vector(), 1e-5f);
    CHECK_FALSE(std::isfinite(Y.get().values[17]));
    linear(dev, S.matrix(), X.matrix(), W.matrix(), None{}, None{});
    CHECK_FALSE(std::isfinite(S.get().values[0]));
    const ArrayOnDevice<Sequence> sequences(dev, {{0, 1, 0, 1}});
    const ArrayOnDevice<KvRange> ranges(dev, {{0, 1}});
    attention(dev, Y.heads(1), S.matrix(), W.heads(1), W.heads(1), X.heads(1), sequences.view(), ranges.view(),
              Mask::kFull, 1.f);
    CHECK_FALSE(std::isfinite(Y.get().values[17]));
  }
}

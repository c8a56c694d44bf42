// Every op of the CPU device, at every instruction set of this machine, against the reference device in double.
// Tolerance: kEps = 2^-24 times the length of the longest sum, times a factor of a few for the random signs.
#include <doctest/doctest.h>

#include <list>
#include <map>
#include <numeric>

#include "cpu/compare.hpp"
#include "facellava/core/quantise.hpp"
#include "facellava/cpu/device.hpp"
#include "facellava/ref/device.hpp"

using namespace facellava;
using test::array;
using test::error;
using test::kEps;
using test::Random;

namespace {

template <class F>
void at_every_isa(F f) {
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    cpu::Device dev({.threads = 2, .isa = isa});
    f(dev);
  }
}
StoredTensor<Host, kDyn, kDyn> stored(const std::vector<std::uint16_t>& bits, Format f, Index rows, Index n) {
  return {reinterpret_cast<const std::byte*>(bits.data()), f, {rows, n}};
}

}  // namespace

TEST_CASE("linear: fp32 weights, odd sizes, strides, bias and residual") {
  ref::Device ref;
  for (auto [m, n, k] : {std::array<Index, 3>{0, 5, 7},
                         {1, 1, 1},
                         {1, 9, 33},
                         {5, 3, 17},
                         {7, 13, 64},
                         {25, 31, 100},
                         {97, 50, 130},
                         {3, 200, 257}}) {
    Random<float> x(m, k, 1, 3), w(n, k, 2), b(1, n, 3), res(m, n, 4, 1), y(m, n, 5, 2);
    auto xd = x.as<double>(), wd = w.as<double>(), bd = b.as<double>(), rd = res.as<double>(), yd = y.as<double>();
    at_every_isa([&](auto& dev) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      linear(dev, y.matrix(), x.matrix(), w.matrix(), b.vector(), res.matrix());
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), bd.vector(), rd.matrix());
      CHECK(error(y, yd) < 4 * kEps * std::sqrt(double(k)) + kEps * 4);
      linear(dev, y.matrix(), x.matrix(), w.matrix(), None{}, None{});
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), None{}, None{});
      CHECK(error(y, yd) < 4 * kEps * std::sqrt(double(k)) + kEps * 4);
      auto in_place = res;  // y may be its own residual
      linear(dev, in_place.matrix(), x.matrix(), w.matrix(), b.vector(), in_place.matrix());
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), bd.vector(), rd.matrix());
      CHECK(error(in_place, yd) < 4 * kEps * std::sqrt(double(k)) + kEps * 4);
    });
  }
}

TEST_CASE("linear: bf16 and fp16 weights are read exactly; bf16 products round the activation only") {
  ref::Device ref;
  const Index m = 13, n = 27, k = 165;
  Random<float> x(m, k, 1), w(n, k, 2), y(m, n, 3);
  std::vector<std::uint16_t> brain(std::size_t(n * k)), half(std::size_t(n * k));
  Random<float> wb = w, wh = w;
  for (std::size_t i = 0; i < brain.size(); ++i) {
    brain[i] = to_bf16(w.values[i]).bits;
    wb.values[i] = to_float(bf16{brain[i]});
    half[i] = std::uint16_t(0x3000u + i * 37 % 0x1000 + (i % 2) * 0x8000u);  // 0.125 .. 2 of either sign
    wh.values[i] = to_float(f16{half[i]});
  }
  Random<float> rounded = x;
  for (float& v : rounded.values) v = to_float(to_bf16(v));
  auto xd = x.as<double>(), rd = rounded.as<double>(), bd = wb.as<double>(), hd = wh.as<double>(), yd = y.as<double>();
  at_every_isa([&](auto& dev) {
    linear(dev, y.matrix(), x.matrix(), stored(brain, Format::kBf16, n, k), None{}, None{});
    linear(ref, yd.matrix(), xd.matrix(), bd.matrix(), None{}, None{});
    CHECK(error(y, yd) < 4 * kEps * std::sqrt(double(k)));
    linear(dev, y.matrix(), x.matrix(), stored(half, Format::kF16, n, k), None{}, None{});
    linear(ref, yd.matrix(), xd.matrix(), hd.matrix(), None{}, None{});
    CHECK(error(y, yd) < 4 * kEps * std::sqrt(double(k)));
    cpu::Device fast({.threads = 2, .isa = dev.isa(), .precision = cpu::Precision::kNative});
    linear(fast, y.matrix(), x.matrix(), stored(brain, Format::kBf16, n, k), None{}, None{});
    linear(ref, yd.matrix(), (dev.isa() >= cpu::Isa::kAvx512Bf16 ? rd : xd).matrix(), bd.matrix(), None{}, None{});
    CHECK(error(y, yd) < 8 * kEps * std::sqrt(double(k)));
  });
}

namespace {

// A random matrix in any format, and its values.
struct Coded {
  std::vector<std::byte> bytes;
  Nf4Matrix nf4;
  Nf4Scales scales;
  StoredTensor<Host, kDyn, kDyn> matrix;
  Random<double> values;

  Coded(Format f, Index n, Index k, unsigned seed) : values(n, k, seed) {
    const Random<float> w(n, k, seed);
    if (f == Format::kNf4) {
      nf4 = quantise_nf4(w.values.data(), n * k);
      scales = nf4.scales();
    } else {
      bytes.resize(std::size_t(n * row_bytes(f, k)));
      for (Index r = 0; r < n; ++r)
        quantise_row(f, bytes.data() + r * row_bytes(f, k), &w.values[std::size_t(r * k)], k);
    }
    matrix = {f == Format::kNf4 ? nf4.packed.data() : bytes.data(), f, {n, k}, &scales};
    for (Index r = 0; r < n; ++r)
      for (Index c = 0; c < k; ++c) values.values[std::size_t(r * k + c)] = double(matrix(r, c));
  }
};
// What native products of q8 and q4 make of an activation: int8 in blocks of 32.
void round_to_blocks(Random<float>& x) {
  for (Index r = 0; r < x.rows; ++r)
    for (Index b = 0; b < x.width; b += 32) {
      float* v = &x.values[std::size_t(r * x.stride + b)];
      const Index n = std::min<Index>(32, x.width - b);
      float top = 0;
      for (Index i = 0; i < n; ++i) top = std::max(top, std::abs(v[i]));
      for (Index i = 0; i < n; ++i) v[i] = std::nearbyint(v[i] * (127 / top)) * (top / 127);
    }
}

}  // namespace

TEST_CASE("linear: every format is multiplied exactly; native products round the activation only") {
  ref::Device ref;
  for (auto [m, n, k] : {std::array<Index, 3>{1, 5, 32}, {1, 67, 576}, {5, 51, 96}, {13, 27, 176}, {101, 49, 1120}})
    for (Format f : kFormats) {
      CAPTURE(m);
      CAPTURE(k);
      CAPTURE(format_name(f));
      const Coded w(f, n, k, 2);
      Random<float> x(m, k, 1, 5), y(m, n, 3), integers = x, brain = x;
      round_to_blocks(integers);
      for (float& v : brain.values) v = to_float(to_bf16(v));
      auto values = w.values, yd = y.as<double>();
      const auto against = [&](Random<float>& rounded) {
        auto xd = rounded.as<double>();
        linear(ref, yd.matrix(), xd.matrix(), values.matrix(), None{}, None{});
        return error(y, yd);
      };
      at_every_isa([&](auto& dev) {
        const double tolerance = 8 * kEps * std::sqrt(double(k));
        linear(dev, y.matrix(), x.matrix(), w.matrix, None{}, None{});
        CHECK(against(x) < tolerance);
        cpu::Device fast({.threads = 2, .isa = dev.isa(), .precision = cpu::Precision::kNative});
        linear(fast, y.matrix(), x.matrix(), w.matrix, None{}, None{});
        const bool blocks = (f == Format::kQ8 || f == Format::kQ4) && dev.isa() >= cpu::Isa::kAvx2;
        const bool halves = f == Format::kBf16 && dev.isa() >= cpu::Isa::kAvx512Bf16;
        CHECK(against(blocks ? integers : halves ? brain : x) < tolerance);
      });
    }
}

TEST_CASE("linear: a NaN or an infinity of x reaches its row of y, and no other") {
  for (Format f : kFormats)
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
      for (auto precision : {cpu::Precision::kExact, cpu::Precision::kNative}) {
        CAPTURE(format_name(f));
        const Coded w(f, 19, 96, 2);
        at_every_isa([&](auto& dev) {
          cpu::Device other({.threads = 2, .isa = dev.isa(), .precision = precision});
          Random<float> x(3, 96, 1), y(3, 19, 3);
          x.values[96 + 50] = bad;
          linear(other, y.matrix(), x.matrix(), w.matrix, None{}, None{});
          for (Index c = 0; c < 19; ++c) {
            CHECK(std::isfinite(y.matrix()(0, c)));
            CHECK_FALSE(std::isfinite(y.matrix()(1, c)));
            CHECK(std::isfinite(y.matrix()(2, c)));
          }
        });
      }
}

TEST_CASE("embed reads a row of every format") {
  const Index n = 112;
  const std::vector<int> ids{3, -1, 0, 6};
  for (Format f : kFormats) {
    CAPTURE(format_name(f));
    const Coded w(f, 7, n, 2);
    at_every_isa([&](auto& dev) {
      Random<float> y(4, n, 3, 3);
      const auto before = y;
      embed(dev, y.matrix(), array(ids), w.matrix);
      for (Index r = 0; r < 4; ++r)
        for (Index c = 0; c < n + 3; ++c) {
          const std::size_t at = std::size_t(r * (n + 3) + c);
          if (r == 1 || c >= n)
            REQUIRE(y.values[at] == before.values[at]);
          else
            REQUIRE(y.values[at] == doctest::Approx(w.matrix(ids[std::size_t(r)], c)).epsilon(kEps));
        }
    });
  }
}

TEST_CASE("linear: a row has the same bits alone, in any batch, with any number of threads") {
  const Index m = 61, n = 200, k = 1360;  // k: more than one block of every kernel, and a rest
  Random<float> x(m, k, 1), w(n, k, 2), y(m, n, 3), one(1, n, 4);
  std::list<Coded> coded;
  for (Format f : kFormats) coded.emplace_back(f, n, k, 2);
  for (cpu::Isa isa : cpu::kIsas)
    for (auto precision : {cpu::Precision::kExact, cpu::Precision::kNative}) {
      if (isa > cpu::best_isa()) continue;
      CAPTURE(cpu::isa_name(isa));
      cpu::Device three({.threads = 3, .isa = isa, .precision = precision}),
          alone({.threads = 1, .isa = isa, .precision = precision});
      const auto compare = [&](const auto& weight) {
        linear(three, y.matrix(), x.matrix(), weight, None{}, None{});
        for (Index r = 0; r < m; ++r) {
          linear(alone, one.matrix(), rows(x.matrix(), r, 1), weight, None{}, None{});
          for (Index c = 0; c < n; ++c) REQUIRE(y.matrix()(r, c) == one.matrix()(0, c));
        }
      };
      compare(w.matrix());
      for (const Coded& c : coded) {
        CAPTURE(format_name(c.matrix.format));
        compare(c.matrix);
      }
    }
}

TEST_CASE("norms and elementwise") {
  ref::Device ref;
  for (Index n : {1, 7, 8, 16, 17, 100, 513}) {
    const Index m = 5;
    Random<float> x(m, n, 1, 2), u(m, n, 2), w(1, n, 3), b(1, n, 4), y(m, n, 5), mean(1, m, 6), rstd(1, m, 7);
    x.values[0] = 30;  // gelu and silu saturate
    x.values[x.values.size() / 2] = -30;
    auto xd = x.as<double>(), ud = u.as<double>(), wd = w.as<double>(), bd = b.as<double>(), yd = y.as<double>(),
         md = mean.as<double>(), sd = rstd.as<double>();
    at_every_isa([&](auto& dev) {
      CAPTURE(n);
      rms_norm(dev, y.matrix(), rstd.vector(), x.matrix(), w.vector(), 1e-5f);
      rms_norm(ref, yd.matrix(), sd.vector(), xd.matrix(), wd.vector(), 1e-5f);
      CHECK(error(y, yd) < 8 * kEps);
      CHECK(error(rstd, sd) < 8 * kEps);
      layer_norm(dev, y.matrix(), mean.vector(), rstd.vector(), x.matrix(), w.vector(), b.vector(), 1e-5f);
      layer_norm(ref, yd.matrix(), md.vector(), sd.vector(), xd.matrix(), wd.vector(), bd.vector(), 1e-5f);
      CHECK(error(y, yd) < 32 * kEps);
      CHECK(error(mean, md) < 32 * kEps);
      gelu(dev, y.matrix(), x.matrix());
      gelu(ref, yd.matrix(), xd.matrix());
      CHECK(error(y, yd) < 16 * kEps);
      swiglu(dev, y.matrix(), x.matrix(), u.matrix());
      swiglu(ref, yd.matrix(), xd.matrix(), ud.matrix());
      CHECK(error(y, yd) < 16 * kEps);
      auto z = u;
      auto zd = ud;
      axpy(dev, z.matrix(), x.matrix(), 0.3f);
      axpy(ref, zd.matrix(), xd.matrix(), 0.3f);
      CHECK(error(z, zd) < 4 * kEps);
    });
  }
}

TEST_CASE("rope turns by the table and back") {
  ref::Device ref;
  for (Index d : {2, 6, 16, 18, 64, 128}) {
    const Index m = 9, h = 3, positions = 20;
    Random<float> x(m, h * d, 1, 5), table(positions, d, 2);
    std::vector<int> at{3, 0, 19, 7, 7, 1, 2, 18, 5};
    auto xd = x.as<double>(), td = table.as<double>();
    at_every_isa([&](auto& dev) {
      for (Rotate way : {Rotate::kForward, Rotate::kInverse}) {
        auto a = x;
        auto b = xd;
        rope(dev, a.heads(h), array(at), table.matrix(), way);
        rope(ref, b.heads(h), array(at), td.matrix(), way);
        CHECK(error(a, b) < 4 * kEps);
      }
      std::vector<int> beyond(std::size_t(m), 20);
      CHECK_THROWS_AS(rope(dev, x.heads(h), array(beyond), table.matrix(), Rotate::kForward), Error);
    });
  }
}

TEST_CASE("rows: embed, add_rows, gather_rows, im2col, kv_append, copy") {
  ref::Device ref;
  const Index n = 21;
  Random<float> table(6, n, 1), y(4, n, 2, 3);
  const std::vector<int> ids{5, -1, 0, 2}, bad{0, 6, 0, 0}, all{1, 1, 4, 0};
  auto td = table.as<double>(), yd = y.as<double>();
  std::vector<std::uint16_t> bits;
  Random<float> wide = table;
  for (std::size_t i = 0; i < std::size_t(6 * n); ++i) {
    bits.push_back(to_bf16(table.values[i]).bits);
    wide.values[i] = to_float(bf16{bits.back()});
  }
  auto wd = wide.as<double>();
  const auto y0 = y;
  const auto yd0 = yd;
  at_every_isa([&](auto& dev) {
    y = y0;
    yd = yd0;
    embed(dev, y.matrix(), array(ids), table.matrix());
    embed(ref, yd.matrix(), array(ids), td.matrix());
    CHECK(error(y, yd) == 0);
    embed(dev, y.matrix(), array(ids), stored(bits, Format::kBf16, 6, n));
    embed(ref, yd.matrix(), array(ids), wd.matrix());
    CHECK(error(y, yd) == 0);
    add_rows(dev, y.matrix(), array(all), table.matrix());
    add_rows(ref, yd.matrix(), array(all), td.matrix());
    CHECK(error(y, yd) < kEps);
    gather_rows(dev, y.matrix(), table.matrix(), array(ids));
    gather_rows(ref, yd.matrix(), td.matrix(), array(ids));
    CHECK(error(y, yd) < kEps);
    CHECK_THROWS_AS(embed(dev, y.matrix(), array(bad), table.matrix()), Error);
    CHECK_THROWS_AS(gather_rows(dev, y.matrix(), table.matrix(), array(bad)), Error);
    CHECK_THROWS_AS(add_rows(dev, y.matrix(), array(bad), table.matrix()), Error);

    const int side = 12, patch = 4;
    Random<float> pixels(2, 3 * side * side, 3), cols(2 * 10, 3 * patch * patch, 4);
    auto pd = pixels.as<double>(), cd = cols.as<double>();
    im2col(dev, cols.matrix(), pixels.matrix(), side, patch);
    im2col(ref, cd.matrix(), pd.matrix(), side, patch);
    CHECK(error(cols, cd) == 0);
    CHECK_THROWS_AS(im2col(dev, cols.matrix(), pixels.matrix(), side, 3), Error);

    Random<float> k(3, 12, 5), v(3, 12, 6), slab_k(5, 12, 7), slab_v(5, 12, 8);
    const std::vector<int> slots{4, 0, 2}, outside{4, 0, 5};
    kv_append(dev, slab_k.heads(2), slab_v.heads(2), k.heads(2), v.heads(2), array(slots));
    for (Index c = 0; c < 12; ++c) {
      CHECK(slab_k.matrix()(4, c) == k.matrix()(0, c));
      CHECK(slab_v.matrix()(2, c) == v.matrix()(2, c));
    }
    CHECK_THROWS_AS(kv_append(dev, slab_k.heads(2), slab_v.heads(2), k.heads(2), v.heads(2), array(outside)), Error);
  });
}

TEST_CASE("attention: ranges, causal tails, strides, grouped heads") {
  ref::Device ref;
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
      {{{0, 5, 0, 1, 8}, {1, 5, 1, 1, 8}, {2, 5, 2, 1, 8}},
       {{0, 5}, {1, 5}, {2, 5}},
       Mask::kFull},                                        // temporal: every 8th
      {{{4, 6, 0, 2}}, {{10, 4}, {40, 2}}, Mask::kCausal},  // the queries' keys lie in two ranges
      {{{0, 3, 0, 0}}, {}, Mask::kFull},                    // nothing to see
  };
  for (auto [heads, kv, d] : {std::array<Index, 3>{1, 1, 8}, {4, 2, 24}, {6, 1, 33}, {2, 2, 64}})
    for (const Case& c : cases) {
      Random<float> q(40, heads * d, 1), k(80, kv * d, 2, 4), v(80, kv * d, 3), o(40, heads * d, 4), lse(40, heads, 5);
      for (float& x : q.values) x = to_float(to_bf16(x));  // native products of bf16 keys round q: let it stay as it is
      auto qd = q.as<double>(), kd = k.as<double>(), vd = v.as<double>(), od = o.as<double>(), ld = lse.as<double>();
      attention(ref, od.heads(heads), ld.matrix(), qd.heads(heads), kd.heads(kv), vd.heads(kv), array(c.sequences),
                array(c.ranges), c.mask, 0.25f);
      std::vector<bf16> kb(std::size_t(80 * kv * d)), vb = kb;
      const View<bf16, Host, kDyn, kDyn, kDyn> slab_k(kb.data(), 80, kv, d), slab_v(vb.data(), 80, kv, d);
      std::vector<int> slots(80);
      std::iota(slots.begin(), slots.end(), 0);
      kv_append(ref, slab_k, slab_v, kd.heads(kv), vd.heads(kv), array(slots));
      auto ob = od, lb = ld;
      attention(ref, ob.heads(heads), lb.matrix(), qd.heads(heads), slab_k, slab_v, array(c.sequences), array(c.ranges),
                c.mask, 0.25f);
      at_every_isa([&](auto& dev) {
        auto a = o;
        auto l = lse;
        attention(dev, a.heads(heads), l.matrix(), q.heads(heads), k.heads(kv), v.heads(kv), array(c.sequences),
                  array(c.ranges), c.mask, 0.25f);
        CHECK(error(a, od) < 64 * kEps);  // exp of a sum of d terms of size about 3
        CHECK(error(l, ld) < 64 * kEps);

        std::vector<bf16> ours(kb.size()), values(vb.size());
        const View<bf16, Host, kDyn, kDyn, kDyn> own_k(ours.data(), 80, kv, d), own_v(values.data(), 80, kv, d);
        kv_append(dev, own_k, own_v, k.heads(kv), v.heads(kv), array(slots));
        for (std::size_t i = 0; i < kb.size(); ++i)
          REQUIRE((ours[i].bits == kb[i].bits && values[i].bits == vb[i].bits));
        for (auto precision : {cpu::Precision::kExact, cpu::Precision::kNative}) {
          cpu::Device other({.threads = 2, .isa = dev.isa(), .precision = precision});
          attention(other, a.heads(heads), l.matrix(), q.heads(heads), own_k, own_v, array(c.sequences),
                    array(c.ranges), c.mask, 0.25f);
          CHECK(error(a, ob) < 64 * kEps);
          CHECK(error(l, lb) < 64 * kEps);
        }
      });
    }
}

TEST_CASE("attention: chunks, forks and neighbours change no bit") {
  const Index n = 50, h = 2, d = 40;
  Random<float> q(n, h * d, 1), k(n + 20, h * d, 2), v(n + 20, h * d, 3), whole(n, h * d, 4), part(n, h * d, 5),
      lse(n, h, 6);
  at_every_isa([&](auto& dev) {
    const std::vector<Sequence> all{{0, int(n), 0, 1}};
    const std::vector<KvRange> range{{0, int(n)}};
    attention(dev, whole.heads(h), lse.matrix(), q.heads(h), k.heads(h), v.heads(h), array(all), array(range),
              Mask::kCausal, 0.2f);
    for (int cut : {1, 13, 31, 49}) {
      // the tail of the keys moved elsewhere in the slab, the queries in two calls
      auto k2 = k, v2 = v;
      for (int r = cut; r < n; ++r)
        for (Index c = 0; c < h * d; ++c) {
          k2.matrix()(r + 20, c) = k.matrix()(r, c);
          v2.matrix()(r + 20, c) = v.matrix()(r, c);
        }
      const std::vector<Sequence> two{{0, cut, 0, 1}, {cut, int(n) - cut, 1, 2}};
      const std::vector<KvRange> ranges{{0, cut}, {0, cut}, {cut + 20, int(n) - cut}};
      attention(dev, part.heads(h), lse.matrix(), q.heads(h), k2.heads(h), v2.heads(h), array(two), array(ranges),
                Mask::kCausal, 0.2f);
      CHECK(std::equal(part.values.begin(), part.values.end() - 1, whole.values.begin()));
      std::fill(part.values.begin(), part.values.end() - 1, 0.f);
    }
  });
}

TEST_CASE("region attention and its bias, every kind") {
  ref::Device ref;
  for (auto token : {ClassToken::kNone, ClassToken::kFirst})
    for (auto kind : {RegionBias::kSoftmaxTransposed, RegionBias::kSoftmax, RegionBias::kDistance}) {
      const Index side = 5, tokens = side * side + (token == ClassToken::kFirst), frames = 2, h = 3, d = 21;
      Random<float> points(frames, 136, 1, 0, 0.3f), bias(frames * tokens, kRegionCount, 2), scale(1, 1, 3);
      Random<float> q(frames * tokens, h * d, 4), k(frames * kRegionCount, h * d, 5),
          v(frames * kRegionCount, h * d, 6), o(frames * tokens, h * d, 7), p(frames * tokens, h * kRegionCount, 8);
      auto pd = points.as<double>(), bd = bias.as<double>(), sd = scale.as<double>(), qd = q.as<double>(),
           kd = k.as<double>(), vd = v.as<double>(), od = o.as<double>(), wd = p.as<double>();
      region_bias(ref, bd.matrix(), pd.matrix(), sd.vector(), 2.f, kind, token, int(side));
      region_attention(ref, od.heads(h), wd.heads(h), qd.heads(h), kd.heads(h), vd.heads(h), bd.matrix(), 0.2f);
      at_every_isa([&](auto& dev) {
        region_bias(dev, bias.matrix(), points.matrix(), scale.vector(), 2.f, kind, token, int(side));
        CHECK(error(bias, bd) < 16 * kEps);
        region_attention(dev, o.heads(h), p.heads(h), q.heads(h), k.heads(h), v.heads(h), bias.matrix(), 0.2f);
        CHECK(error(o, od) < 64 * kEps);
        CHECK(error(p, wd) < 64 * kEps);
      });
    }
}

TEST_CASE("log_prob and argmax") {
  ref::Device ref;
  for (Index n : {1, 5, 31, 1000}) {
    Random<float> logits(4, n, 1, 0, 5), scores(1, 4, 2);
    auto ld = logits.as<double>(), sd = scores.as<double>();
    std::vector<int> ids{0, int(n - 1), int(n / 2), 0};
    std::vector<int> best(4), want(4);
    logits.matrix()(2, n / 2) = logits.matrix()(2, 0);
    ld = logits.as<double>();
    at_every_isa([&](auto& dev) {
      log_prob(dev, scores.vector(), logits.matrix(), array(ids));
      log_prob(ref, sd.vector(), ld.matrix(), array(ids));
      CHECK(error(scores, sd) < 32 * kEps);
      argmax(dev, View<int, Host, kDyn>(best.data(), 4), logits.matrix());
      argmax(ref, View<int, Host, kDyn>(want.data(), 4), ld.matrix());
      CHECK(best == want);
    });
  }
}

TEST_CASE("NaN and infinity reach the output at every level") {
  const Index n = 40;
  at_every_isa([&](auto& dev) {
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Random<float> x(1, n, 1), w(1, n, 2), y(1, n, 3), s(1, 1, 4);
      x.values[17] = bad;
      rms_norm(dev, y.matrix(), s.vector(), x.matrix(), w.vector(), 1e-5f);
      CHECK_FALSE(std::isfinite(y.values[17]));
      swiglu(dev, y.matrix(), x.matrix(), w.matrix());
      CHECK_FALSE(std::isfinite(y.values[17]));
      linear(dev, s.matrix(), x.matrix(), w.matrix(), None{}, None{});
      CHECK_FALSE(std::isfinite(s.values[0]));
    }
  });
}

TEST_CASE("a missing instruction set and a strange thread count are errors") {
  CHECK_THROWS_AS(cpu::isa_from_name("avx1024"), Error);
  CHECK(cpu::isa_from_name("auto") == cpu::best_isa());
  CHECK_THROWS_AS(cpu::Device({.threads = -1}), Error);
  CHECK_THROWS_AS(cpu::Device({.threads = 1000000}), Error);
}

TEST_CASE("the pool rethrows the first exception and stays usable") {
  cpu::ThreadPool pool(3);
  CHECK_THROWS_AS(pool.run(100,
                           [](Index i, int) {
                             if (i == 50) throw Error(ErrorKind::kArgument, "fifty");
                           }),
                  Error);
  std::atomic<int> sum{0};
  pool.run(100, [&](Index i, int) { sum += int(i); });
  CHECK(sum == 4950);
}

// Backward and losses of the CUDA device, but for attention, against the reference device in double. The same file runs
// in the emulator and on a GPU.
// Tolerance: kEps = 2^-24 times a few roundings, times the root of the longest sum's length for its random signs.
#include <array>
#include <cmath>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::ArrayOnDevice;
using test::check_op;
using test::kEps;
using test::kind_of;
using test::kWrites;
using test::OnDevice;
using test::Random;

TEST_CASE("linear_dx, linear_dw: odd sizes and strides, absent gradients") {
  for (auto [m, n, k] :
       {std::array<Index, 3>{0, 3, 5}, {1, 1, 1}, {1, 9, 33}, {7, 33, 18}, {40, 36, 64}, {29, 50, 130}})
    for (Write how : kWrites) {
      CAPTURE(m);
      CAPTURE(n);
      CAPTURE(k);
      const double tolerance = 8 * kEps * std::sqrt(double(std::max({m, n, k})));
      const Random<float> x(m, k, 1, 3), w(n, k, 2, 1), dy(m, n, 3, 2);
      check_op({dy, w}, {Random<float>(m, k, 4, 5)}, {}, tolerance, [&](auto& dev, auto& in, auto& out, auto) {
        linear_dx(dev, out[0].matrix(), in[0].matrix(), in[1].matrix(), how);
        linear_dx(dev, None{}, in[0].matrix(), in[1].matrix(), how);
      });
      check_op({dy, x},
               {Random<float>(n, k, 4, 5), Random<float>(1, n, 5), Random<float>(n, k, 6), Random<float>(1, n, 7)}, {},
               tolerance, [&](auto& dev, auto& in, auto& out, auto) {
                 linear_dw(dev, out[0].matrix(), out[1].vector(), in[0].matrix(), in[1].matrix());
                 linear_dw(dev, out[2].matrix(), None{}, in[0].matrix(), in[1].matrix());
                 linear_dw(dev, None{}, out[3].vector(), in[0].matrix(), in[1].matrix());
               });
    }
}

TEST_CASE("linear_dx: a matrix in any format, whole or in blocks") {
  ref::Device ref;
  const Index m = 5, n = 71;
  for (Format format : kFormats) {
    const Index k = is_block_format(format) ? 64 : 45;
    Random<float> dy(m, n, 1), w(n, k, 2), dx(m, k, 3, 1);
    for (Write how : kWrites)
      // Scratch for all rows of W, for 32 at a time, for 3, for one.
      for (Index room : {n, Index(40), Index(3), Index(1)}) {
        CAPTURE(format_name(format));
        CAPTURE(room);
        cuda::BackwardDevice dev({.workspace_bytes = 1 << 20, .scratch_bytes = std::size_t(room * k) * sizeof(float)});
        OnDevice Y(dev, dy), X(dev, dx);
        const test::StoredOnDevice W(dev, format, w);
        auto dyd = dy.as<double>(), want = dx.as<double>();
        linear_dx(ref, want.matrix(), dyd.matrix(), W.host(), how);
        linear_dx(dev, X.matrix(), Y.matrix(), W.matrix(), how);
        CHECK(test::error(X.get(), want, dx) < 8 * kEps * std::sqrt(double(n)));
      }
  }
}

TEST_CASE("linear_dx, linear_dw: what cannot work is an Error") {
  cuda::BackwardDevice dev({.workspace_bytes = 0, .scratch_bytes = 16});
  Random<float> x(2, 8, 1), dy(2, 6, 2);
  OnDevice X(dev, x), Y(dev, dy);
  const ArrayOnDevice<std::uint16_t> bits(dev, std::vector<std::uint16_t>(48, 0x3f80));
  StoredTensor<cuda::Space, kDyn, kDyn> w{reinterpret_cast<const std::byte*>(bits.first()), Format::kBf16, {6, 8}};
  const auto run = [&](auto dx) { linear_dx(dev, dx, Y.matrix(), w, Write::kAssign); };
  CHECK(kind_of([&] { run(X.matrix()); }) == ErrorKind::kCapacity);
  w.format = Format::kF32;
  auto slanted = X.matrix();
  slanted.stride = 7;
  CHECK(kind_of([&] { run(slanted); }) == ErrorKind::kShape);
  CHECK(kind_of([&] { linear_dw(dev, slanted, None{}, rows(X.matrix(), 0, 2), X.matrix()); }) == ErrorKind::kShape);
  auto none = Y.matrix();
  none.sizes[1] = w.sizes[0] = 0;
  CHECK(kind_of([&] { linear_dx(dev, X.matrix(), none, w, Write::kAssign); }) == ErrorKind::kShape);
  const OnDevice total(dev, Random<float>(1, 2, 3));
  const View<double, cuda::Space, kDyn> sum(reinterpret_cast<double*>(total.matrix().data), 1);
  CHECK(kind_of([&] { sum_squares(dev, sum, X.matrix()); }) == ErrorKind::kCapacity);
  dev.synchronize();
}

TEST_CASE("scatter_add_rows, embed_dw, mean_rows, mean_rows_backward: rows that meet in one row") {
  std::vector<int> ids{2, -1, 0, 2, 5, 2}, many;
  for (int i = 0; i < 150; ++i) many.push_back(i * 7 % 11 - 1);
  for (Index n : {1, 7, 32, 130, 1100}) {
    CAPTURE(n);
    // Sums of 15 terms at most, in the order of the reference.
    check_op({Random<float>(6, n, 1, 4)}, {Random<float>(6, n, 2, 4)}, ids, 8 * kEps,
             [](auto& dev, auto& in, auto& out, auto index) {
               scatter_add_rows(dev, out[0].matrix(), in[0].matrix(), index);
               embed_dw(dev, out[0].matrix(), in[0].matrix(), index);
               embed_dw(dev, None{}, in[0].matrix(), index);
             });
    check_op({Random<float>(150, n, 1, 3)}, {Random<float>(10, n, 2, 1)}, many, 16 * kEps,
             [](auto& dev, auto& in, auto& out, auto index) {
               scatter_add_rows(dev, out[0].matrix(), in[0].matrix(), index);
             });
    for (Index r : {1, 3, 6}) {
      check_op(
          {Random<float>(6, n, 1, 4)}, {Random<float>(r, n, 2, 4)}, {2, 1, 0, 2, 5, 4}, 8 * kEps,
          [](auto& dev, auto& in, auto& out, auto index) { mean_rows(dev, out[0].matrix(), in[0].matrix(), index); });
      check_op({Random<float>(r, n, 1, 4)}, {Random<float>(6, n, 2, 1)}, {2, 1, 0, 2, 5, 4}, 8 * kEps,
               [](auto& dev, auto& in, auto& out, auto index) {
                 mean_rows_backward(dev, out[0].matrix(), in[0].matrix(), index);
               });
    }
  }
  check_op({Random<float>(0, 5, 1)}, {Random<float>(3, 5, 2), Random<float>(0, 5, 3)}, {}, kEps,
           [](auto& dev, auto& in, auto& out, auto index) {
             scatter_add_rows(dev, out[0].matrix(), in[0].matrix(), index);
             mean_rows_backward(dev, out[0].matrix(), in[0].matrix(), index);
             mean_rows(dev, out[1].matrix(), out[0].matrix(), index);
           });
}

TEST_CASE("indices and labels out of range are reported and touch nothing") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  const Random<float> x(3, 40, 1), y(2, 40, 2), nll(1, 2, 3);
  OnDevice X(dev, x), Y(dev, y), N(dev, nll);
  for (int bad : {-1, 3, 40, 1 << 30, -(1 << 30)}) {
    CAPTURE(bad);
    const ArrayOnDevice<int> ids(dev, {bad, bad});
    const auto reported = [&](auto op) {
      return kind_of([&] {
               op();
               dev.synchronize();
             }) == ErrorKind::kShape;
    };
    if (bad >= 0) CHECK(reported([&] { scatter_add_rows(dev, X.matrix(), Y.matrix(), ids.view()); }));
    CHECK(reported([&] { mean_rows(dev, Y.matrix(), X.matrix(), ids.view()); }));
    CHECK(reported([&] { mean_rows_backward(dev, X.matrix(), Y.matrix(), ids.view()); }));
    if (bad >= 40) CHECK(reported([&] { cross_entropy(dev, N.vector(), Y.matrix(), ids.view(), 1.f); }));
    CHECK(X.get().values == x.values);
    CHECK(Y.get().values == y.values);
    CHECK(N.get().values == nll.values);
  }
  const ArrayOnDevice<int> good(dev, {2, 0});
  scatter_add_rows(dev, X.matrix(), Y.matrix(), good.view());  // and the device works on
  CHECK(X.get().values != x.values);
}

TEST_CASE("rms_norm_backward, layer_norm_backward: odd widths, strides, absent gradients") {
  for (auto [m, n] : {std::array<Index, 2>{0, 7}, {1, 1}, {37, 8}, {37, 33}, {2, 130}, {3, 513}, {2, 1028}})
    for (Write how : kWrites) {
      CAPTURE(n);
      CAPTURE(m);
      Random<float> x(m, n, 1, 4), w(1, n, 2), dy(m, n, 3, 4), mean(1, m, 4, 0, 0.1f), rstd(1, m, 5);
      for (float& r : rstd.values) r = 1 + std::abs(r) / 8;
      // Sums of n terms with random signs, by threads of 4 or 8, then of warps: a root of a few hundred roundings.
      check_op({x, w, dy, rstd}, {Random<float>(m, n, 6, 4), Random<float>(1, n, 7), Random<float>(m, n, 8, 4)}, {},
               64 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
                 rms_norm_backward(dev, out[0].matrix(), out[1].vector(), in[2].matrix(), in[3].vector(),
                                   in[0].matrix(), in[1].vector(), how);
                 rms_norm_backward(dev, out[2].matrix(), None{}, in[2].matrix(), in[3].vector(), in[0].matrix(),
                                   in[1].vector(), how);
               });
      check_op({x, w, dy, mean, rstd},
               {Random<float>(m, n, 6, 4), Random<float>(1, n, 7), Random<float>(1, n, 8), Random<float>(m, n, 9, 1),
                Random<float>(1, n, 10)},
               {}, 64 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
                 const auto run = [&](auto dx, auto dw, auto db) {
                   layer_norm_backward(dev, dx, dw, db, in[2].matrix(), in[3].vector(), in[4].vector(), in[0].matrix(),
                                       in[1].vector(), how);
                 };
                 run(out[0].matrix(), out[1].vector(), out[2].vector());
                 run(out[3].matrix(), None{}, out[4].vector());
                 run(out[3].matrix(), out[4].vector(), None{});
               });
    }
}

TEST_CASE("gelu_backward, swiglu_backward, fill: in place") {
  for (Index n : {1, 7, 32, 132, 1100}) {
    CAPTURE(n);
    const Index m = 5;
    Random<float> x(m, n, 1, 4), dy(m, n, 3, 4);
    x.values[0] = 30;  // gelu and silu saturate
    x.values[std::size_t(m / 2 * (n + 4))] = -30;
    // erf and exp have a few ulp each
    check_op({x, dy}, {Random<float>(m, n, 6, 4), dy}, {}, 16 * kEps, [](auto& dev, auto& in, auto& out, auto) {
      gelu_backward(dev, out[0].matrix(), in[1].matrix(), in[0].matrix());
      gelu_backward(dev, out[1].matrix(), out[1].matrix(), in[0].matrix());
    });
    check_op({x, dy, Random<float>(m, n, 8)}, {Random<float>(m, n, 6, 4), Random<float>(m, n, 7), dy}, {}, 16 * kEps,
             [](auto& dev, auto& in, auto& out, auto) {
               swiglu_backward(dev, out[0].matrix(), out[1].matrix(), in[1].matrix(), in[0].matrix(), in[2].matrix());
               swiglu_backward(dev, out[2].matrix(), out[1].matrix(), out[2].matrix(), in[0].matrix(), in[2].matrix());
             });
    check_op({}, {Random<float>(m, 4 * n, 1, 3), Random<float>(1, n, 2)}, {}, kEps,
             [](auto& dev, auto&, auto& out, auto) {
               fill(dev, out[0].matrix(), 0.5f);
               fill(dev, rows(out[0].heads(4), 1, 2), -1);
               fill(dev, out[1].vector(), 3);
               fill(dev, None{}, 3);
             });
  }
  check_op({Random<float>(0, 5, 1)}, {Random<float>(0, 5, 2)}, {}, kEps, [](auto& dev, auto& in, auto& out, auto) {
    gelu_backward(dev, out[0].matrix(), in[0].matrix(), in[0].matrix());
    swiglu_backward(dev, out[0].matrix(), out[0].matrix(), in[0].matrix(), in[0].matrix(), in[0].matrix());
    fill(dev, out[0].matrix(), 1);
  });
}

TEST_CASE("cross_entropy: rows of all sizes, labels that do not count") {
  for (Index n : {4, 17, 1000, 2500}) {
    CAPTURE(n);
    // Logits of size 4: the exponential's error is its argument's, of size 16 at most; sums of n positive terms.
    check_op({}, {Random<float>(1, 5, 1), Random<float>(5, n, 2, 4, 4)}, {3, 0, -100, 2, int(n) - 1}, 32 * kEps,
             [](auto& dev, auto&, auto& out, auto labels) {
               cross_entropy(dev, out[0].vector(), out[1].matrix(), labels, 0.2f);
             });
  }
  check_op({}, {Random<float>(1, 0, 1, 1), Random<float>(0, 9, 2)}, {}, kEps,
           [](auto& dev, auto&, auto& out, auto labels) {
             cross_entropy(dev, out[0].vector(), out[1].matrix(), labels, 0.2f);
           });
}

TEST_CASE("binary_cross_entropy, regression_loss: targets that do not count") {
  for (Index n : {1, 7, 300}) {
    Random<float> targets(5, n, 3);
    for (std::size_t i = 0; i < targets.values.size(); ++i) targets.values[i] = float(int(i % 4) - 1) / 2;
    check_op({targets}, {Random<float>(5, n, 1, 1), Random<float>(5, n, 2, 3, 4)}, {}, 16 * kEps,
             [](auto& dev, auto& in, auto& out, auto) {
               binary_cross_entropy(dev, out[0].matrix(), out[1].matrix(), in[0].matrix(), 0.2f);
             });
    targets.values[0] = std::numeric_limits<float>::quiet_NaN();
    for (const Distance how : {Distance::kSquared, Distance::kSmoothL1})
      check_op({targets}, {Random<float>(5, n, 1, 1), Random<float>(5, n, 2, 3, 4)}, {}, 16 * kEps,
               [&](auto& dev, auto& in, auto& out, auto) {
                 regression_loss(dev, out[0].matrix(), out[1].matrix(), in[0].matrix(), how, 0.2f);
               });
  }
}

TEST_CASE("NaN reaches the gradients and the loss") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  Random<float> bad(1, 40, 1), w(1, 40, 2), y(1, 40, 3), one(1, 1, 4);
  bad.values[17] = std::numeric_limits<float>::quiet_NaN();
  const ArrayOnDevice<int> label(dev, {3});
  const auto reaches = [&](auto op) {
    OnDevice B(dev, bad), W(dev, w), Y(dev, y), S(dev, one);
    op(B, W, Y, S);
    CHECK(std::isnan(Y.get().values[17]));
  };
  reaches([&](auto& B, auto& W, auto& Y, auto& S) {
    rms_norm_backward(dev, Y.matrix(), None{}, B.matrix(), S.vector(), W.matrix(), W.vector(), Write::kAssign);
  });
  reaches([&](auto& B, auto& W, auto& Y, auto&) { gelu_backward(dev, Y.matrix(), W.matrix(), B.matrix()); });
  reaches([&](auto& B, auto& W, auto& Y, auto& S) {
    linear_dw(dev, Y.matrix(), None{}, S.matrix(), B.matrix());
    (void)W;
  });
  OnDevice B(dev, bad), S(dev, one);
  cross_entropy(dev, S.vector(), B.matrix(), label.view(), 1.f);
  CHECK(std::isnan(S.get().values[0]));
}

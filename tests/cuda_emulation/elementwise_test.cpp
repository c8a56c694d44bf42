// Norms, activations and rotary positions of the CUDA device against the reference device in double. The same file
// runs in the emulator and on a GPU.
#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::array;
using test::ArrayOnDevice;
using test::error;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;

namespace {

constexpr Index kWidths[] = {1, 3, 4, 31, 64, 130, 1028, 2049};

}  // namespace

TEST_CASE("layer_norm: odd widths, strides, misaligned rows, a mean far from zero") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Index n : kWidths)
    for (Index gap : {0, 3, 4})
      for (Index shift : {0, 1}) {
        CAPTURE(n);
        CAPTURE(gap);
        CAPTURE(shift);
        const Index m = 3;
        Random<float> x(m, n, 1, gap), w(1, n, 2), b(1, n, 3), y(m, n, 4, 4 - gap), mean(1, m, 5), rstd(1, m, 6);
        for (float& v : x.values) v += 8;
        auto xd = x.as<double>(), wd = w.as<double>(), bd = b.as<double>(), yd = y.as<double>(), md = mean.as<double>(),
             sd = rstd.as<double>();
        OnDevice X(dev, x, shift), W(dev, w), B(dev, b), Y(dev, y), M(dev, mean), R(dev, rstd);
        layer_norm(dev, Y.matrix(), M.vector(), R.vector(), X.matrix(), W.vector(), B.vector(), 1e-2f);
        layer_norm(ref, yd.matrix(), md.vector(), sd.vector(), xd.matrix(), wd.vector(), bd.vector(), 1e-2f);
        // The mean's rounding, an eps of 8, stays in every x − mean, which is about 1; a width of 1 multiplies it by
        // 1 / sqrt(eps) = 10.
        CHECK(error(Y.get(), yd, y) < (n == 1 ? 160 : 32) * kEps);
        CHECK(error(M.get(), md, mean) < 4 * kEps);
        CHECK(error(R.get(), sd, rstd) < 16 * kEps);
      }
}

TEST_CASE("gelu, swiglu, axpy: odd widths, strides, misaligned rows, in place, nothing") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Index n : kWidths)
    for (Index gap : {0, 3, 4})
      for (Index shift : {0, 1}) {
        CAPTURE(n);
        CAPTURE(gap);
        CAPTURE(shift);
        Random<float> a(3, n, 1, gap, 3), b(3, n, 2, 4), y(3, n, 3, 4 - gap);
        auto ad = a.as<double>(), bd = b.as<double>(), yd = y.as<double>();
        OnDevice A(dev, a, shift), B(dev, b), Y(dev, y, shift);
        // A few roundings each; erf, exp within 2 ulp of values up to 3.
        gelu(dev, Y.matrix(), A.matrix());
        gelu(ref, yd.matrix(), ad.matrix());
        CHECK(error(Y.get(), yd, y) < 8 * kEps);
        swiglu(dev, Y.matrix(), A.matrix(), B.matrix());
        swiglu(ref, yd.matrix(), ad.matrix(), bd.matrix());
        CHECK(error(Y.get(), yd, y) < 8 * kEps);
        axpy(dev, Y.matrix(), B.matrix(), 0.3f);
        axpy(ref, yd.matrix(), bd.matrix(), 0.3f);
        CHECK(error(Y.get(), yd, y) < 16 * kEps);
        swiglu(dev, A.matrix(), A.matrix(), B.matrix());  // each number is read by the thread that writes it
        swiglu(ref, ad.matrix(), ad.matrix(), bd.matrix());
        CHECK(error(A.get(), ad, a) < 8 * kEps);
      }
  Random<float> rows(0, 8, 1), columns(3, 0, 2);
  OnDevice R(dev, rows), C(dev, columns);
  for (auto* v : {&R, &C}) {
    gelu(dev, v->matrix(), v->matrix());
    swiglu(dev, v->matrix(), v->matrix(), v->matrix());
    axpy(dev, v->matrix(), v->matrix(), 2.f);
  }
  dev.synchronize();
}

TEST_CASE("gelu and swiglu far from zero: no overflow, NaN stays") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> x(1, 4, 1), y(1, 4, 2);
  x.values = {-200, 200, std::numeric_limits<float>::quiet_NaN(), 0, 0};
  OnDevice X(dev, x), Y(dev, y), ones(dev, [] {
    Random<float> o(1, 4, 1);
    o.values.assign(5, 1);
    return o;
  }());
  const auto check = [](const std::vector<float>& v) {
    CHECK(v[0] == 0);
    CHECK(v[1] == 200);
    CHECK_FALSE(v[2] == v[2]);
    CHECK(v[3] == 0);
  };
  gelu(dev, Y.matrix(), X.matrix());
  check(Y.get().values);
  swiglu(dev, Y.matrix(), X.matrix(), ones.matrix());
  check(Y.get().values);
}

TEST_CASE("rope: odd heads, strides, misaligned rows; the inverse gives x back") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const std::vector<int> at{4, 0, 10, 4};
  const ArrayOnDevice<int> positions(dev, at);
  for (auto [heads, d, gap] :
       {std::array<Index, 3>{1, 2, 0}, {3, 8, 4}, {2, 10, 1}, {5, 16, 0}, {4, 64, 0}, {2, 128, 8}})
    for (Index shift : {0, 1}) {
      CAPTURE(d);
      CAPTURE(shift);
      Random<float> x(4, heads * d, 1, gap), table(11, d, 2, gap);
      for (Index r = 0; r < 11; ++r)
        for (Index k = 0; k < d / 2; ++k) {
          table.matrix()(r, k) = float(std::cos(double(r) / double(k + 1)));
          table.matrix()(r, d / 2 + k) = float(std::sin(double(r) / double(k + 1)));
        }
      auto xd = x.as<double>(), td = table.as<double>();
      OnDevice X(dev, x, shift), T(dev, table);
      rope(dev, X.heads(heads), positions.view(), T.matrix(), Rotate::kForward);
      rope(ref, xd.heads(heads), array(at), td.matrix(), Rotate::kForward);
      CHECK(error(X.get(), xd, x) < 4 * kEps);  // two products and a sum
      rope(dev, X.heads(heads), positions.view(), T.matrix(), Rotate::kInverse);
      rope(ref, xd.heads(heads), array(at), td.matrix(), Rotate::kInverse);
      CHECK(error(X.get(), xd, x) < 8 * kEps);
    }
}

TEST_CASE("rope: a position outside the table is reported and its row stays") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> x(2, 16, 1), table(5, 8, 2);
  OnDevice T(dev, table);
  for (int bad : {-1, 5, 1 << 30}) {
    OnDevice X(dev, x);
    const ArrayOnDevice<int> positions(dev, {bad, 3});
    rope(dev, X.heads(2), positions.view(), T.matrix(), Rotate::kForward);
    CHECK(kind_of([&] { dev.synchronize(); }) == ErrorKind::kShape);
    const auto now = X.get().values;
    CHECK(std::equal(now.begin(), now.begin() + 16, x.values.begin()));
    CHECK_FALSE(std::equal(now.begin() + 16, now.begin() + 32, x.values.begin() + 16));
  }
  OnDevice none(dev, Random<float>(0, 16, 1));
  rope(dev, none.heads(2), ArrayOnDevice<int>(dev, {}).view(), T.matrix(), Rotate::kForward);
  dev.synchronize();
}

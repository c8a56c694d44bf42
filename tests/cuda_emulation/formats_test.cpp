// Products with matrices in every format: a few rows of x meet W as it is stored, more meet W widened. The same file
// runs in the emulator and on a GPU. Tolerance: as of linear in ops_test.cpp, the weights themselves are read exactly.
#include <cmath>

#include "cuda_emulation/check_op.hpp"
#include "facellava/cuda/upload.hpp"

using namespace facellava;
using test::ArrayOnDevice;
using test::error;
using test::linear_tolerance;
using test::OnDevice;
using test::Random;
using test::StoredOnDevice;

namespace {

struct Pair {
  template <class P>
  struct Params {
    Matrix<P, 9, 22> weight, absent;
    Vector<P, 9> bias;
  };
  static void visit(auto&& f, std::string_view, auto&... p) {
    f("weight", p.weight...);
    f("absent", p.absent...);
    f("bias", p.bias...);
  }
};

}  // namespace

TEST_CASE("linear: every format, few rows and many, odd widths, misaligned matrices, bias and residual") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Format f : kFormats)
    for (auto [n, k] : {std::array<Index, 2>{5, 1}, {3, 31}, {9, 64}, {6, 70}, {71, 45}, {5, 1056}})
      for (Index shift : {0, 4}) {  // bytes
        Random<float> w(n, k, 2);
        const StoredOnDevice W(dev, f, w, shift);
        for (Index m : {0, 1, 3, 4, 5, 17}) {
          CAPTURE(format_name(f));
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(m);
          Random<float> x(m, k, 1, shift), b(1, n, 3), res(m, n, 4, 1), y(m, n, 5, 2);
          auto xd = x.as<double>(), bd = b.as<double>(), rd = res.as<double>(), yd = y.as<double>();
          OnDevice X(dev, x), B(dev, b), R(dev, res), Y(dev, y);
          linear(dev, Y.matrix(), X.matrix(), W.matrix(), B.vector(), R.matrix());
          linear(ref, yd.matrix(), xd.matrix(), W.host(), bd.vector(), rd.matrix());
          CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
          linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, Y.matrix());
          linear(ref, yd.matrix(), xd.matrix(), W.host(), None{}, yd.matrix());
          CHECK(error(Y.get(), yd, y) < 2 * linear_tolerance(k));
        }
      }
}

TEST_CASE("linear: every format is widened in blocks of rows that fit the scratch") {
  ref::Device ref;
  const Index m = 6, n = 71, k = 70;
  Random<float> x(m, k, 1), w(n, k, 2), b(1, n, 3), y(m, n, 4);
  auto xd = x.as<double>(), bd = b.as<double>(), yd = y.as<double>();
  for (Format f : kFormats)
    for (Index room : {Index(40), Index(3), Index(1)}) {
      CAPTURE(format_name(f));
      CAPTURE(room);
      cuda::Device dev({.workspace_bytes = 1 << 20, .scratch_bytes = std::size_t(room * k) * sizeof(float)});
      const StoredOnDevice W(dev, f, w);
      OnDevice X(dev, x), B(dev, b), Y(dev, y);
      linear(dev, Y.matrix(), X.matrix(), W.matrix(), B.vector(), None{});
      linear(ref, yd.matrix(), xd.matrix(), W.host(), bd.vector(), None{});
      CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
    }
}

TEST_CASE("linear: one row has the same bits alone and among up to four, aligned and not") {
  cuda::Device dev(test::kSmallDevice);
  const Index n = 11, k = 340;
  Random<float> x(4, k, 1), w(n, k, 2), y(4, n, 3), one(1, n, 4);
  for (Format f : kFormats) {
    CAPTURE(format_name(f));
    const StoredOnDevice W(dev, f, w), odd(dev, f, w, 4);
    OnDevice X(dev, x), Y(dev, y), Z(dev, y), O(dev, one);
    linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, None{});
    linear(dev, Z.matrix(), X.matrix(), odd.matrix(), None{}, None{});
    const auto all = Y.get().values;
    CHECK(Z.get().values == all);
    for (Index r = 0; r < 4; ++r) {
      linear(dev, O.matrix(), rows(X.matrix(), r, 1), W.matrix(), None{}, None{});
      const auto alone = O.get().values;
      CHECK(std::equal(alone.begin(), alone.begin() + n, all.begin() + r * n));
    }
  }
}

TEST_CASE("rows of an nf4 matrix find the scales of the whole") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const Index k = 22, first = 7, n = 9;
  Random<float> x(6, k, 1), w(30, k, 2), y(6, n, 3);
  auto xd = x.as<double>(), yd = y.as<double>();
  const StoredOnDevice W(dev, Format::kNf4, w);
  const auto part = [&](auto whole) {
    whole.data += first * row_bytes(Format::kNf4, k);
    whole.sizes[0] = n;
    return whole;
  };
  for (Index m : {2, 6}) {
    OnDevice X(dev, x), Y(dev, y);
    linear(dev, rows(Y.matrix(), 0, m), rows(X.matrix(), 0, m), part(W.matrix()), None{}, None{});
    linear(ref, rows(yd.matrix(), 0, m), rows(xd.matrix(), 0, m), part(W.host()), None{}, None{});
    CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
  }
}

TEST_CASE("uploaded weights: every format, nf4 rows of a whole, what is not bound stays so") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  Random<float> x(5, 22, 1), w(30, 22, 2), b(1, 9, 3), y(5, 9, 4);
  auto xd = x.as<double>(), bd = b.as<double>(), yd = y.as<double>();
  for (Format f : kFormats) {
    CAPTURE(format_name(f));
    const auto whole = StoredOnDevice(dev, f, w);
    Pair::Params<Stored<Host>> host;
    host.weight.data = whole.host().row(21);
    host.weight.format = f;
    host.weight.nf4 = whole.host().nf4;
    host.bias = View<const float, Host, 9>(b.values.data());
    Pair::Params<Stored<cuda::Space>> there;
    cuda::UploadedWeights memory;
    memory.upload<Pair>(dev, there, host);
    const cuda::UploadedWeights moved = std::move(memory);
    OnDevice X(dev, x), Y(dev, y);
    linear(dev, Y.matrix(), X.matrix(), there.weight, there.bias, None{});
    linear(ref, yd.matrix(), xd.matrix(), host.weight, bd.vector(), None{});
    CHECK(error(Y.get(), yd, y) < linear_tolerance(22));
    CHECK(there.absent.data == nullptr);
  }
  Pair::Params<Stored<Host>> host;
  Pair::Params<Stored<cuda::Space>> there;
  host.weight.data = reinterpret_cast<const std::byte*>(w.values.data());
  host.weight.format = Format::kNf4;
  cuda::UploadedWeights memory;
  CHECK(test::kind_of([&] { memory.upload<Pair>(dev, there, host); }) == ErrorKind::kArgument);
}

TEST_CASE("NaN in a block stays in its outputs; what pads a row is not read as a weight") {
  cuda::Device dev(test::kSmallDevice);
  const Index n = 3, k = 40;
  Random<float> x(5, k, 1), w(n, k, 2), y(5, n, 3);
  w.matrix()(1, 35) = std::numeric_limits<float>::infinity();  // poisons the last, padded block of its row
  for (Format f : {Format::kQ8, Format::kQ4, Format::kQ4Offset})
    for (Index m : {1, 5}) {
      const StoredOnDevice W(dev, f, w);
      OnDevice X(dev, x), Y(dev, y);
      linear(dev, rows(Y.matrix(), 0, m), rows(X.matrix(), 0, m), W.matrix(), None{}, None{});
      const auto now = Y.get().values;
      for (Index r = 0; r < m; ++r) {
        CHECK(std::isfinite(now[std::size_t(r * n)]));
        CHECK(std::isnan(now[std::size_t(r * n + 1)]));
        CHECK(std::isfinite(now[std::size_t(r * n + 2)]));
      }
    }
}

TEST_CASE("linear: bf16 views with strided rows") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const Index n = 7, k = 24;
  for (Index gap : {0, 3, 8})
    for (Index m : {2, 9}) {
      CAPTURE(gap);
      CAPTURE(m);
      Random<float> x(m, k, 1), w(n, k, 2, gap), y(m, n, 3);
      std::vector<bf16> bits;
      auto wd = w.as<double>(), xd = x.as<double>(), yd = y.as<double>();
      for (std::size_t i = 0; i < w.values.size(); ++i) {
        bits.push_back(to_bf16(w.values[i]));
        wd.values[i] = double(to_float(bits.back()));
      }
      const ArrayOnDevice<bf16> memory(dev, bits);
      View<const bf16, cuda::Space, kDyn, kDyn> W(memory.first(), n, k);
      W.stride = k + gap;
      OnDevice X(dev, x), Y(dev, y);
      linear(dev, Y.matrix(), X.matrix(), W, None{}, None{});
      linear(ref, yd.matrix(), xd.matrix(), wd.matrix(), None{}, None{});
      CHECK(error(Y.get(), yd, y) < linear_tolerance(k));
    }
}

// Rows found by index, patches and copies of the CUDA device against the reference device. The same file runs in the
// emulator and on a GPU. Numbers are moved, not computed: no tolerance, but where a sum is one rounding.
#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::array;
using test::ArrayOnDevice;
using test::error;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;
using test::StoredOnDevice;

TEST_CASE("embed and add_rows: every format, odd widths, strides, misaligned matrices, negative ids") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const std::vector<int> skipping{6, -1, 0, 3, 6, -7}, all{6, 1, 0, 3, 6, 5};
  const ArrayOnDevice<int> ids(dev, skipping), positions(dev, all);
  for (Format f : kFormats)
    for (Index n : {1, 5, 32, 40, 71, 96, 256, 1100})
      for (Index shift : {0, 4}) {  // bytes
        CAPTURE(format_name(f));
        CAPTURE(n);
        CAPTURE(shift);
        Random<float> w(7, n, 1), y(6, n, 2, shift);
        auto yd = y.as<double>();
        const StoredOnDevice W(dev, f, w, shift);
        OnDevice Y(dev, y);
        embed(dev, Y.matrix(), ids.view(), W.matrix());
        embed(ref, yd.matrix(), array(skipping), W.host());
        CHECK(error(Y.get(), yd, y) == 0);  // ref's numbers are fp32 here as well
        add_rows(dev, Y.matrix(), positions.view(), W.matrix());
        add_rows(ref, yd.matrix(), array(all), W.host());
        CHECK(error(Y.get(), yd, y) < 2 * kEps);
      }
}

TEST_CASE("embed, add_rows, gather_rows: from views with strided rows") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const std::vector<int> index{2, -1, 4, 0};
  const ArrayOnDevice<int> ids(dev, index);
  for (Index n : {3, 12, 516})
    for (Index gap : {0, 1, 4}) {
      CAPTURE(n);
      CAPTURE(gap);
      Random<float> x(5, n, 1, gap), y(4, n, 2, 4 - gap);
      auto xd = x.as<double>(), yd = y.as<double>();
      OnDevice X(dev, x), Y(dev, y), E(dev, y);
      gather_rows(dev, Y.matrix(), X.matrix(), ids.view());
      embed(dev, E.matrix(), ids.view(), X.matrix());
      gather_rows(ref, yd.matrix(), xd.matrix(), array(index));
      CHECK(error(Y.get(), yd, y) == 0);
      CHECK(error(E.get(), yd, y) == 0);
      const ArrayOnDevice<int> rows(dev, {0, 4, 4, 1});
      add_rows(dev, Y.matrix(), rows.view(), X.matrix());
      add_rows(ref, yd.matrix(), array<int>({0, 4, 4, 1}), xd.matrix());
      CHECK(error(Y.get(), yd, y) < 2 * kEps);
    }
}

TEST_CASE("ids and indices out of range are reported, their rows stay, nothing gives nothing") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> x(5, 8, 1), y(2, 8, 2);
  OnDevice X(dev, x);
  const auto check = [&](int bad, auto&& op) {
    OnDevice Y(dev, y);
    const ArrayOnDevice<int> ids(dev, {bad, 4});
    op(Y.matrix(), ids.view());
    CHECK(kind_of([&] { dev.synchronize(); }) == ErrorKind::kShape);
    const auto now = Y.get().values;
    CHECK(std::equal(now.begin(), now.begin() + 8, y.values.begin()));
    CHECK_FALSE(std::equal(now.begin() + 8, now.begin() + 16, y.values.begin() + 8));
  };
  for (int bad : {5, 1 << 30}) {
    check(bad, [&](auto to, auto ids) { embed(dev, to, ids, X.matrix()); });
    check(bad, [&](auto to, auto ids) { gather_rows(dev, to, X.matrix(), ids); });
  }
  for (int bad : {-1, 5}) check(bad, [&](auto to, auto ids) { add_rows(dev, to, ids, X.matrix()); });
  OnDevice none(dev, Random<float>(0, 8, 1));
  const ArrayOnDevice<int> ids(dev, {});
  embed(dev, none.matrix(), ids.view(), X.matrix());
  add_rows(dev, none.matrix(), ids.view(), X.matrix());
  gather_rows(dev, none.matrix(), X.matrix(), ids.view());
  dev.synchronize();
}

TEST_CASE("matrices that kernels cannot read are refused") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> x(4, 32, 1), y(1, 32, 2);
  OnDevice Y(dev, y);
  const ArrayOnDevice<int> ids(dev, {1});
  for (Format f : kFormats) {
    if (f == Format::kNf4) continue;  // bytes: nothing to align
    const StoredOnDevice odd(dev, f, x, 1);
    CHECK(kind_of([&] { embed(dev, Y.matrix(), ids.view(), odd.matrix()); }) == ErrorKind::kArgument);
  }
  const StoredOnDevice nf4(dev, Format::kNf4, x);
  auto without = nf4.matrix();
  without.nf4 = nullptr;
  CHECK(kind_of([&] { embed(dev, Y.matrix(), ids.view(), without); }) == ErrorKind::kArgument);
}

TEST_CASE("im2col: patches in whole quads and not, a side that leaves a rest, strided rows") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (auto [side, patch] : {std::array<int, 2>{14, 7}, {16, 4}, {28, 14}, {10, 4}, {24, 8}, {3, 1}})
    for (Index gap : {0, 4})
      for (Index frames : {0, 1, 3}) {
        CAPTURE(side);
        CAPTURE(patch);
        const Index n = side / patch;
        Random<float> pixels(frames, 3 * side * side, 1, gap), cols(frames * (1 + n * n), 3 * patch * patch, 2, gap);
        auto pd = pixels.as<double>(), cd = cols.as<double>();
        OnDevice P(dev, pixels), C(dev, cols);
        im2col(dev, C.matrix(), P.matrix(), side, patch);
        im2col(ref, cd.matrix(), pd.matrix(), side, patch);
        CHECK(error(C.get(), cd, cols) == 0);
      }
}

TEST_CASE("copy: strides, other ranks, onto itself, nothing") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Index gap : {0, 3}) {
    Random<float> from(5, 12, 1, gap), to(5, 12, 2, 3 - gap);
    auto fd = from.as<double>(), td = to.as<double>();
    OnDevice F(dev, from), T(dev, to);
    copy(dev, T.heads(3), F.matrix());
    copy(ref, td.matrix(), fd.matrix());
    CHECK(error(T.get(), td, to) == 0);
    copy(dev, F.matrix(), F.matrix());
    CHECK(F.get().values == from.values);
  }
  OnDevice none(dev, Random<float>(0, 8, 1)), other(dev, Random<float>(0, 8, 1));
  copy(dev, none.matrix(), other.matrix());
  dev.synchronize();
}

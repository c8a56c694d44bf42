// The ops of convolutional nets on the CPU device, at every instruction set, against the reference device in double:
// odd sizes, strides, borders on every side, several pictures.
#include <doctest/doctest.h>

#include "facellava/cpu/device.hpp"
#include "facellava/ref/device.hpp"
#include "support/random.hpp"

using namespace facellava;
using test::Random;
using test::relative_to_max;

namespace {

struct WindowCase {
  int images, height, width, in, out;
  Window window;
};
// taps, stride and what lies above and left; the output is as large as "same" or "valid" padding makes it
const WindowCase kWindowCases[] = {
    {1, 7, 5, 3, 24, {1, 5, 5, 2, 2, 1, 1}}, {2, 6, 9, 8, 16, {2, 1, 1, 1, 1, 0, 0}},
    {1, 8, 8, 17, 5, {1, 3, 3, 1, 1, 1, 1}}, {3, 5, 4, 33, 70, {3, 2, 2, 2, 2, 0, 0}},
    {1, 1, 1, 4, 1, {1, 3, 3, 1, 1, 1, 1}},  {2, 9, 7, 1, 40, {2, 3, 2, 2, 1, 1, 0}},
};

Index outputs(int size, int taps, int stride, int before) {
  return before > 0 ? (size + stride - 1) / stride : (size - taps) / stride + 1;
}

using Picture = View<float, Host, kDyn, kDyn, kDyn>;
using Exact = View<double, Host, kDyn, kDyn, kDyn>;

template <class F>
void each_case(F f) {
  ref::Device ref;
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    cpu::Device dev({.threads = 2, .isa = isa});
    for (const WindowCase& c : kWindowCases) {
      CAPTURE(c.height);
      CAPTURE(c.in);
      const Index high = outputs(c.height, c.window.height, c.window.stride_y, c.window.top);
      const Index wide = outputs(c.width, c.window.width, c.window.stride_x, c.window.left);
      f(dev, ref, c, high, wide);
    }
  }
}

// Of y against yd, both [n, high, wide, channels].
double picture_error(const Random<float>& y, const Random<double>& yd) {
  return relative_to_max(y.values, yd.values, Index(y.values.size()) - 1);
}

}  // namespace

TEST_CASE("conv") {
  each_case([](cpu::Device& dev, ref::Device& ref, const WindowCase& c, Index high, Index wide) {
    const Index taps = c.window.height * c.window.width;
    Random<float> x(c.images * c.height * c.width, c.in, 1), w(taps * c.in, c.out, 2), bias(1, c.out, 3);
    Random<float> y(c.images * high * wide, c.out, 4);
    auto xd = x.as<double>(), wd = w.as<double>(), biasd = bias.as<double>(), yd = y.as<double>();
    Random<float> slope(1, c.out, 5);
    auto slopes = slope.as<double>();
    const Picture from(x.values.data(), Index(c.images * c.height), Index(c.width), Index(c.in));
    const Picture to(y.values.data(), c.images * high, wide, Index(c.out));
    const Exact exact_from(xd.values.data(), Index(c.images * c.height), Index(c.width), Index(c.in));
    const Exact exact_to(yd.values.data(), c.images * high, wide, Index(c.out));
    conv(dev, to, from, w.matrix(), bias.vector(), None{}, None{}, c.window);
    conv(ref, exact_to, exact_from, wd.matrix(), biasd.vector(), None{}, None{}, c.window);
    CHECK(picture_error(y, yd) < 1e-6);  // sums of at most 132 terms
    Random<float> residual(c.images * high * wide, c.out, 6);
    auto residuals = residual.as<double>();
    const Picture more(residual.values.data(), c.images * high, wide, Index(c.out));
    const Exact exact_more(residuals.values.data(), c.images * high, wide, Index(c.out));
    conv(dev, to, from, w.matrix(), bias.vector(), more, slope.vector(), c.window);
    conv(ref, exact_to, exact_from, wd.matrix(), biasd.vector(), exact_more, slopes.vector(), c.window);
    CHECK(picture_error(y, yd) < 1e-6);  // sums of at most 132 terms
    conv(dev, more, from, w.matrix(), bias.vector(), more, slope.vector(), c.window);
    for (Index i = 0; i < to.count(); ++i) CHECK(residual.values[std::size_t(i)] == y.values[std::size_t(i)]);
  });
}

TEST_CASE("depthwise_conv and pools") {
  each_case([](cpu::Device& dev, ref::Device& ref, const WindowCase& c, Index high, Index wide) {
    const Index taps = c.window.height * c.window.width;
    Random<float> x(c.images * c.height * c.width, c.in, 1), w(taps, c.in, 2), bias(1, c.in, 3);
    Random<float> y(c.images * high * wide, c.in, 4);
    auto xd = x.as<double>(), wd = w.as<double>(), biasd = bias.as<double>(), yd = y.as<double>();
    const Picture from(x.values.data(), Index(c.images * c.height), Index(c.width), Index(c.in));
    const Picture to(y.values.data(), c.images * high, wide, Index(c.in));
    const Exact exact_from(xd.values.data(), Index(c.images * c.height), Index(c.width), Index(c.in));
    const Exact exact_to(yd.values.data(), c.images * high, wide, Index(c.in));
    depthwise_conv(dev, to, from, w.matrix(), bias.vector(), c.window);
    depthwise_conv(ref, exact_to, exact_from, wd.matrix(), biasd.vector(), c.window);
    CHECK(picture_error(y, yd) < 1e-6);
    max_pool(dev, to, from, c.window);
    max_pool(ref, exact_to, exact_from, c.window);
    CHECK(picture_error(y, yd) == 0);
    average_pool(dev, to, from, c.window);
    average_pool(ref, exact_to, exact_from, c.window);
    CHECK(picture_error(y, yd) < 1e-6);
  });
}

TEST_CASE("resize_bilinear: larger, smaller, the same; a constant stays one") {
  ref::Device ref;
  const int sizes[][4] = {{3, 5, 6, 10}, {6, 4, 4, 3}, {5, 7, 5, 7}, {1, 1, 4, 3}, {2, 9, 7, 1}};  // high, wide, to
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    cpu::Device dev({.threads = 2, .isa = isa});
    for (const auto& s : sizes) {
      const Index images = 2, channels = 19;
      Random<float> x(images * s[0] * s[1], channels, 1), y(images * s[2] * s[3], channels, 2);
      auto xd = x.as<double>(), yd = y.as<double>();
      const Picture from(x.values.data(), images * s[0], Index(s[1]), channels);
      const Picture to(y.values.data(), images * s[2], Index(s[3]), channels);
      resize_bilinear(dev, to, from, int(images));
      resize_bilinear(ref, Exact(yd.values.data(), images * s[2], Index(s[3]), channels),
                      Exact(xd.values.data(), images * s[0], Index(s[1]), channels), int(images));
      CHECK(picture_error(y, yd) < 1e-6);  // sums of four
      std::fill(x.values.begin(), x.values.end(), 0.75f);
      resize_bilinear(dev, to, from, int(images));
      for (Index i = 0; i < to.count(); ++i) CHECK(y.values[std::size_t(i)] == doctest::Approx(0.75).epsilon(1e-6));
    }
  }
}

TEST_CASE("add and prelu, in place too") {
  ref::Device ref;
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    cpu::Device dev({.threads = 2, .isa = isa});
    for (Index n : {1, 7, 16, 33}) {
      Random<float> x(9, n, 1), slope(1, n, 2), y(9, n, 3);
      auto xd = x.as<double>(), slopes = slope.as<double>(), yd = y.as<double>();
      prelu(ref, yd.matrix(), xd.matrix(), slopes.vector());
      prelu(dev, y.matrix(), x.matrix(), slope.vector());
      CHECK(picture_error(y, yd) < 1e-7);
      Random<float> b(9, n, 4), sum(9, n, 5);
      auto bd = b.as<double>(), exact_sum = sum.as<double>();
      add(ref, exact_sum.matrix(), xd.matrix(), bd.matrix(), slopes.vector());
      add(dev, sum.matrix(), x.matrix(), b.matrix(), slope.vector());
      CHECK(picture_error(sum, exact_sum) < 1e-7);
      add(ref, exact_sum.matrix(), xd.matrix(), bd.matrix(), None{});
      add(dev, b.matrix(), x.matrix(), b.matrix(), None{});
      CHECK(picture_error(b, exact_sum) < 1e-7);
      prelu(dev, x.matrix(), x.matrix(), slope.vector());
      CHECK(x.values[std::size_t(9 * n - 1)] == y.values[std::size_t(9 * n - 1)]);
    }
  }
}

TEST_CASE("sizes that do not fit are errors") {
  cpu::Device dev({.threads = 1});
  Random<float> x(16, 3, 1), w(9 * 3, 4, 2), bias(1, 4, 3), y(16, 4, 4);
  const Picture from(x.values.data(), Index(4), Index(4), Index(3)), to(y.values.data(), Index(4), Index(4), Index(4));
  CHECK_THROWS_AS(conv(dev, to, from, w.matrix(), bias.vector(), None{}, None{}, Window{1, 2, 3, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS(conv(dev, to, from, w.matrix(), bias.vector(), None{}, None{}, Window{3, 3, 3, 1, 1, 1, 1}), Error);
  CHECK_THROWS_AS(conv(dev, to, from, w.matrix(), bias.vector(), None{}, None{}, Window{1, 3, 3, 0, 1, 1, 1}), Error);
  // windows that lie outside as a whole
  Random<float> point(3, 4, 5);
  CHECK_THROWS_AS(conv(dev, to, from, point.matrix(), bias.vector(), None{}, None{}, Window{1, 1, 1, 1, 1, 1, 0}),
                  Error);
  CHECK_THROWS_AS(conv(dev, to, from, point.matrix(), bias.vector(), None{}, None{}, Window{1, 1, 1, 2, 1, 0, 0}),
                  Error);
  CHECK_THROWS_AS(conv(dev, to, from, point.matrix(), bias.vector(), None{}, None{}, Window{1, 1, 1, 1, 2, 0, 0}),
                  Error);
  const Picture three(y.values.data(), Index(4), Index(4), Index(3));
  CHECK_THROWS_AS(max_pool(dev, three, from, Window{1, 2, 2, 3, 1, 0, 0}), Error);
  CHECK_THROWS_AS(max_pool(dev, three, from, Window{1, 2, 2, 1, 1, 0, 2}), Error);
  CHECK_NOTHROW(conv(dev, to, from, w.matrix(), bias.vector(), None{}, None{}, Window{1, 3, 3, 1, 1, 1, 1}));
}

// What one level is, a few thousandths of the colours may miss by: where a sum lies half way between two, the order of
// roundings decides.
TEST_CASE("colours of a grid over a picture") {
  constexpr int kWidth = 37, kHeight = 23;
  for (const int bytes : {1, 3, 4})
    for (const bool turned : {false, true}) {
      std::vector<std::uint8_t> pixels(std::size_t(kWidth * kHeight * bytes));  // sanitizers see a byte beyond
      for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = std::uint8_t(i * i * 37 >> 5);
      const std::ptrdiff_t row = kWidth * bytes;
      ColourGrid grid{.data = turned ? pixels.data() + (kHeight - 1) * row : pixels.data(),  // also from the bottom up
                      .width = kWidth,
                      .height = kHeight,
                      .stride = turned ? -row : row,
                      .bytes = bytes,
                      .channel = {bytes == 1 ? 0 : 2, bytes == 1 ? 0 : 1, 0},
                      .x = -4.3f,
                      .y = -2.6f,
                      .across_x = 0.83f,
                      .across_y = turned ? 0.21f : 0.f,
                      .down_x = turned ? -0.33f : 0.f,
                      .down_y = 0.71f,
                      .mean = {1, 2, 3},
                      .range = 2};
      Random<double> want(41, 57 * 3, 1);
      ref::Device ref;
      sample_colours(ref, Exact(want.values.data(), 41, 57, 3), grid);
      for (cpu::Isa isa : cpu::kIsas) {
        if (isa > cpu::best_isa()) continue;
        CAPTURE(cpu::isa_name(isa));
        cpu::Device dev({.threads = 2, .isa = isa});
        Random<float> found(41, 57 * 3, 2);
        sample_colours(dev, Picture(found.values.data(), 41, 57, 3), grid);
        int off = 0;
        for (std::size_t i = 0; i < 41 * 57 * 3; ++i) {
          const double d = std::abs(double(found.values[i]) - want.values[i]);
          CHECK(d <= 0.5);
          off += d > 1e-6;
        }
        CHECK(off <= 41 * 57 * 3 / 200);
      }
      grid.x = std::numeric_limits<float>::quiet_NaN();
      cpu::Device dev({.threads = 1});
      Random<float> found(1, 16 * 3, 3);
      sample_colours(dev, Picture(found.values.data(), 1, 16, 3), grid);
      for (std::size_t i = 0; i < 16 * 3; ++i) CHECK(found.values[i] == (0 - grid.mean[i % 3]) / 2);
    }
}

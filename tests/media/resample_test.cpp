#include "facellava/media/resample.hpp"

#include <doctest/doctest.h>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;

namespace {

// The definition, in double and without any economy.
double direct(const Image& image, const Taps& rows, const Taps& columns, int i, int j, int c) {
  double sum = 0;
  for (int a = 0; a < rows.width; ++a)
    for (int b = 0; b < columns.width; ++b) {
      const auto y = rows.first[std::size_t(i)] + a, x = columns.first[std::size_t(j)] + b;
      if (y < image.height() && x < image.width())
        sum += double(rows.of(i)[a]) * double(columns.of(j)[b]) * image.pixel(int(x), int(y))[c];
    }
  return sum;
}

}  // namespace

TEST_CASE("taps sum to 1, stay inside, and never go back") {
  for (const int in : {1, 2, 3, 10, 223, 224, 225, 1000})
    for (const int out : {1, 2, 7, 224, 500})
      for (const bool cubic : {false, true}) {
        const Taps t = cubic ? bicubic_taps(in, out, 0, out) : bilinear_taps(in, out, 0, out);
        CHECK(t.width % Taps::kBlock == 0);
        for (int i = 0; i < out; ++i) {
          double sum = 0;
          for (int j = 0; j < t.width; ++j) {
            sum += t.of(i)[j];
            if (t.first[std::size_t(i)] + j >= in) CHECK(t.of(i)[j] == 0);
          }
          CHECK(sum == doctest::Approx(1).epsilon(1e-6));  // one rounding of each weight to fp32
          CHECK(t.first[std::size_t(i)] >= 0);
          if (i > 0) CHECK(t.first[std::size_t(i)] >= t.first[std::size_t(i - 1)]);
        }
      }
}

TEST_CASE("the same size is the identity") {
  const Image image = test::noise(9, 6, 2);
  std::vector<float> out(3 * 6 * 9);
  const float level = 1 / 255.f;
  for (const bool cubic : {false, true}) {
    resample(out.data(), image.view(), {.width = 9, .height = 6},
             cubic ? bicubic_taps(6, 6, 0, 6) : bilinear_taps(6, 6, 0, 6),
             cubic ? bicubic_taps(9, 9, 0, 9) : bilinear_taps(9, 9, 0, 9), {}, {level, level, level});
    for (int i = 0; i < 6 * 9; ++i)
      for (int c = 0; c < 3; ++c)
        CHECK(out[std::size_t(c * 54 + i)] == doctest::Approx(image.row(0)[3 * i + c]).epsilon(1e-6));
  }
}

TEST_CASE("a part of the outputs equals the definition") {
  for (const auto& [w, h, ow, oh] : {std::array{31, 17, 11, 29}, {5, 90, 40, 7}, {64, 64, 9, 9}}) {
    const Image image = test::noise(w, h, unsigned(w));
    const int x0 = ow / 3, y0 = oh / 4, nx = ow - x0 - 1, ny = oh - y0 - 1;
    const Taps rows = bicubic_taps(h, oh, y0, ny), columns = bicubic_taps(w, ow, x0, nx);
    std::vector<float> out(std::size_t(3 * nx * ny));
    resample(out.data(), image.view(), {.width = w, .height = h}, rows, columns, {0.5f, 0.5f, 0.5f}, {2, 2, 2});
    for (int c = 0; c < 3; ++c)
      for (int i = 0; i < ny; ++i)
        for (int j = 0; j < nx; ++j) {
          const double expected = (direct(image, rows, columns, i, j, c) / 255 - 0.5) / 2;
          // Up to 64 x 64 / 81 x 16 products of magnitude 1, each rounded to 2^-24.
          CHECK(std::abs(out[std::size_t((c * ny + i) * nx + j)] - expected) < 2e-6);
        }
  }
}

TEST_CASE("a picture at its own size is itself, whatever its format and stride; a plain one is plain at any size") {
  const Image image = test::noise(37, 23, 5);
  std::vector<std::uint8_t> blue_first(std::size_t(128 * 23));
  for (int y = 0; y < 23; ++y)
    for (int x = 0; x < 37; ++x)
      for (int k = 0; k < 3; ++k) blue_first[std::size_t(128 * y + 3 * x + 2 - k)] = image.pixel(x, y)[k];
  CHECK(test::same_pixels(resized({blue_first.data(), 37, 23, 128, PixelFormat::kBgr}, 37, 23), image));
  Image plain(7, 5);
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 7; ++x) std::copy_n(std::array<std::uint8_t, 3>{9, 130, 255}.data(), 3, plain.pixel(x, y));
  for (const auto& [w, h] : {std::pair(1, 1), {3, 41}, {64, 2}}) {
    const Image other = resized(plain.view(), w, h);
    CHECK(other.width() == w);
    CHECK(other.height() == h);
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x) CHECK(std::equal(other.pixel(x, y), other.pixel(x, y) + 3, plain.pixel(0, 0)));
  }
  CHECK_THROWS_AS(resized(plain.view(), 0, 3), Error);
}

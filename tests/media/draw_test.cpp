#include "facellava/media/draw.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;

namespace {
constexpr Colour kWhite{255, 255, 255};
int lit(const Image& image) {
  int n = 0;
  for (int y = 0; y < image.height(); ++y)
    for (int x = 0; x < image.width(); ++x) n += image.pixel(x, y)[0] > 0;
  return n;
}
}  // namespace

TEST_CASE("rectangles: filled, blended, outlined, cut off") {
  Image image(10, 8);
  fill_rectangle(image, 2, 3, 5, 5, {200, 100, 50}, 0.5f);
  CHECK(lit(image) == 6);
  CHECK(image.pixel(2, 3)[0] == 100);
  CHECK(image.pixel(4, 4)[1] == 50);
  Image frame(10, 8);
  draw_rectangle(frame, 1, 1, 9, 7, kWhite, 2, 0.5f);
  CHECK(lit(frame) == 8 * 6 - 4 * 2);
  CHECK(frame.pixel(1, 1)[0] == frame.pixel(1, 4)[0]);  // corners are blended once
  CHECK(frame.pixel(4, 4)[0] == 0);
  Image all(10, 8);
  draw_rectangle(all, std::numeric_limits<int>::min(), -5, std::numeric_limits<int>::max(), 100, kWhite, 200);
  CHECK(lit(all) == 80);
  draw_rectangle(frame, 5, 5, 5, 5, kWhite);
  fill_rectangle(frame, 7, 7, 3, 3, kWhite);
  CHECK(lit(frame) == 8 * 6 - 4 * 2);
}

TEST_CASE("discs and lines cover about their area") {
  Image disc(41, 41);
  fill_disc(disc, 20, 20, 10, kWhite);
  double area = 0;
  for (int i = 0; i < 41 * 41; ++i) area += disc.row(0)[3 * i] / 255.0;
  CHECK(area == doctest::Approx(314.16).epsilon(0.01));  // the smooth edge is exact up to its curvature
  CHECK(disc.pixel(20, 20)[0] == 255);
  CHECK(disc.pixel(20, 32)[0] == 0);
  Image line(41, 41);
  draw_line(line, 5, 5, 35, 5, kWhite, 3);
  CHECK(line.pixel(20, 4)[0] == 255);
  CHECK(line.pixel(20, 6)[0] == 255);
  CHECK(line.pixel(20, 8)[0] == 0);
}

TEST_CASE("coordinates outside and coordinates that are no numbers draw nothing and read nothing") {
  Image image(5, 5);
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  fill_disc(image, nan, 2, 3, kWhite);
  fill_disc(image, 2, inf, 3, kWhite);
  fill_disc(image, -50, -50, 3, kWhite);
  fill_disc(image, 1e30f, 1e30f, 3, kWhite);
  draw_line(image, 2, 2, 3, 3, kWhite, nan);
  draw_line(image, 2, 2, 3, 3, kWhite, 1, nan);
  draw_text(image, 100, 100, "abc", kWhite);
  draw_text(image, std::numeric_limits<int>::max(), std::numeric_limits<int>::min(), "abc", kWhite, 3);
  CHECK(lit(image) == 0);
}

TEST_CASE("text: width, scale, characters that the font does not know") {
  CHECK(text_width("") == 0);
  CHECK(text_width("lips", 3) == 3 * text_width("lips"));
  CHECK(text_width("\xc3\xa9\n") == text_width("???"));
  Image once(60, 12), twice(120, 24);
  draw_text(once, 1, 1, "teeth", kWhite);
  draw_text(twice, 2, 2, "teeth", kWhite, 2);
  CHECK(lit(once) > 20);
  CHECK(lit(twice) == 4 * lit(once));
  std::string every;
  for (int c = 0; c < 256; ++c) every += char(c);
  CHECK_NOTHROW(draw_text(once, 0, 0, every, kWhite));
}

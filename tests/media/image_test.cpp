#include "facellava/media/image.hpp"

#include <doctest/doctest.h>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;

TEST_CASE("to_rgb reads every format, with strides up and down") {
  const std::uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
  const Image bgr = to_rgb({bytes, 2, 2, 7, PixelFormat::kBgr});
  CHECK(bgr.pixel(0, 0)[0] == 3);
  CHECK(bgr.pixel(1, 0)[2] == 4);
  CHECK(bgr.pixel(0, 1)[0] == 10);
  const Image rgba = to_rgb({bytes, 2, 2, 8, PixelFormat::kRgba});
  CHECK(rgba.pixel(1, 0)[0] == 5);
  CHECK(rgba.pixel(1, 1)[2] == 15);
  const Image bgra = to_rgb({bytes, 2, 2, 8, PixelFormat::kBgra});
  CHECK(bgra.pixel(1, 1)[0] == 15);
  const Image gray = to_rgb({bytes, 3, 2, 5, PixelFormat::kGray});
  CHECK(gray.pixel(2, 1)[0] == 8);
  CHECK(gray.pixel(2, 1)[2] == 8);
  const Image up = to_rgb({bytes + 6, 2, 2, -6, PixelFormat::kRgb});
  CHECK(up.pixel(0, 0)[0] == 7);
  CHECK(up.pixel(1, 1)[2] == 6);
}

TEST_CASE("pictures without pixels or with rows that overlap are refused") {
  const std::uint8_t byte = 0;
  CHECK_THROWS_AS(to_rgb({nullptr, 1, 1, 3, PixelFormat::kRgb}), Error);
  CHECK_THROWS_AS(to_rgb({&byte, 0, 1, 3, PixelFormat::kRgb}), Error);
  CHECK_THROWS_AS(to_rgb({&byte, 1, -1, 3, PixelFormat::kRgb}), Error);
  CHECK_THROWS_AS(to_rgb({&byte, 2, 2, 5, PixelFormat::kRgb}), Error);
  CHECK_NOTHROW(to_rgb({&byte, 1, 1, 0, PixelFormat::kGray}));
  CHECK_THROWS_AS(Image(0, 5), Error);
  CHECK_THROWS_AS(Image(-1, 5), Error);
}

#include "facellava/media/turbojpeg.hpp"

#include <doctest/doctest.h>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::golden;

namespace {

constexpr DecodeOptions kTurbo{.jpeg = decode_turbojpeg};

}  // namespace

TEST_CASE("pixels are PIL's, which has the same library") {
  const std::string photo = std::string(FACELLAVA_TEST_DATA) + "/assets/obama_small.jpg";
  const Image ours = read_image(photo, kTurbo);
  const Image pil = read_image(golden("preprocess/inputs/obama_small_decoded.png"));
  REQUIRE(ours.width() == pil.width());
  REQUIRE(ours.height() == pil.height());
  int worst = 0, differ = 0;
  for (int y = 0; y < pil.height(); ++y)
    for (int x = 0; x < 3 * pil.width(); ++x) {
      const int d = std::abs(int(ours.row(y)[x]) - int(pil.row(y)[x]));
      worst = std::max(worst, d);
      differ += d > 0;
    }
  // Another build of libjpeg-turbo may round the colours of a few pixels otherwise.
  CHECK(worst <= 1);
  CHECK(differ < 3 * pil.width() * pil.height() / 100);
}

TEST_CASE("EXIF's orientation, limits and other formats are as with the built-in decoder") {
  const std::string path = golden("preprocess/inputs/exif6_160x110.jpg");
  CHECK(read_image(path, kTurbo).width() == 160);
  CHECK(read_image(path, {.orientation = Orientation::kExif, .jpeg = decode_turbojpeg}).width() == 110);
  CHECK_THROWS_AS(read_image(path, {.limits = {.max_pixels = 1000}, .jpeg = decode_turbojpeg}), Error);
  CHECK(read_image(golden("preprocess/inputs/face_a_256.png"), kTurbo).width() == 256);
}

TEST_CASE("a file cut off anywhere, or with a byte changed, is an Error or a picture of its size") {
  const auto whole = test::file_bytes(golden("preprocess/inputs/exif6_160x110.jpg"));
  for (std::size_t part = 0; part < 50; ++part) {
    const std::span cut(whole.data(), whole.size() * part / 50);
    CAPTURE(part);
    CHECK_THROWS_AS(decode_image(cut, "cut", kTurbo), Error);
  }
  for (std::size_t i = 0; i < whole.size(); i += 7) {
    auto bytes = whole;
    bytes[i] ^= std::byte(1 << i % 8);
    try {
      const Image image = decode_image(bytes, "changed", kTurbo);
      CHECK(image.width() > 0);
    } catch (const Error&) {
    }
  }
}

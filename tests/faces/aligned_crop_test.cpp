// Aligned crops: eyes and mouth at their places whatever the turn, pixels where the points go.
#include "facellava/faces/aligned_crop.hpp"

#include <doctest/doctest.h>

#include <numbers>
#include <random>

#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"

using namespace facellava;

namespace {

// Eyes and mouth at their places in a square of `side`, then turned; the other points anywhere.
faces::Landmarks posed(const faces::Affine& pose, float side) {
  faces::Landmarks l{};
  for (std::size_t i = 0; i < l.size(); ++i) {
    const std::size_t k = i >= 36 && i < 42 ? 0 : i >= 42 && i < 48 ? 1 : 2;
    const float swing = i >= 36 && i < 60 ? (i % 2 ? 0.02f : -0.02f) : 0.1f;  // the middles stay
    l[i] = pose({(faces::kAlignedPlaces[k].x + swing) * side, (faces::kAlignedPlaces[k].y - swing) * side});
  }
  return l;
}

}  // namespace

TEST_CASE("a face that is turned, scaled and shifted stands as before") {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> share(0, 1);
  for (int turn = 0; turn < 50; ++turn) {
    const float angle = (share(random) - 0.5f) * 6, scale = 0.2f + 3 * share(random);
    const float c = scale * std::cos(angle), s = scale * std::sin(angle);
    const faces::Landmarks l = posed({{c, -s, 300 * share(random), s, c, 300 * share(random)}}, 200);
    const faces::Affine to = faces::alignment(std::span(&l, 1));
    for (const auto& [k, first, count] : {std::tuple(0, 36, 6), std::tuple(1, 42, 6), std::tuple(2, 48, 12)}) {
      const faces::Point p = to(faces::detail::middle(l, std::size_t(first), std::size_t(count)));
      // fp32 sums of coordinates of up to 1000 pixels
      CHECK(std::abs(p.x - 256 * faces::kAlignedPlaces[std::size_t(k)].x) < 2e-3f);
      CHECK(std::abs(p.y - 256 * faces::kAlignedPlaces[std::size_t(k)].y) < 2e-3f);
    }
  }
}

TEST_CASE("pixels go where points go") {
  // Red and green say where in the picture a pixel is: 2 and 3 levels a pixel.
  media::Image picture(100, 80);
  for (int y = 0; y < 80; ++y)
    for (int x = 0; x < 100; ++x) {
      picture.pixel(x, y)[0] = std::uint8_t(2 * x);
      picture.pixel(x, y)[1] = std::uint8_t(3 * y);
    }
  for (const float scale : {0.3f, 1.f, 2.6f})  // of the crop's pixels in the picture: also the mean of many
    for (const float angle : {0.f, 0.7f, -2.f}) {
      const float c = std::cos(angle) / scale, s = std::sin(angle) / scale;
      const faces::Affine to{{c, -s, 8 - c * 50 + s * 40, s, c, 8 - s * 50 - c * 40}};  // (50, 40) to the middle
      const faces::Crop crop = faces::warped_crop(picture.view(), to, 16);
      for (int y = 0; y < 16; ++y)
        for (int x = 0; x < 16; ++x) {
          const std::uint8_t* pixel = crop.image.pixel(x, y);
          const faces::Point back = to({(float(pixel[0]) + 1) / 2, (float(pixel[1]) + 1.5f) / 3});
          // a level is half a pixel of the picture or a third of one; half a level of rounding in each of two steps
          CHECK(std::abs(back.x - (float(x) + 0.5f)) < 0.9f / scale);
          CHECK(std::abs(back.y - (float(y) + 0.5f)) < 0.9f / scale);
        }
    }
}

TEST_CASE("a photograph: the face found again stands at its places, level") {
  const media::Image image = media::read_image(test::photo("astronaut.png"));
  auto& dev = test::device();
  faces::FaceFinder finder(test::kNets);
  const auto found = finder.find(dev, image.view());
  REQUIRE(found.size() == 1);
  const faces::Crop crop = faces::aligned_crop(image.view(), found[0].landmarks);
  const auto again = finder.find(dev, crop.image.view());
  REQUIRE(again.size() == 1);
  const auto& l = again[0].landmarks;
  const faces::Point left = faces::detail::middle(l, 36, 6), right = faces::detail::middle(l, 42, 6);
  CHECK(std::abs(left.y - right.y) < 8);  // pixels of 256: what the net's own points jitter
  CHECK(std::abs(left.x - 256 * faces::kAlignedPlaces[0].x) < 12);
  CHECK(std::abs(right.x - 256 * faces::kAlignedPlaces[1].x) < 12);
}

TEST_CASE("what cannot be aligned is refused") {
  faces::Landmarks l{};
  CHECK_THROWS_AS(faces::alignment(std::span(&l, 1)), Error);
  CHECK_THROWS_AS(faces::alignment({}), Error);
  l = posed({}, 100);
  l[40].x = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(faces::alignment(std::span(&l, 1)), Error);
  media::Image picture(8, 8);
  CHECK_THROWS_AS(faces::warped_crop(picture.view(), {{0, 0, 0, 0, 0, 0}}), Error);
}

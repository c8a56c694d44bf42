// Faces and landmarks of a picture as one call, and the drawing of them.
#include "facellava/faces/face_finder.hpp"

#include <doctest/doctest.h>

#include "facellava/faces/draw_faces.hpp"
#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using test::device;
using test::kNets;
using test::photo;

TEST_CASE("landmarks of a photograph lie where the face is") {
  faces::FaceFinder finder(kNets);
  const media::Image image = media::read_image(photo("astronaut.png"));
  const auto found = finder.find(device(), image.view());
  REQUIRE(found.size() == 1);
  const auto& d = found[0].detection;
  const auto& points = found[0].landmarks;
  const auto centre = [&](int first, int n) {
    faces::Point c;
    for (int i = first; i < first + n; ++i) {
      c.x += points[std::size_t(i)].x / float(n);
      c.y += points[std::size_t(i)].y / float(n);
    }
    return c;
  };
  // the two nets agree on the eyes and the mouth; a keypoint is no exact centre: to a twelfth of the face
  const faces::Point own[] = {centre(36, 6), centre(42, 6), centre(60, 8)};
  const faces::Point theirs[] = {d.keypoints[0], d.keypoints[1], d.keypoints[3]};
  for (int i = 0; i < 3; ++i) CHECK(std::hypot(own[i].x - theirs[i].x, own[i].y - theirs[i].y) < d.box.width / 12);
}

TEST_CASE("faces are found in two halves as in one call") {
  faces::FaceFinder finder(kNets);
  const media::Image image = media::read_image(photo("astronaut.png"));
  const auto whole = finder.find(device(), image.view());
  const auto halves = finder.with_landmarks(device(), image.view(), finder.detect(device(), image.view()));
  REQUIRE(halves.size() == whole.size());
  CHECK(halves[0].detection.score == whole[0].detection.score);
  for (std::size_t i = 0; i < halves[0].landmarks.size(); ++i) {
    CHECK(halves[0].landmarks[i].x == whole[0].landmarks[i].x);
    CHECK(halves[0].landmarks[i].y == whole[0].landmarks[i].y);
  }
}

TEST_CASE("a picture of one pixel, of each format, has no face") {
  faces::FaceFinder finder(kNets);
  for (const std::string ending : {"png", "jpg", "bmp", "ppm"}) {
    CAPTURE(ending);
    const auto image = media::read_image(std::string(FACELLAVA_TEST_DATA) + "/fuzz/corpus/image/one_pixel." + ending);
    CHECK(image.width() == 1);
    CHECK(image.height() == 1);
    CHECK(finder.find(device(), image.view()).empty());
  }
}

TEST_CASE("drawing: points that are no numbers or lie outside are left out, a box that is no number is an error") {
  const media::Image before = test::waves(97, 61);
  media::Image image = before;
  faces::Face face;
  face.detection.box = {200, 100, 40, 40};  // outside
  face.detection.score = std::numeric_limits<float>::quiet_NaN();
  face.landmarks.fill({std::numeric_limits<float>::quiet_NaN(), 20});
  face.landmarks[3] = {-500, 1e30f};
  faces::draw_faces(image, std::span(&face, 1));
  CHECK(test::same_pixels(image, before));
  face.detection.box = {-1e8f, -1e8f, 2e8f, 2e8f};  // its lines are thicker than the image
  CHECK_NOTHROW(faces::draw_faces(image, std::span(&face, 1)));
  face.detection.box = {10, 10, 30, 30};
  face.detection.score = 7;
  CHECK_NOTHROW(faces::draw_faces(image, std::span(&face, 1)));
  CHECK(image.pixel(10, 10)[1] == 220);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e20f}) {
    face.detection.box = {10, bad, 30, 30};
    CHECK(test::error_of([&] { faces::draw_faces(image, std::span(&face, 1)); }).first == ErrorKind::kNonFinite);
  }
}

// The detector against what the released tool's MediaPipe gave on real photographs.
#include "facellava/faces/detector.hpp"

#include <doctest/doctest.h>

#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"

using namespace facellava;
using test::crop_goldens;
using test::detector;
using test::device;
using test::photo;

TEST_CASE("detections equal MediaPipe's on real photographs") {
  // Boxes within a pixel (theirs are cut to whole ones), scores and keypoints within 0.002: JPEG decoders differ.
  int seen = 0;
  const auto golden = crop_goldens();
  for (const auto& entry : golden["images"]) {
    const std::string file = entry["file"];
    CAPTURE(file);
    if (photo(file).empty()) continue;
    ++seen;
    const media::Image image = media::read_image(photo(file));
    const auto found = detector().detect(device(), image.view());
    REQUIRE(found.size() == entry["detections"].size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto& want = entry["detections"][i];
      CHECK(found[i].score == doctest::Approx(want["score"].get<float>()).epsilon(0.002));
      const float box[] = {found[i].box.x, found[i].box.y, found[i].box.width, found[i].box.height};
      for (std::size_t k = 0; k < 4; ++k) CHECK(std::abs(std::floor(box[k]) - want["bbox"][k].get<float>()) <= 1);
      for (std::size_t k = 0; k < faces::kKeypoints; ++k) {
        CHECK(std::abs(found[i].keypoints[k].x / float(image.width()) - want["keypoints"][k][0].get<float>()) < 0.002);
        CHECK(std::abs(found[i].keypoints[k].y / float(image.height()) - want["keypoints"][k][1].get<float>()) < 0.002);
      }
    }
  }
  CHECK(seen >= 2);
}

TEST_CASE("pictures of a batch get the bits that they get alone; a picture without a face has none") {
  const media::Image a = media::read_image(photo("astronaut.png")), b = media::read_image(photo("obama_small.jpg"));
  media::Image grey(300, 200);
  const std::array views{a.view(), grey.view(), b.view()};
  const auto together = detector().detect(device(), views);
  REQUIRE(together.size() == 3);
  CHECK(together[1].empty());
  for (std::size_t i : {0, 2}) {
    const auto alone = detector().detect(device(), views[i]);
    REQUIRE(alone.size() == together[i].size());
    CHECK(alone[0].score == together[i][0].score);
    CHECK(alone[0].box.x == together[i][0].box.x);
  }
  CHECK(detector().detect(device(), std::span<const media::PixelView>{}).empty());
  CHECK_NOTHROW(detector().detect(device(), media::Image(1, 1).view()));
  CHECK_THROWS_AS(detector().detect(device(), media::PixelView{}), Error);
}

TEST_CASE("a net of another kind is an error") {
  CHECK_THROWS_AS(faces::Detector(test::kNets + "face_landmarks_detector.tflite"), Error);
}

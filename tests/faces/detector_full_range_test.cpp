// The full-range detector: its net against LiteRT's numbers, and small faces that only it sees.
#include <doctest/doctest.h>

#include <fstream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"

using namespace facellava;
using test::kNets;

namespace {

// The picture, shrunk by whole steps, in the corner of a grey one.
media::Image shrunk(const media::Image& from, int step, int side) {
  media::Image to(side, side);
  std::fill_n(to.row(0), std::size_t(3) * std::size_t(side) * std::size_t(side), std::uint8_t(110));
  for (int y = 0; y < from.height() / step; ++y)
    for (int x = 0; x < from.width() / step; ++x)
      for (int c = 0; c < 3; ++c) {
        int sum = 0;
        for (int i = 0; i < step * step; ++i) sum += from.row(y * step + i / step)[3 * (x * step + i % step) + c];
        to.pixel(x, y)[c] = std::uint8_t(sum / (step * step));
      }
  return to;
}

}  // namespace

TEST_CASE("the full-range net equals LiteRT's numbers") {
  const faces::ConvNet net(kNets + "face_detector_full_range.tflite");
  std::vector<float> picture;
  for (int i = 0; i < 192; ++i)
    for (int j = 0; j < 192; ++j)
      for (int c = 0; c < 3; ++c) picture.push_back(float((i * 5 + j * 11 + 60 * c) % 256) / 127.5f - 1);
  const auto want =
      nlohmann::json::parse(std::ifstream(std::string(FACELLAVA_TEST_DATA) + "/faces/data/full_range_expected.json"));
  REQUIRE(want.size() == 2);
  cpu::Device dev({.threads = 2});
  faces::ConvNet::Workspace work;
  const auto results = net.run(dev, picture, 1, work);
  for (std::size_t o = 0; o < 2; ++o) {
    REQUIRE(want[o].size() == (results[o].size() + 96) / 97);
    for (std::size_t i = 0; i < want[o].size(); ++i)  // some hundred sums of fp32, each in its own order
      CHECK(results[o][97 * i] == doctest::Approx(want[o][i].get<double>()).epsilon(1e-3).scale(1));
  }
}

TEST_CASE("a small face is found by the full-range detector only") {
  const media::Image astronaut = media::read_image(test::photo("astronaut.png"));
  const media::Image picture = shrunk(astronaut, 3, 400);  // a face of 32 of 400 pixels
  cpu::Device dev({.threads = 2});
  const auto find = [&](faces::DetectionRange range, const media::Image& image) {
    return faces::FaceFinder(kNets, {.range = range}).find(dev, image.view());
  };
  CHECK(find(faces::DetectionRange::kShort, picture).empty());
  const auto found = find(faces::DetectionRange::kBoth, picture);
  REQUIRE(found.size() == 1);
  const auto near = find(faces::DetectionRange::kShort, astronaut);
  REQUIRE(near.size() == 1);
  // The same face, a third as large: its box to a quarter (the nets draw boxes differently), its points to a tenth.
  CHECK(found[0].detection.box.width == doctest::Approx(near[0].detection.box.width / 3).epsilon(0.25));
  for (std::size_t i = 0; i < kPoints; ++i)
    CHECK(std::hypot(found[0].landmarks[i].x - near[0].landmarks[i].x / 3,
                     found[0].landmarks[i].y - near[0].landmarks[i].y / 3) < near[0].detection.box.width / 30);
  // A large face is one face, as the short-range detector sees it.
  const auto both = find(faces::DetectionRange::kBoth, astronaut);
  REQUIRE(both.size() == 1);
  CHECK(both[0].detection.box.x == near[0].detection.box.x);
  CHECK(both[0].detection.score == near[0].detection.score);
}

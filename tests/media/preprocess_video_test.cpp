#include "facellava/media/preprocess_video.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "facellava/io/json.hpp"
#include "facellava/io/safetensors.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::golden;

namespace {

// The official code works in fp32 throughout, and its coordinates too: up to 5e-5 from fp64.
constexpr double kVideoTolerance = 2.5e-4;

// Frame 3 of the goldens that store only a part of it, rows 60 to 187 and columns 100 to 227: compares each of the
// stored outputs [..., ::8, ::8] that depends on that part alone. Returns how many there were.
int compare_patch(const std::string& name, int width, int height) {
  constexpr int kTop = 60, kLeft = 100, kSize = 128;
  const io::Safetensors file(golden("preprocess/" + name + ".safetensors"));
  const auto& patch = file.at("frames_rgb.frame3_patch128");
  Image frame(width, height), other(width, height);
  std::fill_n(other.row(0), other.stride() * height, 255);
  for (Image* image : {&frame, &other})
    for (int y = 0; y < kSize; ++y)
      for (int x = 0; x < kSize * 3; ++x)
        image->pixel(kLeft, kTop + y)[x] = std::to_integer<std::uint8_t>(patch.bytes[std::size_t(y * kSize * 3 + x)]);
  const auto values = preprocess_video_frame(frame.view()), elsewhere = preprocess_video_frame(other.view());
  const auto expected = io::to_floats(file.at("pixel_values.sub8"));
  int compared = 0;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 28; ++y)
      for (int x = 0; x < 28; ++x) {
        const auto at = std::size_t((c * 224 + y * 8) * 224 + x * 8);
        if (values[at] != elsewhere[at]) continue;
        ++compared;
        CHECK(std::abs(values[at] - expected[std::size_t(((c * 8 + 3) * 28 + y) * 28 + x)]) < kVideoTolerance);
      }
  return compared;
}

}  // namespace

TEST_CASE("all frames of a square video equal the official pixel values") {
  const io::Safetensors file(golden("preprocess/video_face_256_24fps.safetensors"));
  const auto& frames = file.at("frames_rgb");
  const auto expected = io::to_floats(file.at("pixel_values"));
  double most = 0;
  for (std::size_t t = 0; t < 8; ++t) {
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(frames.bytes.data()) + t * 256 * 256 * 3;
    const auto values = preprocess_video_frame({pixels, 256, 256, 256 * 3, PixelFormat::kRgb});
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t i = 0; i < 224 * 224; ++i)
        most = std::max(most, double(std::abs(values[c * 224 * 224 + i] - expected[(c * 8 + t) * 224 * 224 + i])));
  }
  CHECK(most < kVideoTolerance);
}

TEST_CASE("wide frames: the crop, from the parts that the goldens hold") {
  CHECK(compare_patch("video_single_face_640x360", 640, 360) > 100);
  CHECK(compare_patch("video_woman_emotions_640x360", 640, 360) > 100);
  CHECK(compare_patch("video_grid_360x288_mpg_QUIRK", 360, 288) > 100);
}

TEST_CASE("frame indices") {
  const auto golden_indices = io::read_json(golden("preprocess/linspace_indices.json"));
  for (const auto& [frames, indices] : golden_indices.items()) {
    CAPTURE(frames);
    CHECK(linspace_indices(std::stoi(frames), 8) == indices.get<std::vector<int>>());
  }
  CHECK(linspace_indices(5, 1) == std::vector<int>{0});
  CHECK(linspace_indices(5, 2) == std::vector<int>{0, 4});
  CHECK_THROWS_AS(linspace_indices(0, 8), Error);
  CHECK_THROWS_AS(linspace_indices(8, 0), Error);
}

TEST_CASE("odd sizes, and padding is refused") {
  for (const auto& [w, h] : {std::pair{1, 1}, {20000, 1}, {1, 20000}, {225, 224}, {97, 331}}) {
    const auto values = preprocess_video_frame(test::noise(w, h, 5).view());
    for (const float v : values) REQUIRE(std::isfinite(v));
  }
  CHECK_THROWS_AS(preprocess_video_frame(test::noise(4, 4, 1).view(), {.padding = Padding::kSquare}), Error);
}

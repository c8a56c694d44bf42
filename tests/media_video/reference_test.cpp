// Against what decord gave the released code.
#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "facellava/io/safetensors.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "media_video/clips.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::golden;
using facellava::test::real_clip;

namespace {

// Other builds of swscale round their sums elsewhere. (With FFmpeg 5.1 all pixels are equal.)
constexpr int kLevels = 2;
// Preprocessing of equal frames, tests/media/preprocess_video_test.cpp; frames that differ by a level differ by as
// much.
double pixel_value_tolerance(int levels) {
  return 2.5e-4 + levels / 255.0 / double(std::min({kClipStd[0], kClipStd[1], kClipStd[2]}));
}

// The largest difference from bytes [height / step, width / step, 3], every step-th pixel of a part of the frame.
int most_apart(const PixelView& v, const std::byte* expected, int left, int top, int width, int height, int step) {
  int most = 0;
  for (int y = 0; y < height; y += step)
    for (int x = 0; x < width; x += step)
      for (int c = 0; c < 3; ++c)
        most = std::max(most, std::abs(v.row(top + y)[(left + x) * 3 + c] - std::to_integer<int>(*expected++)));
  return most;
}

// The eight frames of the released code and what its preprocessing makes of them. frames_rgb is stored whole or in
// part.
void compare(const std::string& path, const std::string& name, int frames) {
  CAPTURE(name);
  const io::Safetensors file(golden("preprocess/" + name + ".safetensors"));
  VideoReader video(path);
  REQUIRE(video.frames() == frames);
  const auto indices = linspace_indices(frames, 8);
  const bool whole = file.tensors().contains("frames_rgb");
  const auto& rgb = file.at(whole ? "frames_rgb" : "frames_rgb.sub8");
  const auto expected = io::to_floats(file.at(whole ? "pixel_values" : "pixel_values.sub8"));
  const int step = whole ? 1 : 8, side = 224 / step;
  int seen = 0, levels = 0;
  double most = 0;
  video.read(indices, [&](std::size_t t, const PixelView& frame) {
    ++seen;
    const std::size_t bytes = rgb.bytes.size() / 8;
    levels = std::max(levels, most_apart(frame, rgb.bytes.data() + t * bytes, 0, 0, frame.width, frame.height, step));
    if (!whole && t == 3)
      levels =
          std::max(levels, most_apart(frame, file.at("frames_rgb.frame3_patch128").bytes.data(), 100, 60, 128, 128, 1));
    const auto values = preprocess_video_frame(frame);
    for (int c = 0; c < 3; ++c)
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
          const float ours = values[std::size_t((c * 224 + y * step) * 224 + x * step)];
          const float theirs =
              expected[((std::size_t(c) * 8 + t) * std::size_t(side) + std::size_t(y)) * std::size_t(side) +
                       std::size_t(x)];
          most = std::max(most, double(std::abs(ours - theirs)));
        }
  });
  CHECK(seen == 8);
  CHECK(levels <= kLevels);
  CHECK(most < pixel_value_tolerance(levels));
}

}  // namespace

TEST_CASE("frames and pixel values equal the released code's") {
  compare(golden("preprocess/inputs/face_256_24fps.mp4"), "video_face_256_24fps", 61);
  compare(real_clip("single_face.mp4"), "video_single_face_640x360", 72);
}

TEST_CASE("an MPEG program stream: the frames that decord returned, under their right numbers") {
  const io::Safetensors file(golden("preprocess/video_grid_360x288_mpg_QUIRK.safetensors"));
  const auto& rgb = file.at("frames_rgb.sub8");
  VideoReader video(real_clip("grid_id2_swwp2s.mpg"));
  REQUIRE(video.frames() == 75);
  // decord gives for 0, 10, 21, 31, 42, 52, 63, 74 (the golden's .json says so):
  const std::vector<int> really{12, 22, 33, 43, 54, 64, 74, 71};
  int levels = 0;
  video.read(really, [&](std::size_t t, const PixelView& frame) {
    levels = std::max(levels, most_apart(frame, rgb.bytes.data() + t * rgb.bytes.size() / 8, 0, 0, 360, 288, 8));
  });
  CHECK(levels <= kLevels);
  CHECK(video.time(74) == doctest::Approx(74 / 25.0));
}

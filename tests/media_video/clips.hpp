// The clips of the tests of video reading. In those of tests/media_video/data every frame shows its own number
// (data/make.sh), so that which frame was read is told by its pixels.
#pragma once
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "facellava/media/video.hpp"
#include "media/pictures.hpp"

namespace facellava::test {

inline std::string clip(const std::string& name) { return FACELLAVA_TEST_DATA "/media_video/data/" + name; }
inline std::string real_clip(const std::string& name) { return FACELLAVA_TEST_DATA "/assets/videos/" + name; }

// The number that a frame shows: bar b of 16 pixels is bright where bit b is set.
inline int shown_number(const media::PixelView& v) {
  int number = 0;
  for (int bit = 0; bit < 8; ++bit)
    if (v.row(v.height / 2)[(16 * bit + 8) * 3] > 125) number |= 1 << bit;
  return number;
}

// The numbers that the given frames show, as read() gives them.
inline std::vector<int> numbers(media::VideoReader& video, const std::vector<int>& indices) {
  std::vector<int> out(indices.size(), -1);
  video.read(indices, [&](std::size_t i, const media::PixelView& frame) { out[i] = shown_number(frame); });
  return out;
}

inline std::vector<media::Image> all_frames(const std::string& path, const media::VideoOptions& options = {}) {
  media::VideoReader video(path, options);
  std::vector<media::Image> out;
  while (const auto frame = video.next()) out.push_back(media::to_rgb(frame->pixels));
  return out;
}

}  // namespace facellava::test

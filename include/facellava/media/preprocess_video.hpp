// Frames of a video to the pixel values of the video tower, as the released code computes them:
//   RGB / 255 → (x − mean) / std → the short side to `side` (bilinear, not antialiased; the long side floored)
//   → the square in the middle (offset rounded half to even)
// Source: LanguageBindVideoProcessor (pytorchvideo ShortSideScale, torchvision CenterCropVideo), decord's frame choice.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "facellava/media/preprocess.hpp"

namespace facellava::media {

// Which `count` of `frames` frames are looked at: evenly spread from the first to the last, rounded down, repeated
// where there are fewer. (numpy: linspace(0, frames − 1, count, dtype=int)) Errors: kArgument (a number below 1).
inline std::vector<int> linspace_indices(int frames, int count) {
  if (frames < 1 || count < 1)
    throw Error(ErrorKind::kArgument, "linspace_indices: expected at least one frame of at least one, found " +
                                          std::to_string(count) + " of " + std::to_string(frames));
  std::vector<int> indices(std::size_t(count), 0);
  const double step = count > 1 ? double(frames - 1) / (count - 1) : 0;
  for (int i = 1; i < count; ++i) indices[std::size_t(i)] = i == count - 1 ? frames - 1 : int(i * step);
  return indices;
}

// out: [3, side, side], overwritten: one frame. Errors: as preprocess_image; kArgument (padding, which videos never
// had).
inline void preprocess_video_frame(float* out, const PixelView& v, const Preprocess& p = {}) {
  check_pixels(v, "preprocess_video_frame");
  detail::check_preprocess(p);
  if (p.padding != Padding::kNone)
    throw Error(ErrorKind::kArgument, "preprocess_video_frame: expected no padding, found padding to a square");
  const auto scaled = [&](int size, int other) {
    return size <= other ? std::int64_t(p.side) : std::int64_t(std::floor(double(size) / other * p.side));
  };
  const std::int64_t width = scaled(v.width, v.height), height = scaled(v.height, v.width);
  resample(out, v, {.width = v.width, .height = v.height},
           bilinear_taps(v.height, height, round_half_even(height - p.side), p.side),
           bilinear_taps(v.width, width, round_half_even(width - p.side), p.side), p.mean, p.std);
}

// [3, side, side]
inline std::vector<float> preprocess_video_frame(const PixelView& v, const Preprocess& p = {}) {
  detail::check_preprocess(p);
  std::vector<float> out(std::size_t(3) * std::size_t(p.side) * std::size_t(p.side));
  preprocess_video_frame(out.data(), v, p);
  return out;
}

}  // namespace facellava::media

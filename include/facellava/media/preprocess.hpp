// Pictures to the pixel values of the image tower, as the released code computes them:
//   RGB / 255 → the short side to `side` (bicubic, antialiased, on floats, not clamped; the long side truncated)
//   → the square in the middle (offset rounded half to even) → (x − mean) / std
// Training first pads to a square with CLIP's mean colour; inference does not.
// Source: LanguageBindImageProcessor (torchvision Resize, CenterCrop, Normalize) and expand2square of the LLaVA family.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "facellava/media/image.hpp"
#include "facellava/media/resample.hpp"

namespace facellava::media {

enum class Padding {
  kNone,    // inference
  kSquare,  // training: the picture in the middle of a square of kPaddingColour
};
inline constexpr std::array<std::uint8_t, 3> kPaddingColour{122, 116, 104};
inline constexpr int kMaxSide = 8192;
inline constexpr int kMaxPaddedSide = 1 << 20;

struct Preprocess {
  int side = 224;
  std::array<float, 3> mean = kClipMean, std = kClipStd;  // of values from 0 to 1
  Padding padding = Padding::kNone;
};

// Where the square in the middle lies in the resized picture. A picture's point (x, y) comes to
// (x · width / original width − left, y · height / original height − top).
struct CropGeometry {
  std::int64_t width, height;  // of the whole resized picture
  std::int64_t left, top;      // of the square
};

// n / 2 rounded half to even, as Python rounds.
constexpr std::int64_t round_half_even(std::int64_t n) { return n / 2 + (n % 2 != 0 && n / 2 % 2 != 0); }

inline CropGeometry crop_geometry(std::int64_t width, std::int64_t height, int side) {
  const auto brief = std::min(width, height);
  CropGeometry g{side * width / brief, side * height / brief, 0, 0};
  g.left = round_half_even(g.width - side);
  g.top = round_half_even(g.height - side);
  return g;
}

namespace detail {

inline void check_preprocess(const Preprocess& p) {
  if (p.side < 1 || p.side > kMaxSide)
    throw Error(ErrorKind::kArgument, "preprocess: expected a side from 1 to " + std::to_string(kMaxSide) + ", found " +
                                          std::to_string(p.side));
  for (std::size_t k = 0; k < 3; ++k)
    if (!std::isfinite(p.mean[k]) || !std::isfinite(p.std[k]) || p.std[k] == 0)
      throw Error(ErrorKind::kArgument, "preprocess: expected finite means and standard deviations other than zero");
}

}  // namespace detail

// The picture in the middle of a square of kPaddingColour. preprocess_image does the same without storing the square.
inline Image pad_to_square(const PixelView& v) {
  const Image from = to_rgb(v);
  const int n = std::max(v.width, v.height);
  Image out(n, n);
  for (int y = 0; y < n; ++y)
    for (int x = 0; x < n; ++x) std::copy(kPaddingColour.begin(), kPaddingColour.end(), out.pixel(x, y));
  for (int y = 0; y < v.height; ++y)
    std::copy_n(from.row(y), from.stride(), out.pixel((n - v.width) / 2, y + (n - v.height) / 2));
  return out;
}

// out: [3, side, side], overwritten. Works for every size from 1 x 1 on. Errors: as check_pixels; kArgument;
// kCapacity (a picture longer than kMaxPaddedSide, to be padded).
inline void preprocess_image(float* out, const PixelView& v, const Preprocess& p = {}) {
  check_pixels(v, "preprocess_image");
  detail::check_preprocess(p);
  Canvas canvas{.width = v.width, .height = v.height, .colour = kPaddingColour};
  if (p.padding == Padding::kSquare && v.width != v.height) {
    if (v.format == PixelFormat::kGray) return preprocess_image(out, to_rgb(v).view(), p);
    canvas.width = canvas.height = std::max(v.width, v.height);
    check_at_most(kMaxPaddedSide, canvas.width, "preprocess_image: side of the padded picture");
    canvas.left = (canvas.width - v.width) / 2;
    canvas.top = (canvas.height - v.height) / 2;
  }
  const auto g = crop_geometry(canvas.width, canvas.height, p.side);
  resample(out, v, canvas, bicubic_taps(canvas.height, g.height, g.top, p.side),
           bicubic_taps(canvas.width, g.width, g.left, p.side), p.mean, p.std);
}

// [3, side, side]
inline std::vector<float> preprocess_image(const PixelView& v, const Preprocess& p = {}) {
  detail::check_preprocess(p);
  std::vector<float> out(std::size_t(3) * std::size_t(p.side) * std::size_t(p.side));
  preprocess_image(out.data(), v, p);
  return out;
}

}  // namespace facellava::media

// Pixels. PixelView: 8-bit pixels that somebody else owns, in the channel order and with the row distance they have.
// Image: owned RGB pixels without gaps between rows, which is what the decoders and the drawing routines produce.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::media {

enum class PixelFormat { kRgb, kBgr, kGray, kRgba, kBgra };

// Bytes of one pixel.
constexpr int channels(PixelFormat f) {
  return f == PixelFormat::kGray ? 1 : f == PixelFormat::kRgb || f == PixelFormat::kBgr ? 3 : 4;
}
// Where red, green and blue stand within a pixel.
constexpr int channel_of(PixelFormat f, int rgb) {
  if (f == PixelFormat::kGray) return 0;
  return f == PixelFormat::kBgr || f == PixelFormat::kBgra ? 2 - rgb : rgb;
}

struct PixelView {
  const std::uint8_t* data = nullptr;  // the first byte of the top row
  int width = 0, height = 0;
  std::ptrdiff_t stride = 0;  // bytes from a row to the one below; negative for pictures stored bottom-up
  PixelFormat format = PixelFormat::kRgb;

  const std::uint8_t* row(int y) const { return data + y * stride; }
};

// Throws kArgument unless v has pixels, and kShape unless its rows have room for them.
inline void check_pixels(const PixelView& v, std::string_view what) {
  if (!v.data || v.width < 1 || v.height < 1)
    throw Error(ErrorKind::kArgument, std::string(what) + ": expected pixels, found a picture of " +
                                          std::to_string(v.width) + " x " + std::to_string(v.height) +
                                          (v.data ? "" : " without data"));
  const std::int64_t row_bytes = std::int64_t(v.width) * channels(v.format);
  const std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max() / v.height;
  if (v.height > 1 && ((v.stride < row_bytes && v.stride > -row_bytes) || v.stride > most || v.stride < -most))
    throw Error(ErrorKind::kShape, std::string(what) + ": expected a stride of at least " + std::to_string(row_bytes) +
                                       " bytes that stays within memory, found " + std::to_string(v.stride));
}

class Image {
 public:
  Image() = default;
  // Black. Errors: kShape (a size below 1, or more bytes than a view can address).
  Image(int width, int height) : width_(width), height_(height) {
    constexpr auto kMost = std::numeric_limits<std::ptrdiff_t>::max() / 3;
    if (width < 1 || height < 1 || width > kMost / height)
      throw Error(ErrorKind::kShape, "expected an image of at least 1 x 1 pixels, found " + std::to_string(width) +
                                         " x " + std::to_string(height));
    bytes_.resize(std::size_t(width) * std::size_t(height) * 3);
  }

  int width() const { return width_; }
  int height() const { return height_; }
  std::ptrdiff_t stride() const { return std::ptrdiff_t(width_) * 3; }
  std::uint8_t* row(int y) { return bytes_.data() + y * stride(); }
  const std::uint8_t* row(int y) const { return bytes_.data() + y * stride(); }
  std::uint8_t* pixel(int x, int y) { return row(y) + 3 * std::ptrdiff_t(x); }
  const std::uint8_t* pixel(int x, int y) const { return row(y) + 3 * std::ptrdiff_t(x); }
  PixelView view() const { return {bytes_.data(), width_, height_, stride(), PixelFormat::kRgb}; }

 private:
  int width_ = 0, height_ = 0;
  std::vector<std::uint8_t> bytes_;  // [height, width, 3]
};

// A copy in RGB; grey is repeated, alpha dropped without blending. Errors: as check_pixels.
inline Image to_rgb(const PixelView& v) {
  check_pixels(v, "to_rgb");
  Image out(v.width, v.height);
  const int step = channels(v.format), r = channel_of(v.format, 0), g = channel_of(v.format, 1),
            b = channel_of(v.format, 2);
  for (int y = 0; y < v.height; ++y) {
    const std::uint8_t* from = v.row(y);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < v.width; ++x, from += step, to += 3) {
      to[0] = from[r];
      to[1] = from[g];
      to[2] = from[b];
    }
  }
  return out;
}

}  // namespace facellava::media

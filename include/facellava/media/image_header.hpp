// What a picture file says about itself, read without decoding it: format, size, depth, EXIF orientation. Every picture
// passes here first, so that a claim of absurd size is refused before memory is asked for.
//
// Sources: PNG specification (chunks), ITU-T T.81 annex B (JPEG markers), EXIF 2.3 (tag 0x0112 of the first IFD),
// netpbm's ppm(5), the BITMAPCOREHEADER and BITMAPINFOHEADER layouts.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"

namespace facellava::media {

enum class ImageFormat { kJpeg, kPng, kBmp, kPnm };

struct ImageHeader {
  ImageFormat format = ImageFormat::kPng;
  std::int64_t width = 0, height = 0;
  int orientation = 1;            // EXIF's, 1 to 8; 1 where a file has none. Read from JPEG only.
  int bits = 8;                   // of one sample
  int color_type = 0;             // PNG's own number; 3 is a palette
  std::size_t palette_first = 0;  // offset of the PNG palette's chunk, and its bytes of colours
  std::size_t palette_bytes = 0;
  int channels = 3;              // of a PNM: 1 or 3
  std::int64_t max_value = 255;  // of a PNM
  std::size_t pixels_first = 0;  // offset of a PNM's pixels
};

namespace detail {

// Bytes with checked access: whatever lies beyond the end is an error that names the offset.
class Bytes {
 public:
  Bytes(std::span<const std::byte> bytes, std::string_view origin) : bytes_(bytes), origin_(origin) {}
  std::size_t size() const { return bytes_.size(); }
  int at(std::size_t i) const {
    if (i >= bytes_.size()) fail("the file ends at byte " + std::to_string(bytes_.size()) + ", more was expected", i);
    return std::to_integer<int>(bytes_[i]);
  }
  std::uint32_t number(std::size_t i, int n, std::endian order) const {
    std::uint32_t value = 0;
    for (int k = 0; k < n; ++k)
      value = value << 8 | std::uint32_t(at(i + std::size_t(order == std::endian::big ? k : n - 1 - k)));
    return value;
  }
  bool starts_with(std::size_t i, std::string_view text) const {
    if (i > size() || size() - i < text.size()) return false;
    for (std::size_t k = 0; k < text.size(); ++k)
      if (bytes_[i + k] != std::byte(text[k])) return false;
    return true;
  }
  Bytes part(std::size_t first, std::size_t n) const {
    first = std::min(first, size());
    return {bytes_.subspan(first, std::min(n, size() - first)), origin_};
  }
  [[noreturn]] void fail(const std::string& what, std::size_t at) const {
    throw Error(ErrorKind::kFormat, std::string(origin_) + ", byte " + std::to_string(at) + ": " + what);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view origin_;
};

// The orientation in an EXIF segment's TIFF structure; 1 where it is absent or broken, as viewers do.
inline int exif_orientation(const Bytes& tiff) {
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  if (tiff.size() < 8 || !(tiff.starts_with(0, "II") || tiff.starts_with(0, "MM"))) return 1;
  const auto order = tiff.starts_with(0, "MM") ? std::endian::big : std::endian::little;
  const std::size_t ifd = tiff.number(4, 4, order);
  if (ifd > tiff.size() - 2) return 1;
  const std::size_t entries = tiff.number(ifd, 2, order);
  for (std::size_t i = 0, entry = ifd + 2; i < entries && entry + 12 <= tiff.size(); ++i, entry += 12) {
    if (tiff.number(entry, 2, order) != kOrientation) continue;
    const auto value = tiff.number(entry + 8, 2, order);
    return tiff.number(entry + 2, 2, order) == kShort && value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

// The Huffman tables of a segment of n bytes: at most 256 codes each, and nothing behind them. (stb_image 2.27 writes
// beyond its tables where there are more.)
inline void check_huffman_tables(const Bytes& b, std::size_t first, std::size_t n) {
  for (std::size_t i = first; i < first + n;) {
    std::size_t codes = 0;
    for (std::size_t k = 1; k <= 16; ++k) codes += std::size_t(b.at(i + k));
    if (codes > 256) b.fail("a JPEG Huffman table of " + std::to_string(codes) + " codes", i);
    i += 17 + codes;
    if (i > first + n) b.fail("a JPEG Huffman table that is longer than its segment", first);
  }
}

// Offset of the first marker behind i that ends entropy-coded data: no stuffed zero, no restart.
inline std::size_t behind_entropy_data(const Bytes& b, std::size_t i) {
  for (;; ++i) {
    if (b.at(i) != 0xff) continue;
    std::size_t next = i + 1;
    while (b.at(next) == 0xff) ++next;
    const int marker = b.at(next);
    if (marker != 0 && !(marker >= 0xd0 && marker <= 0xd7)) return i;
    i = next;
  }
}

// Walks all segments up to the end of the picture, which must be there.
inline ImageHeader jpeg_header(const Bytes& b) {
  ImageHeader h{.format = ImageFormat::kJpeg};
  for (std::size_t i = 2;;) {
    while (b.at(i) != 0xff) ++i;
    while (b.at(i) == 0xff) ++i;
    const int marker = b.at(i++);
    if (marker == 0xd9) {
      if (h.width == 0) b.fail("expected the JPEG's frame header before its end", i);
      return h;
    }
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    const std::size_t length = b.number(i, 2, std::endian::big);
    if (length < 2) b.fail("the JPEG segment claims " + std::to_string(length) + " bytes", i);
    if (marker == 0xe1 && b.starts_with(i + 2, {"Exif\0\0", 6}) && length > 8)
      h.orientation = exif_orientation(b.part(i + 8, length - 8));
    if (marker == 0xc4) {
      check_huffman_tables(b, i + 2, length - 2);
    } else if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc8 && marker != 0xcc) {
      if (h.width != 0) b.fail("a second frame header in the JPEG", i);
      h.bits = b.at(i + 2);
      h.height = b.number(i + 3, 2, std::endian::big);
      h.width = b.number(i + 5, 2, std::endian::big);
      if (h.width == 0 || h.height == 0) b.fail("a JPEG frame without pixels", i);
    }
    i += length;
    if (marker == 0xda) i = behind_entropy_data(b, i);
  }
}

// Walks all chunks: they must fit into the file, be known where they are critical, and end with IEND.
inline ImageHeader png_header(const Bytes& b) {
  ImageHeader h{.format = ImageFormat::kPng};
  if (!b.starts_with(12, "IHDR")) b.fail("expected the PNG chunk IHDR", 12);
  h.width = b.number(16, 4, std::endian::big);
  h.height = b.number(20, 4, std::endian::big);
  h.bits = b.at(24);
  h.color_type = b.at(25);
  for (std::size_t i = 8;;) {
    const std::size_t length = b.number(i, 4, std::endian::big);
    if (b.starts_with(i + 4, "IEND")) return h;
    if (b.starts_with(i + 4, "PLTE")) {
      h.palette_first = i;
      h.palette_bytes = length;
    } else if (!(b.at(i + 4) & 0x20) && !b.starts_with(i + 4, "IHDR") && !b.starts_with(i + 4, "IDAT")) {
      b.fail("a critical PNG chunk of an unknown type", i + 4);
    }
    if (length > b.size() - i - 8 || b.size() - i - 8 - length < 4)
      b.fail("a PNG chunk claims " + std::to_string(length) + " bytes, the file ends before", i);
    i += 12 + length;
  }
}

inline ImageHeader bmp_header(const Bytes& b) {
  ImageHeader h{.format = ImageFormat::kBmp};
  if (b.number(14, 4, std::endian::little) == 12) {
    h.width = b.number(18, 2, std::endian::little);
    h.height = b.number(20, 2, std::endian::little);
  } else {
    h.width = std::int32_t(b.number(18, 4, std::endian::little));
    h.height = std::abs(std::int64_t(std::int32_t(b.number(22, 4, std::endian::little))));
  }
  return h;
}

inline ImageHeader pnm_header(const Bytes& b) {
  ImageHeader h{.format = ImageFormat::kPnm, .channels = b.at(1) == '6' ? 3 : 1};
  std::size_t i = 2;
  const auto space = [&] { return b.at(i) == ' ' || (b.at(i) >= '\t' && b.at(i) <= '\r'); };
  for (std::int64_t* value : {&h.width, &h.height, &h.max_value}) {
    const std::size_t before = i;
    while (space() || b.at(i) == '#') {
      if (b.at(i) == '#')
        while (b.at(i) != '\n' && b.at(i) != '\r') ++i;
      ++i;
    }
    const std::size_t first = i;
    *value = 0;
    while (b.at(i) >= '0' && b.at(i) <= '9' && i - first < 10) *value = *value * 10 + (b.at(i++) - '0');
    if (i == first || first == before) b.fail("expected a number in the PNM header", first);
  }
  if (!space()) b.fail("expected a space behind the PNM header", i);
  if (h.max_value < 1 || h.max_value > 65535)
    b.fail("expected a largest PNM value from 1 to 65535, found " + std::to_string(h.max_value), i);
  h.bits = h.max_value > 255 ? 16 : 8;
  h.pixels_first = i + 1;
  return h;
}

}  // namespace detail

// origin: the name that errors give. Errors: kFormat (no JPEG, PNG, BMP or binary PPM/PGM, truncated, a size of zero).
inline ImageHeader read_image_header(std::span<const std::byte> bytes, std::string_view origin) {
  const detail::Bytes b(bytes, origin);
  ImageHeader h;
  if (b.starts_with(0, "\xff\xd8")) {
    h = detail::jpeg_header(b);
  } else if (b.starts_with(0, "\x89PNG\r\n\x1a\n")) {
    h = detail::png_header(b);
  } else if (b.starts_with(0, "BM")) {
    h = detail::bmp_header(b);
  } else if (b.starts_with(0, "P5") || b.starts_with(0, "P6")) {
    h = detail::pnm_header(b);
  } else {
    b.fail("expected a JPEG, PNG, BMP, or binary PPM or PGM picture, found " + std::to_string(bytes.size()) +
               " bytes of something else",
           0);
  }
  if (h.width < 1 || h.height < 1)
    throw Error(ErrorKind::kFormat, std::string(origin) + ": expected a picture of at least 1 x 1 pixels, found " +
                                        std::to_string(h.width) + " x " + std::to_string(h.height));
  return h;
}

}  // namespace facellava::media

// Decodes JPEG, PNG and BMP (by stb_image) and binary PPM and PGM into RGB, as the released code's
// `PIL.Image.open(file).convert("RGB")` does: alpha and palette transparency are dropped without blending, grey is
// repeated, a 16-bit grey picture is clipped to 255 (a white one stays white, and most others become white), other
// 16-bit ones keep their high byte, and the EXIF orientation is ignored unless asked for.
//
// PNG, BMP, PPM and PGM give PIL's pixels exactly (16-bit BMP: within one level). JPEG decoders differ in rounding:
// up to 3 levels, 0.1 on average, from PIL's libjpeg-turbo (the test of this header measures it); turbojpeg.hpp brings
// that one.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "facellava/media/detail/stb_decode.hpp"
#include "facellava/media/image.hpp"
#include "facellava/media/image_header.hpp"

namespace facellava::media {

enum class Orientation {
  kReference,  // pixels as they are stored, as the released code
  kExif,       // turned upright by the EXIF tag of a JPEG
};

// What a picture may cost. Decoding needs up to about 32 bytes of working memory for each pixel.
struct DecodeLimits {
  std::int64_t max_pixels = std::int64_t(1) << 27;
  std::int64_t max_bytes = std::int64_t(1) << 28;  // of the file
};

// Another decoder for JPEG files, whose header and size have been checked: RGB pixels as they are stored, or nothing
// where the built-in one is to do it. Throws Error.
using JpegDecoder = std::optional<Image> (*)(std::span<const std::byte>, const ImageHeader&);

struct DecodeOptions {
  Orientation orientation = Orientation::kReference;
  DecodeLimits limits = {};
  JpegDecoder jpeg = nullptr;  // media/turbojpeg.hpp has one
};

namespace detail {

// The rows and columns of `from` as the EXIF orientation (1 to 8) asks to show them.
inline Image turned(const Image& from, int orientation) {
  const bool swap = orientation >= 5;
  const int w = from.width(), h = from.height();
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out(swap ? h : w, swap ? w : h);
  for (int y = 0; y < out.height(); ++y)
    for (int x = 0; x < out.width(); ++x) {
      const int sx = swap ? y : x, sy = swap ? x : y;
      std::memcpy(out.pixel(x, y), from.pixel(flip_x ? w - 1 - sx : sx, flip_y ? h - 1 - sy : sy), 3);
    }
  return out;
}

// A sample of a PNM picture at PIL's scale. Grey of 16 bits is scaled to 65535 first, and clipped like 16-bit PNG.
inline std::uint8_t pnm_sample(int value, const ImageHeader& h) {
  if (h.max_value == 255) return std::uint8_t(value);
  const double most = h.bits == 16 && h.channels == 1 ? 65535 : 255;
  return std::uint8_t(std::min(255.0, std::nearbyint(double(value) / double(h.max_value) * most)));
}

inline Image decode_pnm(std::span<const std::byte> bytes, std::string_view origin, const ImageHeader& h) {
  const std::size_t size = std::size_t(h.bits / 8), count = std::size_t(h.width * h.height * h.channels);
  if (bytes.size() - h.pixels_first < count * size)
    throw Error(ErrorKind::kFormat, std::string(origin) + ": expected " + std::to_string(count * size) +
                                        " bytes of pixels from byte " + std::to_string(h.pixels_first) + " on, found " +
                                        std::to_string(bytes.size() - h.pixels_first));
  Image out(int(h.width), int(h.height));
  const std::byte* from = bytes.data() + h.pixels_first;
  const auto next = [&] {
    int value = std::to_integer<int>(*from++);
    if (size == 2) value = value << 8 | std::to_integer<int>(*from++);
    return pnm_sample(value, h);
  };
  for (int y = 0; y < out.height(); ++y)
    for (int x = 0; x < out.width(); ++x) {
      std::uint8_t* to = out.pixel(x, y);
      to[0] = next();
      to[1] = h.channels == 3 ? next() : to[0];
      to[2] = h.channels == 3 ? next() : to[0];
    }
  return out;
}

// The PNG with its palette filled up with black, so that no pixel points behind it.
inline std::vector<std::byte> with_whole_palette(std::span<const std::byte> bytes, const ImageHeader& h) {
  const std::size_t whole = std::size_t(3) << h.bits, data = h.palette_first + 8;
  std::vector<std::byte> out(bytes.begin(), bytes.begin() + std::ptrdiff_t(data + h.palette_bytes));
  out.resize(data + whole);
  for (int i = 0; i < 4; ++i) out[h.palette_first + std::size_t(i)] = std::byte(whole >> (24 - 8 * i) & 255);
  out.insert(out.end(), bytes.begin() + std::ptrdiff_t(data + h.palette_bytes), bytes.end());
  return out;
}

inline Image decode_by_stb(std::span<const std::byte> bytes, const ImageHeader& h) {
  const std::size_t padded = std::size_t((h.width + 64) * (h.height + 64));  // JPEG works in blocks of up to 32 x 32
  const DecodeHeap heap(32 * padded + 4 * bytes.size() + (std::size_t(1) << 20));
  const auto* data = reinterpret_cast<const stb::stbi_uc*>(bytes.data());
  const int size = int(bytes.size());
  const bool gray16 = h.format == ImageFormat::kPng && h.bits == 16 && h.color_type == 0;
  int w = 0, hh = 0, n = 0;
  const stb::stbi_uc* rgb = nullptr;
  const stb::stbi_us* gray = nullptr;
  if (gray16)
    gray = stb::facellava_stbi_load_16_from_memory(data, size, &w, &hh, &n, 0);
  else
    rgb = stb::facellava_stbi_load_from_memory(data, size, &w, &hh, &n, 3);
  if (!gray && !rgb) {
    const char* reason = stb::facellava_stbi_failure_reason();
    throw Error(ErrorKind::kFormat, reason ? reason : "the decoder gave no reason");
  }
  check_equal(h.width, w, "width of the decoded picture", ErrorKind::kFormat);
  check_equal(h.height, hh, "height of the decoded picture", ErrorKind::kFormat);
  Image out(w, hh);
  if (rgb) {
    std::memcpy(out.row(0), rgb, std::size_t(w) * std::size_t(hh) * 3);
    return out;
  }
  for (int y = 0; y < hh; ++y)
    for (int x = 0; x < w; ++x, gray += n) std::memset(out.pixel(x, y), std::min<int>(*gray, 255), 3);
  return out;
}

// The pixels as they are stored.
inline Image decode_stored(std::span<const std::byte> bytes, const ImageHeader& h, JpegDecoder jpeg) {
  if (h.format == ImageFormat::kJpeg && jpeg)
    if (auto image = jpeg(bytes, h)) return std::move(*image);
  const bool short_palette = h.format == ImageFormat::kPng && h.color_type == 3 && h.bits <= 8 && h.palette_bytes > 0 &&
                             h.palette_bytes < std::size_t(3) << h.bits;
  return short_palette ? decode_by_stb(with_whole_palette(bytes, h), h) : decode_by_stb(bytes, h);
}

}  // namespace detail

// RGB pixels of a picture file in memory; origin is the name that errors give. Thread-safe.
// Errors: kFormat (unknown, truncated, corrupt), kCapacity (beyond options.limits; checked before memory is asked for).
inline Image decode_image(std::span<const std::byte> bytes, std::string_view origin,
                          const DecodeOptions& options = {}) {
  const std::int64_t most_bytes = std::min<std::int64_t>(options.limits.max_bytes, std::numeric_limits<int>::max() / 2);
  check_at_most(most_bytes, bytes.size(), std::string(origin) + ": bytes");
  const ImageHeader h = read_image_header(bytes, origin);
  const std::int64_t most_pixels = std::min<std::int64_t>(options.limits.max_pixels, std::int64_t(1) << 30);
  if (h.width > most_pixels / h.height)
    throw Error(ErrorKind::kCapacity, std::string(origin) + ": expected at most " + std::to_string(most_pixels) +
                                          " pixels, found " + std::to_string(h.width) + " x " +
                                          std::to_string(h.height));
  if (h.format == ImageFormat::kPnm) return detail::decode_pnm(bytes, origin, h);
  try {
    Image image = detail::decode_stored(bytes, h, options.jpeg);
    if (options.orientation == Orientation::kExif && h.orientation > 1) image = detail::turned(image, h.orientation);
    return image;
  } catch (const Error& e) {
    throw Error(e.kind(), std::string(origin) + ": the picture cannot be decoded: " + e.what());
  }
}

// Errors: as decode_image; kFile (missing, unreadable, not a regular file).
inline Image read_image(const std::string& path, const DecodeOptions& options = {}) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed))
    throw Error(ErrorKind::kFile, path + ": expected a picture file, found " +
                                      (failed ? failed.message() : std::string("something else")));
  const auto size = std::filesystem::file_size(path, failed);
  if (failed) throw Error(ErrorKind::kFile, path + ": cannot read the file's size: " + failed.message());
  check_at_most(options.limits.max_bytes, size, path + ": bytes");
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  file.read(reinterpret_cast<char*>(bytes.data()), std::streamsize(size));
  if (!file) throw Error(ErrorKind::kFile, path + ": cannot read the file");
  return decode_image(bytes, path, options);
}

}  // namespace facellava::media

// Writes PNG files (by stb_image_write): into memory first, then to a temporary file beside the target, then renamed,
// so that the target is either the old file or the whole new one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "facellava/media/detail/stb_encode.hpp"
#include "facellava/media/image.hpp"

namespace facellava::media {

// The bytes of a PNG file. Errors: kArgument (an empty image), kCapacity (more bytes than the encoder can count).
inline std::vector<std::byte> encode_png(const Image& image) {
  check_pixels(image.view(), "encode_png");
  constexpr std::int64_t kMost = std::numeric_limits<int>::max() / 4;
  check_at_most(kMost, std::int64_t(image.height()) * (image.stride() + 1), "encode_png: bytes of pixels");
  std::vector<std::byte> out;
  const auto append = [](void* to, void* data, int size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    static_cast<std::vector<std::byte>*>(to)->insert(static_cast<std::vector<std::byte>*>(to)->end(), bytes,
                                                     bytes + size);
  };
  if (!detail::stb::stbi_write_png_to_func(append, &out, image.width(), image.height(), 3, image.row(0),
                                           int(image.stride())))
    throw Error(ErrorKind::kCapacity, "encode_png: not enough memory for the encoder");
  return out;
}

namespace detail {

// Creates "PATH.partial-N", which did not exist before, and writes the bytes into it; returns its name.
inline std::string write_beside(const std::string& path, const std::vector<std::byte>& bytes) {
  constexpr int kAttempts = 1000;
  std::string name;
  std::FILE* file = nullptr;
  for (int i = 0; i < kAttempts && !file; ++i) {
    name = path + ".partial-" + std::to_string(i);
    file = std::fopen(name.c_str(), "wbx");
    if (!file && !std::filesystem::exists(name)) break;
  }
  if (!file) throw Error(ErrorKind::kFile, path + ": cannot create a temporary file beside it");
  const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  const bool closed = std::fclose(file) == 0;
  if (written && closed) return name;
  std::remove(name.c_str());
  throw Error(ErrorKind::kFile, path + ": cannot write the file");
}

}  // namespace detail

// Errors: as encode_png; kFile (no such folder, no permission, no space); the old file is then as it was.
inline void write_png(const std::string& path, const Image& image) {
  const std::string beside = detail::write_beside(path, encode_png(image));
  std::error_code failed;
  std::filesystem::rename(beside, path, failed);
  if (!failed) return;
  std::remove(beside.c_str());
  throw Error(ErrorKind::kFile, path + ": cannot replace the file: " + failed.message());
}

}  // namespace facellava::media

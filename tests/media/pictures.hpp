// Helpers of the tests of media and faces: golden files, pictures made up from a seed, files of bytes.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "facellava/media/image.hpp"

namespace facellava::test {

inline std::string golden(const std::string& name) { return std::string(FACELLAVA_GOLDENS) + "/" + name; }

inline std::vector<std::byte> file_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> chars((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<std::byte> bytes(chars.size());
  for (std::size_t i = 0; i < chars.size(); ++i) bytes[i] = std::byte(chars[i]);
  return bytes;
}

inline std::vector<std::byte> text_bytes(const std::string& text) {
  std::vector<std::byte> bytes(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) bytes[i] = std::byte(text[i]);
  return bytes;
}

inline media::Image noise(int width, int height, unsigned seed) {
  std::mt19937 random(seed);
  media::Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width * 3; ++x) image.row(y)[x] = std::uint8_t(random() & 255);
  return image;
}

// A smooth picture with a few edges, which compresses and resamples like a photo.
inline media::Image waves(int width, int height) {
  media::Image image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      std::uint8_t* p = image.pixel(x, y);
      p[0] = std::uint8_t((x * 7 + y * 3) & 255);
      p[1] = std::uint8_t((x * x / 16 + y) & 255);
      p[2] = std::uint8_t(x > y ? 200 : 30);
    }
  return image;
}

inline bool same_pixels(const media::Image& a, const media::Image& b) {
  return a.width() == b.width() && a.height() == b.height() &&
         std::equal(a.row(0), a.row(0) + a.height() * a.stride(), b.row(0));
}

// A folder that is removed at the end of the test.
class Folder {
 public:
  Folder() {
    std::random_device random;
    path_ = std::filesystem::temp_directory_path() / ("facellava_test_" + std::to_string(random()));
    std::filesystem::create_directory(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string file(const std::string& name, const std::string& contents) const {
    std::ofstream(file(name), std::ios::binary) << contents;
    return file(name);
  }
  std::size_t count() const {
    return std::size_t(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

// The kind and the message of the Error that f throws.
template <class F>
std::pair<ErrorKind, std::string> error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return {e.kind(), e.what()};
  }
  return {ErrorKind::kDevice, "no error"};
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace facellava::test

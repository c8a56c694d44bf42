#include "facellava/media/decode.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "facellava/io/safetensors.hpp"
#include "facellava/media/write_png.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::error_of;
using facellava::test::golden;
using facellava::test::has;

namespace {

void put(std::vector<std::byte>& to, std::uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(std::byte(value >> 8 * i & 255));
}

// A BMP of 24 bits, bottom-up.
std::vector<std::byte> bmp(const Image& image) {
  const int row = (image.width() * 3 + 3) / 4 * 4;
  std::vector<std::byte> out = test::text_bytes("BM");
  for (const int value :
       {54 + row * image.height(), 0, 54, 40, image.width(), image.height(), 1 | 24 << 16, 0, 0, 0, 0, 0, 0})
    put(out, std::uint32_t(value), 4);
  for (int y = image.height() - 1; y >= 0; --y) {
    for (int x = 0; x < image.width(); ++x)
      for (int k = 2; k >= 0; --k) out.push_back(std::byte(image.pixel(x, y)[k]));
    out.resize(out.size() + std::size_t(row - image.width() * 3));
  }
  return out;
}

std::vector<std::byte> ppm(const Image& image) {
  auto out = test::text_bytes("P6 " + std::to_string(image.width()) + " " + std::to_string(image.height()) + " 255\n");
  for (int y = 0; y < image.height(); ++y)
    for (int x = 0; x < image.width() * 3; ++x) out.push_back(std::byte(image.row(y)[x]));
  return out;
}

void put_big(std::vector<std::byte>& to, std::uint32_t value) {
  for (int i = 3; i >= 0; --i) to.push_back(std::byte(value >> 8 * i & 255));
}
// A chunk without a valid checksum, which stb_image does not look at.
void put_chunk(std::vector<std::byte>& to, const char* type, const std::vector<std::byte>& data) {
  put_big(to, std::uint32_t(data.size()));
  for (int i = 0; i < 4; ++i) to.push_back(std::byte(type[i]));
  to.insert(to.end(), data.begin(), data.end());
  put_big(to, 0);
}
// rows: each with its filter byte; stored without compression.
std::vector<std::byte> png(std::uint32_t w, std::uint32_t h, int bits, int type, const std::vector<std::byte>& rows,
                           const std::vector<std::byte>& palette = {}) {
  std::vector<std::byte> out = test::text_bytes("\x89PNG\r\n\x1a\n"), head, data;
  put_big(head, w);
  put_big(head, h);
  for (const int value : {bits, type, 0, 0, 0}) head.push_back(std::byte(value));
  put_chunk(out, "IHDR", head);
  if (!palette.empty()) put_chunk(out, "PLTE", palette);
  put(data, 0x0178, 2);
  data.push_back(std::byte(1));
  put(data, std::uint32_t(rows.size()), 2);
  put(data, ~std::uint32_t(rows.size()), 2);
  data.insert(data.end(), rows.begin(), rows.end());
  put_big(data, 0);
  put_chunk(out, "IDAT", data);
  put_chunk(out, "IEND", {});
  return out;
}
std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(std::byte(v));
  return out;
}

// Decodes or throws an Error; anything else (a crash, another exception) fails the test. True if it decoded.
bool survives(std::span<const std::byte> data) {
  try {
    const Image image = decode_image(data, "mutant", {.limits = {.max_pixels = 1 << 20}});
    return image.width() >= 1 && image.height() >= 1;
  } catch (const Error& e) {
    CHECK(has(e.what(), "mutant"));
    return false;
  }
}

}  // namespace

TEST_CASE("PNG, BMP and PPM give back exactly the pixels that went in") {
  for (const auto& [w, h] : {std::pair{1, 1}, {2, 3}, {3, 2}, {17, 13}, {64, 1}, {1, 64}, {20000, 1}, {1, 20000}}) {
    CAPTURE(w);
    CAPTURE(h);
    const Image image = test::noise(w, h, unsigned(w * 31 + h));
    CHECK(test::same_pixels(decode_image(encode_png(image), "png"), image));
    CHECK(test::same_pixels(decode_image(bmp(image), "bmp"), image));
    CHECK(test::same_pixels(decode_image(ppm(image), "ppm"), image));
  }
}

TEST_CASE("sixteen bits: grey is clipped, colours keep their high byte, as PIL does") {
  const Image gray = decode_image(png(3, 1, 16, 0, bytes({0, 0, 7, 0, 255, 1, 0})), "gray16");
  CHECK(gray.pixel(0, 0)[0] == 7);
  CHECK(gray.pixel(1, 0)[1] == 255);
  CHECK(gray.pixel(2, 0)[2] == 255);
  const Image rgb = decode_image(png(1, 1, 16, 2, bytes({0, 1, 200, 2, 100, 255, 0})), "rgb16");
  CHECK(rgb.pixel(0, 0)[0] == 1);
  CHECK(rgb.pixel(0, 0)[1] == 2);
  CHECK(rgb.pixel(0, 0)[2] == 255);
}

TEST_CASE("few bits: grey is stretched to 255; a palette that is too short is filled up with black") {
  const Image gray = decode_image(png(4, 1, 2, 0, bytes({0, 0b00011011})), "gray2");
  CHECK(gray.pixel(0, 0)[0] == 0);
  CHECK(gray.pixel(1, 0)[0] == 85);
  CHECK(gray.pixel(3, 0)[0] == 255);
  const Image palette = decode_image(png(2, 1, 4, 3, bytes({0, 0x1f}), bytes({9, 8, 7, 6, 5, 4})), "palette4");
  CHECK(palette.pixel(0, 0)[0] == 6);
  CHECK(palette.pixel(0, 0)[2] == 4);
  CHECK(palette.pixel(1, 0)[0] == 0);
  CHECK(palette.pixel(1, 0)[2] == 0);
}

TEST_CASE("PGM and PPM with other largest values are scaled") {
  const Image gray = decode_image(test::text_bytes(std::string("P5 3 1 15\n\x00\x01\x0f", 13)), "pgm");
  CHECK(gray.pixel(1, 0)[2] == 17);
  CHECK(gray.pixel(2, 0)[0] == 255);
  const Image rgb = decode_image(test::text_bytes(std::string("P6 1 1 65535\n\x80\x00\xff\xff\x00\x80", 19)), "ppm");
  CHECK(rgb.pixel(0, 0)[0] == 128);
  CHECK(rgb.pixel(0, 0)[1] == 255);
  CHECK(rgb.pixel(0, 0)[2] == 0);
  CHECK(error_of([] { decode_image(test::text_bytes("P6 2 2 255\nabc"), "short.ppm"); }).first == ErrorKind::kFormat);
}

TEST_CASE("JPEG: the difference from PIL's decoder is small, and orientation is a policy") {
  const io::Safetensors file(golden("preprocess/image_exif6_160x110.safetensors"));
  const auto& pil = file.at("rgb_decoded_by_PIL");
  const std::string path = golden("preprocess/inputs/exif6_160x110.jpg");
  const Image image = read_image(path);
  REQUIRE(image.width() == 160);
  REQUIRE(image.height() == 110);
  int most = 0;
  double sum = 0;
  for (std::size_t i = 0; i < pil.bytes.size(); ++i) {
    const int difference = std::abs(image.row(0)[i] - std::to_integer<int>(pil.bytes[i]));
    most = std::max(most, difference);
    sum += difference;
  }
  MESSAGE("JPEG versus PIL: largest difference " << most << " levels, mean " << sum / double(pil.bytes.size()));
  // Rounding in the inverse DCT, the chroma upsampling and the colour matrix: about one level each.
  CHECK(most <= 4);
  CHECK(sum / double(pil.bytes.size()) < 0.5);

  const Image upright = read_image(path, {.orientation = Orientation::kExif});
  REQUIRE(upright.width() == 110);
  REQUIRE(upright.height() == 160);
  for (int x = 0; x < 110; ++x) CHECK(upright.pixel(x, 3)[1] == image.pixel(3, 109 - x)[1]);
}

TEST_CASE("the eight orientations") {
  // 2 x 3 pixels 1 2 / 3 4 / 5 6; what each orientation shows, from EXIF's table of row 0 and column 0.
  Image image(2, 3);
  for (int i = 0; i < 6; ++i) image.pixel(i % 2, i / 2)[0] = std::uint8_t(i + 1);
  const int expected[8][6] = {{1, 2, 3, 4, 5, 6}, {2, 1, 4, 3, 6, 5}, {6, 5, 4, 3, 2, 1}, {5, 6, 3, 4, 1, 2},
                              {1, 3, 5, 2, 4, 6}, {5, 3, 1, 6, 4, 2}, {6, 4, 2, 5, 3, 1}, {2, 4, 6, 1, 3, 5}};
  for (int o = 1; o <= 8; ++o) {
    CAPTURE(o);
    const Image out = detail::turned(image, o);
    CHECK(out.width() == (o < 5 ? 2 : 3));
    for (int i = 0; i < 6; ++i) CHECK(out.pixel(i % out.width(), i / out.width())[0] == expected[o - 1][i]);
  }
}

TEST_CASE("claims of absurd size are refused before memory is asked for") {
  std::vector<std::byte> huge_jpeg = test::file_bytes(golden("preprocess/inputs/exif6_160x110.jpg"));
  for (std::size_t i = 0; i + 9 < huge_jpeg.size(); ++i)
    if (huge_jpeg[i] == std::byte(0xff) && huge_jpeg[i + 1] == std::byte(0xc0)) {
      for (std::size_t k = 5; k < 9; k += 2) {
        huge_jpeg[i + k] = std::byte(60000 >> 8);
        huge_jpeg[i + k + 1] = std::byte(60000 & 255);
      }
      break;
    }
  auto huge_bmp = bmp(test::noise(2, 2, 1));
  for (const std::size_t at : {18, 22}) {
    huge_bmp[at] = std::byte(60000 & 255);
    huge_bmp[at + 1] = std::byte(60000 >> 8);
  }
  for (const auto& file : {huge_jpeg, huge_bmp, png(60000, 60000, 8, 2, bytes({0})),
                           png(0x7fffffff, 0x7fffffff, 8, 2, bytes({0})), test::text_bytes("P6 60000 60000 255\n")}) {
    const auto [kind, what] = error_of([&] { decode_image(file, "huge"); });
    CHECK(kind == ErrorKind::kCapacity);
    CHECK(has(what, "huge: expected at most 134217728 pixels, found"));
  }
  const auto small = encode_png(test::noise(8, 8, 1));
  CHECK(error_of([&] { decode_image(small, "a", {.limits = {.max_pixels = 63}}); }).first == ErrorKind::kCapacity);
  CHECK(error_of([&] { decode_image(small, "a", {.limits = {.max_bytes = 9}}); }).first == ErrorKind::kCapacity);
  CHECK_NOTHROW(decode_image(small, "a", {.limits = {.max_pixels = 64}}));
}

TEST_CASE("a small PNG whose data unpack to far more than its pixels is refused") {
  // A deflate block of one long run of zeros, as in a decompression bomb: 1 x 1 pixels, 300 MB of data.
  std::vector<std::byte> data = bytes({0x78, 0x01});
  std::uint32_t bits = 0;
  int count = 0;
  const auto put_bits = [&](std::uint32_t value, int n, bool high_first) {
    for (int i = 0; i < n; ++i) {
      bits |= (value >> (high_first ? n - 1 - i : i) & 1) << count;
      if (++count == 8) {
        data.push_back(std::byte(bits));
        bits = 0;
        count = 0;
      }
    }
  };
  put_bits(0b011, 3, false);      // the last block, with fixed codes
  put_bits(0b00110000, 8, true);  // a zero
  for (int i = 0; i < 1200000; ++i) {
    put_bits(0b11000101, 8, true);  // 258 of
    put_bits(0, 5, true);           // the byte before
  }
  put_bits(0, 7, true);
  put_bits(0, 7, true);
  std::vector<std::byte> file = png(1, 1, 8, 0, bytes({0, 0}));
  file.resize(33);
  put_chunk(file, "IDAT", data);
  put_chunk(file, "IEND", {});
  const auto [kind, what] = error_of([&] { decode_image(file, "bomb.png"); });
  CHECK(kind == ErrorKind::kFormat);
  CHECK(has(what, "bomb.png"));
}

TEST_CASE("truncated files") {
  for (const std::string name : {"exif6_160x110.jpg", "tiny_60x90.png", "palette_trns_100x150.png"}) {
    const auto whole = test::file_bytes(golden("preprocess/inputs/" + name));
    CAPTURE(name);
    REQUIRE(survives(whole));
    for (std::size_t i = 0; i < 50; ++i) CHECK(!survives({whole.data(), whole.size() * i / 50}));
  }
  const Image image = test::waves(9, 7);
  for (const auto& whole : {ppm(image), bmp(image)})
    for (std::size_t n = 0; n < whole.size(); ++n) survives({whole.data(), n});
}

TEST_CASE("mutated files: an Error or a picture") {
  const Image image = test::waves(19, 11);
  const std::vector<std::vector<std::byte>> files{
      encode_png(image), test::file_bytes(golden("preprocess/inputs/palette_trns_100x150.png")),
      test::file_bytes(golden("preprocess/inputs/exif6_160x110.jpg")), ppm(image), bmp(image)};
  std::mt19937 random(7);
  int decoded = 0;
  for (const auto& file : files)
    for (int i = 0; i < 1000; ++i) {
      auto mutant = file;
      for (unsigned k = 0; k < 1 + random() % 4; ++k) {
        // Half of the changes hit the headers, where they do most harm.
        const std::size_t within = random() % 2 ? std::min<std::size_t>(mutant.size(), 700) : mutant.size();
        const std::size_t at = random() % within;
        const bool edge = random() % 4 == 0;
        mutant[at] = std::byte(edge ? 255 * (random() % 2) : random() & 255);
      }
      decoded += survives(mutant);
    }
  CHECK(decoded > 1000);
  CHECK(decoded < 5000);
}

TEST_CASE("threads decode side by side") {
  const auto jpeg = test::file_bytes(golden("preprocess/inputs/exif6_160x110.jpg"));
  const Image expected = decode_image(jpeg, "jpeg");
  auto broken = encode_png(test::noise(60, 90, 1));
  broken[41] = std::byte(0xff);  // the method of compression
  std::vector<std::thread> threads;
  std::array<int, 4> good{};
  for (std::size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const bool failed = error_of([&] { decode_image(broken, "broken"); }).first == ErrorKind::kFormat;
        good[t] += failed && test::same_pixels(decode_image(jpeg, "jpeg"), expected);
      }
    });
  for (auto& t : threads) t.join();
  for (const int n : good) CHECK(n == 20);
}

TEST_CASE("files that are missing, folders, other contents") {
  const test::Folder folder;
  CHECK(error_of([&] { read_image(folder.file("none.png")); }).first == ErrorKind::kFile);
  CHECK(error_of([&] { read_image(folder.file("")); }).first == ErrorKind::kFile);
  const std::string empty = folder.file("empty.png", "");
  const auto [kind, what] = error_of([&] { read_image(empty); });
  CHECK(kind == ErrorKind::kFormat);
  CHECK(has(what, "empty.png"));
}

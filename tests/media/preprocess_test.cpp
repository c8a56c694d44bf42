#include "facellava/media/preprocess.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "facellava/io/json.hpp"
#include "facellava/io/safetensors.hpp"
#include "facellava/media/decode.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::golden;

namespace {

// fp32 against fp64 of the official code differs by up to 5e-5 here (noise_floor_fp32_vs_fp64 in the json files).
constexpr double kTolerance = 1.5e-4;

// [:, first::step, first::step], count x count of each plane.
std::vector<float> part(const std::vector<float>& planes, int first, int step, int count) {
  std::vector<float> out;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < count; ++y)
      for (int x = 0; x < count; ++x)
        out.push_back(planes[std::size_t((c * 224 + first + y * step) * 224 + first + x * step)]);
  return out;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, double(std::abs(a[i] - b[i])));
  return most;
}

void check_stats(const std::vector<float>& values, const nlohmann::json& stats) {
  double sum = 0, squares = 0;
  for (const float v : values) sum += v;
  const double mean = sum / double(values.size());
  for (const float v : values) squares += (v - mean) * (v - mean);
  CHECK(std::abs(mean - stats.at("mean").get<double>()) < kTolerance);
  CHECK(std::abs(std::sqrt(squares / double(values.size())) - stats.at("std").get<double>()) < kTolerance);
}

void compare(const PixelView& picture, const std::string& name) {
  CAPTURE(name);
  const io::Safetensors file(golden("preprocess/" + name + ".safetensors"));
  const auto json = io::read_json(golden("preprocess/" + name + ".json"));
  CHECK(picture.width == json.at("width").get<int>());
  CHECK(picture.height == json.at("height").get<int>());
  const auto values = preprocess_image(picture);
  const auto padded = preprocess_image(picture, {.padding = Padding::kSquare});
  check_stats(values, json.at("stats"));
  check_stats(padded, json.at("stats_padded"));
  int compared = 0;
  const auto against = [&](const std::vector<float>& found, const std::string& tensor) {
    if (!file.tensors().contains(tensor)) return;
    CAPTURE(tensor);
    CHECK(distance(found, io::to_floats(file.at(tensor))) < kTolerance);
    ++compared;
  };
  against(values, "pixel_values");
  against(part(values, 0, 8, 28), "pixel_values.sub8");
  against(part(values, 80, 1, 64), "pixel_values.patch_64");
  against(part(padded, 0, 8, 28), "padded.pixel_values.sub8");
  CHECK(compared > 0);
}

}  // namespace

TEST_CASE("pixel values equal the official ones") {
  const std::string inputs = golden("preprocess/inputs/");
  compare(read_image(inputs + "face_a_256.png").view(), "image_face_a_256");
  compare(read_image(inputs + "face_b_256.png").view(), "image_face_b_256");
  compare(read_image(inputs + "gray_140x100.png").view(), "image_gray_140x100");
  compare(read_image(inputs + "palette_trns_100x150.png").view(), "image_palette_100x150");
  compare(read_image(inputs + "rgba_120x80.png").view(), "image_rgba_120x80");
  compare(read_image(inputs + "tiny_60x90.png").view(), "image_tiny_60x90");
  compare(read_image(std::string(FACELLAVA_TEST_DATA) + "/assets/astronaut.png").view(), "image_astronaut_512x512");

  const Image obama = read_image(inputs + "obama_small_decoded.png");
  compare(obama.view(), "image_obama_small_320x240");
  Image big(obama.width() * 7, obama.height() * 7);
  for (int y = 0; y < big.height(); ++y)
    for (int x = 0; x < big.width(); ++x) std::copy_n(obama.pixel(x / 7, y / 7), 3, big.pixel(x, y));
  compare(big.view(), "image_big_2240x1680");

  const io::Safetensors exif(golden("preprocess/image_exif6_160x110.safetensors"));
  const auto& pil = exif.at("rgb_decoded_by_PIL");
  compare({reinterpret_cast<const std::uint8_t*>(pil.bytes.data()), 160, 110, 480, PixelFormat::kRgb},
          "image_exif6_160x110");
}

TEST_CASE("this library's own JPEG decoder moves the pixel values only a little") {
  const io::Safetensors exif(golden("preprocess/image_exif6_160x110.safetensors"));
  const auto own = preprocess_image(read_image(golden("preprocess/inputs/exif6_160x110.jpg")).view());
  const double most = distance(part(own, 0, 8, 28), io::to_floats(exif.at("pixel_values.sub8")));
  MESSAGE("pixel values from our JPEG decoder versus PIL's: largest difference " << most);
  CHECK(most < 4 / 255.0 / 0.26);  // the four levels that decode_test allows, over the smallest deviation
}

TEST_CASE("stride, channel order, alpha and grey do not change a bit") {
  for (const auto& [w, h] : {std::pair{1, 1}, {7, 5}, {230, 300}, {301, 224}}) {
    const Image image = test::noise(w, h, unsigned(w));
    for (const Padding padding : {Padding::kNone, Padding::kSquare}) {
      const Preprocess how{.side = 37, .padding = padding};
      const auto expected = preprocess_image(image.view(), how);
      for (const PixelFormat format : {PixelFormat::kBgr, PixelFormat::kRgba, PixelFormat::kBgra}) {
        const int n = channels(format), stride = w * n + 13;
        std::vector<std::uint8_t> bytes(std::size_t(stride * h), 99);
        for (int y = 0; y < h; ++y)
          for (int x = 0; x < w; ++x)
            for (int k = 0; k < 3; ++k)
              bytes[std::size_t(y * stride + x * n + channel_of(format, k))] = image.pixel(x, y)[k];
        CHECK(preprocess_image({bytes.data(), w, h, stride, format}, how) == expected);
      }
      std::vector<std::uint8_t> gray(std::size_t((w + 3) * h));
      Image repeated(w, h);
      for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x) {
          gray[std::size_t(y * (w + 3) + x)] = image.pixel(x, y)[1];
          std::fill_n(repeated.pixel(x, y), 3, image.pixel(x, y)[1]);
        }
      CHECK(preprocess_image({gray.data(), w, h, w + 3, PixelFormat::kGray}, how) ==
            preprocess_image(repeated.view(), how));
    }
  }
}

TEST_CASE("padding that is not stored equals padding that is") {
  for (const auto& [w, h] : {std::pair{1, 2}, {5, 1}, {90, 61}, {61, 90}, {1, 700}, {333, 2}, {50, 50}}) {
    const Image image = test::noise(w, h, unsigned(h));
    const Image square = pad_to_square(image.view());
    REQUIRE(square.width() == std::max(w, h));
    REQUIRE(square.height() == std::max(w, h));
    const auto stored = preprocess_image(square.view(), {.side = 32});
    const auto virtually = preprocess_image(image.view(), {.side = 32, .padding = Padding::kSquare});
    // The same sums in another order: 2^-24 of values up to 4, a few dozen times.
    CHECK(distance(stored, virtually) < 2e-5);
  }
  const Image image = test::noise(3, 6, 1);
  const Image square = pad_to_square(image.view());
  CHECK(square.pixel(0, 0)[0] == 122);
  CHECK(square.pixel(5, 5)[2] == 104);
  CHECK(std::equal(square.pixel(1, 2), square.pixel(4, 2), image.pixel(0, 2)));  // (6 - 3) / 2 = 1 pixel on the left
}

TEST_CASE("sizes from 1 x 1 to 20000 x 1, with bounded memory") {
  for (const auto& [w, h] : {std::pair{1, 1}, {20000, 1}, {1, 20000}, {2, 3}, {224, 224}, {20000, 3}}) {
    CAPTURE(w);
    CAPTURE(h);
    Image image(w, h);
    std::fill_n(image.row(0), image.stride() * h, 90);
    for (const Padding padding : {Padding::kNone, Padding::kSquare}) {
      const auto values = preprocess_image(image.view(), {.padding = padding});
      REQUIRE(values.size() == 3 * 224 * 224);
      if (padding == Padding::kNone)  // the weights of each output sum to 1
        for (const std::size_t i : {std::size_t(0), std::size_t(224 * 112 + 100), std::size_t(224 * 224 - 1)})
          CHECK(values[i] == doctest::Approx((90 / 255.0 - kClipMean[0]) / kClipStd[0]).epsilon(1e-5));
      for (const float v : values) REQUIRE(std::isfinite(v));
    }
  }
}

TEST_CASE("the crop of a long picture is its middle") {
  Image image(20000, 1);
  for (int x = 0; x < 20000; ++x) image.pixel(x, 0)[0] = std::uint8_t(x == 9999 || x == 10000 ? 255 : 0);
  // Resized to 4,480,000 columns, the two bright pixels are columns 2,239,776 to 2,240,224; the crop starts 112 before
  // the middle, so that all of it is bright.
  const auto values = preprocess_image(image.view());
  for (int x = 0; x < 224; ++x) CHECK(values[std::size_t(x)] > (0.9 - kClipMean[0]) / kClipStd[0]);
}

TEST_CASE("crop geometry: truncated sizes, offsets rounded half to even") {
  CHECK(crop_geometry(140, 100, 224).width == 313);
  CHECK(crop_geometry(140, 100, 224).left == 44);
  CHECK(crop_geometry(325, 224, 224).left == 50);
  CHECK(crop_geometry(224, 327, 224).top == 52);
  CHECK(crop_geometry(224, 227, 224).top == 2);
  CHECK(crop_geometry(1, 20000, 224).height == 4480000);
}

TEST_CASE("arguments that make no sense") {
  const Image image = test::noise(4, 4, 1);
  CHECK_THROWS_AS(preprocess_image(image.view(), {.side = 0}), Error);
  CHECK_THROWS_AS(preprocess_image(image.view(), {.side = kMaxSide + 1}), Error);
  CHECK_THROWS_AS(preprocess_image(image.view(), {.std = {1, 0, 1}}), Error);
  CHECK_THROWS_AS(preprocess_image(image.view(), {.mean = {NAN, 0, 1}}), Error);
  CHECK_THROWS_AS(preprocess_image(PixelView{}), Error);
  const Image line(kMaxPaddedSide + 1, 1);
  CHECK(test::error_of([&] { preprocess_image(line.view(), {.side = 1, .padding = Padding::kSquare}); }).first ==
        ErrorKind::kCapacity);
}

#include "facellava/media/image_header.hpp"

#include <doctest/doctest.h>

#include "facellava/media/write_png.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::error_of;
using facellava::test::golden;
using facellava::test::has;

TEST_CASE("headers of every format") {
  const auto jpeg = read_image_header(test::file_bytes(golden("preprocess/inputs/exif6_160x110.jpg")), "a.jpg");
  CHECK(jpeg.format == ImageFormat::kJpeg);
  CHECK(jpeg.width == 160);
  CHECK(jpeg.height == 110);
  CHECK(jpeg.orientation == 6);

  const auto png = read_image_header(test::file_bytes(golden("preprocess/inputs/palette_trns_100x150.png")), "a.png");
  CHECK(png.format == ImageFormat::kPng);
  CHECK(png.width == 100);
  CHECK(png.height == 150);
  CHECK(png.color_type == 3);
  CHECK(png.palette_bytes > 0);

  const auto pnm = read_image_header(test::text_bytes("P6 # colours\n# 9 9\n3\t2\r\n#\n65535 abc"), "a.ppm");
  CHECK(pnm.format == ImageFormat::kPnm);
  CHECK(pnm.width == 3);
  CHECK(pnm.height == 2);
  CHECK(pnm.bits == 16);
  CHECK(pnm.pixels_first == 32);
}

TEST_CASE("EXIF: both byte orders, hostile offsets, values out of range") {
  const auto orientation = [](const std::string& tiff) {
    const auto bytes = test::text_bytes(tiff);
    return detail::exif_orientation({bytes, "exif"});
  };
  const std::string little("II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0", 22);
  const std::string big("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x05\0\0", 22);
  CHECK(orientation(little) == 8);
  CHECK(orientation(big) == 5);
  std::string nine = little, far = little, many = little.substr(0, 10), other = little;
  nine[18] = 9;
  far[4] = far[5] = far[6] = far[7] = '\xff';
  many[8] = many[9] = '\xff';
  other[12] = 4;
  for (const auto& bad : {nine, far, many, other, std::string("II"), std::string()}) CHECK(orientation(bad) == 1);
  for (std::size_t n = 0; n < little.size(); ++n) CHECK(orientation(little.substr(0, n)) == 1);
}

TEST_CASE("errors name the file, the byte and what was found") {
  const auto of = [](const std::string& text) {
    return error_of([&] { read_image_header(test::text_bytes(text), "x.img"); });
  };
  CHECK(has(of("").second, "x.img, byte 0: expected a JPEG, PNG, BMP"));
  CHECK(has(of("GIF89a").second, "x.img"));
  CHECK(has(of("P6 3 x 255\n").second, "byte 5: expected a number"));
  CHECK(has(of("P6 99999999999 3 255\n").second, "expected a number"));
  CHECK(has(of("P6 3 3 65536\n").second, "largest PNM value"));
  CHECK(of("P6 0 3 255\n").first == ErrorKind::kFormat);
  CHECK(has(of("\xff\xd8 abc").second, "ends at byte 6"));
  CHECK(has(of("\xff\xd8\xff\xd9").second, "frame header"));
  CHECK(has(of("\xff\xd8\xff").second, "ends at byte 3"));
  CHECK(
      has(of("\xff\xd8\xff\xc4" + std::string("\0\x13\0", 3) + std::string(16, '\x11') + std::string(300, 'x')).second,
          "Huffman table of 272 codes"));
  CHECK(has(of(std::string("\xff\xd8\xff\xe0\0\1", 6)).second, "claims 1 bytes"));

  auto png = encode_png(test::noise(5, 4, 1));
  png[8 + 25] = std::byte(0x7f);  // the length of the first data chunk
  CHECK(has(error_of([&] { read_image_header(png, "x.png"); }).second, "claims"));
  png = encode_png(test::noise(5, 4, 1));
  png[8 + 25 + 4] = std::byte('X');  // its type
  CHECK(has(error_of([&] { read_image_header(png, "x.png"); }).second, "unknown type"));
}

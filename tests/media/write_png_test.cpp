#include "facellava/media/write_png.hpp"

#include <doctest/doctest.h>

#include "facellava/media/decode.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::media;

TEST_CASE("what is written is read back, over an old file too, and leaves nothing behind") {
  const test::Folder folder;
  const std::string path = folder.file("a.png", "old");
  const Image image = test::noise(33, 21, 3);
  write_png(path, image);
  CHECK(test::same_pixels(read_image(path), image));
  CHECK(folder.count() == 1);
}

TEST_CASE("a write that fails names the file and leaves nothing behind") {
  const test::Folder folder;
  const Image image = test::noise(3, 2, 3);
  const auto [kind, what] = test::error_of([&] { write_png(folder.file("none/a.png"), image); });
  CHECK(kind == ErrorKind::kFile);
  CHECK(test::has(what, "none/a.png"));
  std::filesystem::create_directories(folder.file("full/inside"));
  CHECK(test::error_of([&] { write_png(folder.file("full"), image); }).first == ErrorKind::kFile);
  CHECK(folder.count() == 1);
  CHECK_THROWS_AS(encode_png(Image()), Error);
}

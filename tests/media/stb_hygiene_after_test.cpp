// A host that has its own stb_image and stb_image_write, included behind ours in the same file.
#include <doctest/doctest.h>

#include "facellava/media/decode.hpp"
#include "facellava/media/draw.hpp"
#include "facellava/media/write_png.hpp"
#include "media/pictures.hpp"

#if defined(STB_IMAGE_IMPLEMENTATION) || defined(STBI_ONLY_PNG) || defined(STBI_NO_GIF) || defined(STBI_MALLOC)
#error "no macro of ours may stay behind"
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

TEST_CASE("beside a host's stb_image that comes later") {
  using namespace facellava;
  const auto image = test::noise(6, 5, 1);
  const auto png = media::encode_png(image);
  int w = 0, h = 0, n = 0;
  auto* pixels = stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(png.data()), int(png.size()), &w, &h, &n, 3);
  REQUIRE(pixels != nullptr);
  CHECK(std::equal(pixels, pixels + 90, image.row(0)));
  stbi_image_free(pixels);
  CHECK(test::same_pixels(media::decode_image(png, "png"), image));
}

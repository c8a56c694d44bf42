// A host that has its own stb_image and stb_image_write, included before ours in the same file, with other options.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_TGA
#define STBI_FAILURE_USERMSG
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#pragma GCC diagnostic ignored "-Wunused-function"
#include <doctest/doctest.h>
#include <stb/stb_easy_font.h>
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include "facellava/media/decode.hpp"
#include "facellava/media/draw.hpp"
#include "facellava/media/write_png.hpp"
#include "media/pictures.hpp"

#ifndef STBI_ONLY_TGA
#error "the host's macros must be as they were"
#endif

TEST_CASE("beside a host's stb_image that came first") {
  using namespace facellava;
  const auto image = test::noise(6, 5, 1);
  const auto png = media::encode_png(image);
  CHECK(test::same_pixels(media::decode_image(png, "png"), image));
  int w = 0, h = 0, n = 0;
  const auto* bytes = reinterpret_cast<const stbi_uc*>(png.data());
  CHECK(stbi_load_from_memory(bytes, int(png.size()), &w, &h, &n, 3) == nullptr);  // the host's reads TGA only
  CHECK(stb_easy_font_width(const_cast<char*>("abc")) == media::text_width("abc"));
}

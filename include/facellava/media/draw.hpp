// Drawing into an Image: rectangles, discs, lines, text. Colours are blended with an opacity from 0 to 1; whatever lies
// outside the image is cut off, and coordinates that are not finite draw nothing. The letters are stb_easy_font's.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "facellava/media/image.hpp"

#pragma push_macro("INCLUDE_STB_EASY_FONT_H")
#undef INCLUDE_STB_EASY_FONT_H
#include <math.h>
#include <stdlib.h>
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
namespace facellava::media::detail::easy_font {
#include <stb/stb_easy_font.h>
}  // namespace facellava::media::detail::easy_font
#pragma GCC diagnostic pop
#pragma pop_macro("INCLUDE_STB_EASY_FONT_H")

namespace facellava::media {

struct Colour {
  std::uint8_t r = 0, g = 0, b = 0;
};

inline void blend_pixel(Image& image, int x, int y, Colour c, float opacity) {
  if (x < 0 || y < 0 || x >= image.width() || y >= image.height() || !(opacity > 0)) return;
  const float keep = 1 - std::min(opacity, 1.f), add = 1 - keep;
  std::uint8_t* p = image.pixel(x, y);
  p[0] = std::uint8_t(float(p[0]) * keep + float(c.r) * add + 0.5f);
  p[1] = std::uint8_t(float(p[1]) * keep + float(c.g) * add + 0.5f);
  p[2] = std::uint8_t(float(p[2]) * keep + float(c.b) * add + 0.5f);
}

// Pixels [left, right) x [top, bottom).
inline void fill_rectangle(Image& image, int left, int top, int right, int bottom, Colour c, float opacity = 1) {
  for (int y = std::max(top, 0); y < std::min(bottom, image.height()); ++y)
    for (int x = std::max(left, 0); x < std::min(right, image.width()); ++x) blend_pixel(image, x, y, c, opacity);
}

// The edge of pixels [left, right) x [top, bottom), `thickness` pixels wide, inside them.
inline void draw_rectangle(Image& image, int left, int top, int right, int bottom, Colour c, int thickness = 1,
                           float opacity = 1) {
  constexpr int kFar = 1 << 29;
  for (int* edge : {&left, &top, &right, &bottom}) *edge = std::clamp(*edge, -kFar, kFar);
  const int tall = std::min(thickness, (bottom - top + 1) / 2), wide = std::min(thickness, (right - left + 1) / 2);
  fill_rectangle(image, left, top, right, top + tall, c, opacity);
  fill_rectangle(image, left, std::max(bottom - tall, top + tall), right, bottom, c, opacity);
  fill_rectangle(image, left, top + tall, left + wide, bottom - tall, c, opacity);
  fill_rectangle(image, std::max(right - wide, left + wide), top + tall, right, bottom - tall, c, opacity);
}

namespace detail {

// The pixels of [0, size) that a shape reaching from low to high may touch.
inline std::array<int, 2> touched(float low, float high, int size) {
  return {int(std::clamp(std::floor(low) - 1, 0.f, float(size))),
          int(std::clamp(std::ceil(high) + 2, 0.f, float(size)))};
}

}  // namespace detail

// A line from (x0, y0) to (x1, y1) with round ends and smooth edges; pixel (i, j) has its centre at (i, j).
inline void draw_line(Image& image, float x0, float y0, float x1, float y1, Colour c, float thickness = 1,
                      float opacity = 1) {
  if (!std::isfinite(x0) || !std::isfinite(y0) || !std::isfinite(x1) || !std::isfinite(y1) || !(thickness > 0)) return;
  const float half = thickness / 2, dx = x1 - x0, dy = y1 - y0, length2 = dx * dx + dy * dy;
  const auto [left, right] = detail::touched(std::min(x0, x1) - half, std::max(x0, x1) + half, image.width());
  const auto [top, bottom] = detail::touched(std::min(y0, y1) - half, std::max(y0, y1) + half, image.height());
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x) {
      const float px = float(x) - x0, py = float(y) - y0;
      const float t = length2 > 0 ? std::clamp((px * dx + py * dy) / length2, 0.f, 1.f) : 0;
      const float distance = std::hypot(px - t * dx, py - t * dy);
      blend_pixel(image, x, y, c, opacity * std::clamp(half + 0.5f - distance, 0.f, 1.f));
    }
}

// A disc with a smooth edge; pixel (i, j) has its centre at (i, j).
inline void fill_disc(Image& image, float x, float y, float radius, Colour c, float opacity = 1) {
  draw_line(image, x, y, x, y, c, 2 * radius, opacity);
}

namespace detail {

// Text that the font knows: other characters become '?'.
inline std::string printable(std::string_view text) {
  std::string out(text.substr(0, 1024));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return out;
}

}  // namespace detail

inline constexpr int kTextHeight = 9;  // pixels of a line of text at scale 1, without space between lines

// Width in pixels of one line of text.
inline int text_width(std::string_view text, int scale = 1) {
  return detail::easy_font::stb_easy_font_width(detail::printable(text).data()) * scale;
}

// One line of text whose upper left corner is (left, top); each dot of a letter is scale x scale pixels.
inline void draw_text(Image& image, int left, int top, std::string_view text, Colour c, int scale = 1,
                      float opacity = 1) {
  constexpr int kFar = 1 << 29;
  left = std::clamp(left, -kFar, kFar);
  top = std::clamp(top, -kFar, kFar);
  constexpr std::size_t kQuad = 64, kPoint = 16;  // bytes: four corners of x, y, z and a colour
  std::string letters = detail::printable(text);
  std::string quads(letters.size() * 16 * kQuad, '\0');  // no letter has more than 16 strokes
  const int count =
      detail::easy_font::stb_easy_font_print(0, 0, letters.data(), nullptr, quads.data(), int(quads.size()));
  for (int i = 0; i < count; ++i) {
    std::array<float, 2> low, high;
    std::memcpy(low.data(), quads.data() + std::size_t(i) * kQuad, sizeof low);
    std::memcpy(high.data(), quads.data() + std::size_t(i) * kQuad + 2 * kPoint, sizeof high);
    fill_rectangle(image, left + int(low[0]) * scale, top + int(low[1]) * scale, left + int(high[0]) * scale,
                   top + int(high[1]) * scale, c, opacity);
  }
}

}  // namespace facellava::media

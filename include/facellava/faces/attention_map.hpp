// Draws what the nine region tokens are looked at by: a sheet of 3 x 3 panels, one a region. Each panel shows the
// square that the tower sees, a heat colour for each patch, the region's points, and the region's name with its lowest
// and highest weight. The heat runs from a panel's lowest weight to its highest: panels compare by the numbers, not by
// colour.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "facellava/faces/landmarks.hpp"
#include "facellava/media/draw.hpp"
#include "facellava/media/preprocess.hpp"

namespace facellava::faces {

struct AttentionSheet {
  int panel = 224;       // pixels of a panel's side, from 64 to 2048
  float opacity = 0.6f;  // of the hottest patch
};

// From dark violet (0) over red to pale yellow (1).
inline media::Colour heat_colour(float t) {
  static constexpr std::array<std::array<float, 3>, 6> kStops{
      {{20, 11, 53}, {101, 21, 110}, {188, 55, 84}, {237, 105, 37}, {251, 180, 26}, {252, 255, 164}}};
  const float at = std::clamp(t, 0.f, 1.f) * (kStops.size() - 1);
  const auto i = std::min(std::size_t(at), kStops.size() - 2);
  const float f = at - float(i);
  const auto mix = [&](std::size_t k) {
    return std::uint8_t(kStops[i][k] + f * (kStops[i + 1][k] - kStops[i][k]) + .5f);
  };
  return {mix(0), mix(1), mix(2)};
}

namespace detail {

// The square in the middle of the picture, `side` pixels wide: what the tower sees.
inline media::Image tower_view(const media::PixelView& picture, int side) {
  const float level = 1 / 255.f;
  const auto values = media::preprocess_image(picture, {.side = side, .mean = {}, .std = {level, level, level}});
  media::Image out(side, side);
  const std::size_t plane = std::size_t(side) * std::size_t(side);
  for (std::size_t i = 0; i < plane; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      out.row(0)[3 * i + k] = std::uint8_t(std::clamp(values[k * plane + i] + 0.5f, 0.f, 255.f));
  return out;
}

// Where a point of the picture lies in the square, as draw.hpp counts (pixel centres are whole numbers).
inline Point in_tower_view(Point p, const media::PixelView& picture, int side) {
  const auto g = media::crop_geometry(picture.width, picture.height, side);
  return {p.x * float(g.width) / float(picture.width) - float(g.left) - 0.5f,
          p.y * float(g.height) / float(picture.height) - float(g.top) - 0.5f};
}

struct Panel {
  int left, top, side;
};

// Heat over the panel for column g of weights [n * n, 9]; returns the lowest and the highest weight.
inline std::array<float, 2> draw_heat(media::Image& sheet, const Panel& at, std::span<const float> weights, int n,
                                      int g, float opacity) {
  float low = weights[std::size_t(g)], high = low;
  for (std::size_t i = std::size_t(g); i < weights.size(); i += kRegionCount) {
    low = std::min(low, weights[i]);
    high = std::max(high, weights[i]);
  }
  const auto edge = [&](int i) { return int(std::int64_t(i) * at.side / n); };
  for (int y = 0; y < n; ++y)
    for (int x = 0; x < n; ++x) {
      const float w = weights[(std::size_t(y) * std::size_t(n) + std::size_t(x)) * kRegionCount + std::size_t(g)];
      const float t = high > low ? (w - low) / (high - low) : 0;
      media::fill_rectangle(sheet, at.left + edge(x), at.top + edge(y), at.left + edge(x + 1), at.top + edge(y + 1),
                            heat_colour(t), opacity * (0.35f + 0.65f * t));
    }
  return {low, high};
}

inline void draw_region_points(media::Image& sheet, const Panel& at, std::span<const Point> points,
                               const Region& region, const media::PixelView& picture) {
  const float radius = std::max(1.5f, float(at.side) / 110);
  for (int i = 0; i < region.count; ++i) {
    const Point p = in_tower_view(points[std::size_t(region.first + i)], picture, at.side);
    if (!(p.x >= 0 && p.y >= 0 && p.x < float(at.side) && p.y < float(at.side))) continue;
    const float x = p.x + float(at.left), y = p.y + float(at.top);
    media::fill_disc(sheet, x, y, radius + 1, {0, 0, 0}, 0.7f);
    media::fill_disc(sheet, x, y, radius, {120, 255, 220});
  }
}

inline void draw_title(media::Image& sheet, const Panel& at, int top, const char* name, std::array<float, 2> range) {
  const int scale = std::max(1, at.side / 112);
  std::array<char, 64> numbers{};
  std::snprintf(numbers.data(), numbers.size(), "%.3f - %.3f", double(range[0]), double(range[1]));
  media::draw_text(sheet, at.left + 2, top, name, {240, 240, 240}, scale);
  const int small = std::max(1, scale - 1), width = media::text_width(numbers.data(), small);
  media::draw_text(sheet, at.left + at.side - 2 - width,
                   top + media::kTextHeight * (scale - small) - (scale - small) * 2, numbers.data(), {170, 170, 170},
                   small);
}

}  // namespace detail

// picture: any size; points: its 68 landmarks in pixels; weights: [n * n, 9], row by row of the patch grid, averaged
// over heads. Errors: kShape (another number of points or weights), kNonFinite (a weight or point), kArgument.
inline media::Image draw_attention(const media::PixelView& picture, std::span<const Point> points,
                                   std::span<const float> weights, const AttentionSheet& how = {}) {
  check_pixels(picture, "draw_attention");
  check_equal(kPoints, points.size(), "draw_attention: landmarks");
  if (how.panel < 64 || how.panel > 2048)
    throw Error(ErrorKind::kArgument,
                "draw_attention: expected panels of 64 to 2048 pixels, found " + std::to_string(how.panel));
  const int n = int(std::lround(std::sqrt(double(std::min<std::size_t>(weights.size(), 1 << 26)) / kRegionCount)));
  if (n < 1 || weights.size() != std::size_t(n) * std::size_t(n) * kRegionCount)
    throw Error(ErrorKind::kShape, "draw_attention: expected nine weights for each patch of a square grid, found " +
                                       std::to_string(weights.size()) + " weights");
  for (std::size_t i = 0; i < points.size(); ++i)
    if (!std::isfinite(points[i].x) || !std::isfinite(points[i].y))
      throw Error(ErrorKind::kNonFinite, "draw_attention: landmark " + std::to_string(i) + " is not finite");
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (!std::isfinite(weights[i]))
      throw Error(ErrorKind::kNonFinite, "draw_attention: the weight of patch " + std::to_string(i / kRegionCount) +
                                             " and region " + kRegions[i % kRegionCount].name + " is not finite");

  constexpr int kColumns = 3;
  const int scale = std::max(1, how.panel / 112), gap = 4 * scale, title = (media::kTextHeight + 4) * scale;
  const int across = how.panel + gap, down = how.panel + title + gap;
  media::Image sheet(gap + kColumns * across, gap + kRegionCount / kColumns * down);
  media::fill_rectangle(sheet, 0, 0, sheet.width(), sheet.height(), {28, 28, 32});
  const media::Image seen = detail::tower_view(picture, how.panel);
  for (int g = 0; g < kRegionCount; ++g) {
    const int top = gap + g / kColumns * down;
    const detail::Panel at{gap + g % kColumns * across, top + title, how.panel};
    for (int y = 0; y < at.side; ++y) std::copy_n(seen.row(y), seen.stride(), sheet.pixel(at.left, at.top + y));
    const auto range = detail::draw_heat(sheet, at, weights, n, g, how.opacity);
    detail::draw_region_points(sheet, at, points, kRegions[std::size_t(g)], picture);
    detail::draw_title(sheet, at, top + 2 * scale, kRegions[std::size_t(g)].name, range);
  }
  return sheet;
}

}  // namespace facellava::faces

// Crops in which every face stands alike: turned, scaled and shifted until the middles of the eyes and of the mouth are
// nearest to their places. What small models are trained on; the released ones are not.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>

#include "facellava/faces/crop.hpp"
#include "facellava/faces/crop_kind.hpp"

namespace facellava::faces {

// Parts of a crop's side: the middles of the eye on the left of the picture, of the other one, of the mouth.
inline constexpr std::array<Point, 3> kAlignedPlaces{{{0.35f, 0.42f}, {0.65f, 0.42f}, {0.5f, 0.755f}}};

namespace detail {

inline Point middle(const Landmarks& l, std::size_t first, std::size_t count) {
  Point sum;
  for (std::size_t i = first; i < first + count; ++i) sum = {sum.x + l[i].x, sum.y + l[i].y};
  return {sum.x / float(count), sum.y / float(count)};
}

}  // namespace detail

// The similarity that takes the face there, least squares; of a clip: of the mean of its frames' landmarks.
// Errors: kNonFinite; kArgument (no frames, or eyes and mouth at one point).
inline Affine alignment(std::span<const Landmarks> frames, int side = kCropSide) {
  std::array<Point, 3> from{};
  for (const Landmarks& l : frames)
    for (const auto& [k, p] : {std::pair(0, detail::middle(l, 36, 6)), std::pair(1, detail::middle(l, 42, 6)),
                               std::pair(2, detail::middle(l, 48, 12))})
      from[std::size_t(k)] = {from[std::size_t(k)].x + p.x / float(frames.size()),
                              from[std::size_t(k)].y + p.y / float(frames.size())};
  Point a, b;  // the middles of both triangles
  for (std::size_t k = 0; k < 3; ++k) {
    a = {a.x + from[k].x / 3, a.y + from[k].y / 3};
    b = {b.x + kAlignedPlaces[k].x * float(side) / 3, b.y + kAlignedPlaces[k].y * float(side) / 3};
  }
  float size = 0, c = 0, s = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const Point p{from[k].x - a.x, from[k].y - a.y};
    const Point q{kAlignedPlaces[k].x * float(side) - b.x, kAlignedPlaces[k].y * float(side) - b.y};
    size += p.x * p.x + p.y * p.y;
    c += p.x * q.x + p.y * q.y;
    s += p.x * q.y - p.y * q.x;
  }
  if (!std::isfinite(size) || !std::isfinite(c) || !std::isfinite(s))
    throw Error(ErrorKind::kNonFinite, "alignment: expected landmarks that are numbers");
  if (!(c * c + s * s > 1e-6f * size * size / float(side * side)))
    throw Error(ErrorKind::kArgument, "alignment: expected eyes and a mouth apart from each other");
  c /= size;
  s /= size;
  return {{c, -s, b.x - c * a.x + s * a.y, s, c, b.y - s * a.x - c * a.y}};
}

// side × side pixels of the picture under a similarity from points of the picture to points of the crop; a pixel is the
// mean over what it covers. Black outside the picture. Errors: as media::check_pixels; kArgument (nothing, or more than
// 4096 pixels of the picture, on a side of a pixel).
inline Crop warped_crop(const media::PixelView& v, const Affine& to, int side = kCropSide) {
  media::check_pixels(v, "warped_crop");
  const float size = to.m[0] * to.m[0] + to.m[3] * to.m[3];
  const float step = 1 / std::sqrt(size);  // pixels of the picture in one of the crop
  if (!(step > 0 && step <= 4096)) throw Error(ErrorKind::kArgument, "warped_crop: expected a crop of some pixels");
  const int n = std::clamp(int(std::ceil(step)), 1, 8);  // points on a side of a pixel
  const float c = to.m[0] / size, s = to.m[3] / size;    // back: of a similarity
  const ColourGrid grid = detail::colour_grid(v);
  Crop crop{media::Image(side, side), to};
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      std::array<float, 3> sum{};
      for (int i = 0; i < n * n; ++i) {
        const float px = float(x) + (float(i % n) + 0.5f) / float(n) - to.m[2];
        const float py = float(y) + (float(i / n) + 0.5f) / float(n) - to.m[5];
        const auto colour = facellava::detail::colour_at(grid, c * px + s * py - 0.5f, c * py - s * px - 0.5f);
        for (std::size_t k = 0; k < 3; ++k) sum[k] += colour[k];
      }
      for (std::size_t k = 0; k < 3; ++k) crop.image.pixel(x, y)[k] = std::uint8_t(std::lround(sum[k] / float(n * n)));
    }
  return crop;
}

// Errors: as alignment and warped_crop.
inline Crop aligned_crop(const media::PixelView& v, const Landmarks& l, int side = kCropSide) {
  return warped_crop(v, alignment(std::span(&l, 1), side), side);
}

// As a model wants it, of side kCropSide. Errors: as centred_crop or aligned_crop.
inline Crop cut_out(const media::PixelView& v, const Detection& d, const Landmarks& l, CropKind kind) {
  return kind == CropKind::kAligned ? aligned_crop(v, l) : centred_crop(v, d);
}

}  // namespace facellava::faces

// Square crops of faces, resized, with the affine that takes points of the picture along.
//   reference_crop   the released tool's arithmetic: a square from the upper left corner of the detector's
//                    whole pixels, resized as OpenCV's bilinear resize, bit by bit
//   centred_crop     a square around the middle of the box, moved into the picture, antialiased
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "facellava/faces/detector.hpp"
#include "facellava/media/image.hpp"
#include "facellava/media/resample.hpp"

namespace facellava::faces {

inline constexpr int kCropSide = 256;  // of the released data

// x' = m[0] x + m[1] y + m[2], y' = m[3] x + m[4] y + m[5].
struct Affine {
  std::array<float, 6> m{1, 0, 0, 0, 1, 0};
  Point operator()(Point p) const { return {m[0] * p.x + m[1] * p.y + m[2], m[3] * p.x + m[4] * p.y + m[5]}; }
};

struct Crop {
  media::Image image;
  Affine affine;  // from points of the picture to points of the crop
};

// Whole pixels [left, right) × [top, bottom).
struct Cut {
  int left = 0, top = 0, right = 0, bottom = 0;
};

// The released tool's crop of a picture of width × height around a box of whole pixels; margin_percent of the box is
// added on each side, but no more than the picture has on every side (it may be negative). The result is empty or
// leaves the picture where the tool fails.
inline Cut reference_cut(int width, int height, const std::array<int, 4>& box, double margin_percent) {
  const double x = box[0], y = box[1], w = box[2], h = box[3], share = margin_percent / 100;
  const double margin = std::trunc(std::min({share * w, share * h, x, y, width - x - w, height - y - h}));
  const double side = (w + h) / 2;
  const auto whole = [](double v) { return int(std::clamp(v, -1e9, 1e9)); };
  return {whole(std::max(0., x - margin)), whole(std::max(0., y - margin)),
          whole(std::min(x + side + margin, width - 1.)), whole(std::min(y + side + margin, height - 1.))};
}

namespace detail {

// For each output: two inputs and their weights in 2048ths, as OpenCV's 8-bit bilinear resize.
struct FixedTap {
  int first, second;
  int a, b;
};
inline std::vector<FixedTap> fixed_taps(int in, int out, bool zero_beyond) {
  std::vector<FixedTap> taps;
  for (int i = 0; i < out; ++i) {
    const float at = float((i + 0.5) * (double(in) / out) - 0.5);
    int first = int(std::floor(at));
    float part = at - float(first);
    if (zero_beyond && (first < 0 || first >= in - 1)) {
      first = std::clamp(first, 0, in - 1);
      part = 0;
    }
    taps.push_back({std::clamp(first, 0, in - 1), std::clamp(first + 1, 0, in - 1),
                    int(std::nearbyint(2048 * (1 - part))), int(std::nearbyint(2048 * part))});
  }
  return taps;
}

}  // namespace detail

// The pixels of a cut, resized to side × side as cv2.resize does. Errors: kShape (an empty cut or one that leaves the
// picture).
inline media::Image resize_cut(const media::PixelView& v, const Cut& c, int side = kCropSide) {
  media::check_pixels(v, "resize_cut");
  if (c.left < 0 || c.top < 0 || c.right > v.width || c.bottom > v.height || c.left >= c.right || c.top >= c.bottom)
    throw Error(ErrorKind::kShape, "resize_cut: expected pixels of a picture of " + std::to_string(v.width) + " x " +
                                       std::to_string(v.height) + ", found columns " + std::to_string(c.left) + " to " +
                                       std::to_string(c.right) + " and rows " + std::to_string(c.top) + " to " +
                                       std::to_string(c.bottom));
  const auto columns = detail::fixed_taps(c.right - c.left, side, true),
             rows = detail::fixed_taps(c.bottom - c.top, side, false);
  const int bytes = media::channels(v.format);
  media::Image out(side, side);
  for (int y = 0; y < side; ++y) {
    const detail::FixedTap& r = rows[std::size_t(y)];
    const std::uint8_t* above = v.row(c.top + r.first) + c.left * bytes;
    const std::uint8_t* below = v.row(c.top + r.second) + c.left * bytes;
    for (int x = 0; x < side; ++x) {
      const detail::FixedTap& t = columns[std::size_t(x)];
      for (int k = 0; k < 3; ++k) {
        const int at = media::channel_of(v.format, k);
        const auto sum = [&](const std::uint8_t* row) {
          return row[t.first * bytes + at] * t.a + row[t.second * bytes + at] * t.b;
        };
        out.pixel(x, y)[k] =
            std::uint8_t((((r.a * (sum(above) >> 4)) >> 16) + ((r.b * (sum(below) >> 4)) >> 16) + 2) >> 2);
      }
    }
  }
  return out;
}

inline Affine affine_of(const Cut& c, int side = kCropSide) {
  const float x = float(side) / float(c.right - c.left), y = float(side) / float(c.bottom - c.top);
  return {{x, 0, -x * float(c.left), 0, y, -y * float(c.top)}};
}

// What the released tool makes of a picture with this one face. Errors: as resize_cut, check_box.
inline Crop reference_crop(const media::PixelView& v, const Detection& d, double margin_percent = 0) {
  check_box(d.box, "reference_crop");
  const std::array<int, 4> box{int(d.box.x), int(d.box.y), int(d.box.width), int(d.box.height)};
  const Cut cut = reference_cut(v.width, v.height, box, margin_percent);
  return {resize_cut(v, cut), affine_of(cut)};
}

// A square around the middle of the box, margin_percent of its longer side added on each side; moved into the picture
// and no larger than it.
inline Cut centred_cut(int width, int height, const Box& b, double margin_percent) {
  const double wanted = std::max(b.width, b.height) * (1 + 2 * margin_percent / 100);
  const int side = std::clamp(int(std::lround(wanted)), 1, std::min(width, height));
  const auto start = [side](double middle, int size) {
    return int(std::clamp<long>(std::lround(middle - side / 2.), 0, size - side));
  };
  const int left = start(b.x + b.width / 2, width), top = start(b.y + b.height / 2, height);
  return {left, top, left + side, top + side};
}

inline Crop centred_crop(const media::PixelView& v, const Detection& d, double margin_percent = 0,
                         int side = kCropSide) {
  media::check_pixels(v, "centred_crop");
  check_box(d.box, "centred_crop");
  const Cut cut = centred_cut(v.width, v.height, d.box, margin_percent);
  media::PixelView part = v;
  part.data = v.row(cut.top) + cut.left * media::channels(v.format);
  part.width = part.height = cut.right - cut.left;
  return {media::resized(part, side, side), affine_of(cut, side)};
}

}  // namespace facellava::faces

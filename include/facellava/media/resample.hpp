// Separable resampling of 8-bit pixels into normalised planes of floats:
//   out[c, i, j] = ( Σ_y Σ_x wy(i, y) wx(j, x) pixel(y, x, c) / 255 − mean[c] ) / std[c]
// Only the rows and columns that are asked for are computed, so that the memory needed does not depend on how large the
// whole resized picture would be. Vertical first: a row of floats collects whole rows of bytes, which vectorises.
//
// Bicubic: a = −0.5, antialiased, not clamped (torchvision's Resize on float tensors). Bilinear: two taps, pixel
// centres at ½, not antialiased (torch's interpolate with align_corners=False).
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "facellava/media/image.hpp"

namespace facellava::media {

inline constexpr std::array<float, 3> kClipMean{.48145466f, .4578275f, .40821073f};
inline constexpr std::array<float, 3> kClipStd{.26862954f, .26130258f, .27577711f};

// For each output of one axis, which inputs it sums with which weights. Each has `width` weights, zeros behind its own.
struct Taps {
  int width = 0;                    // a multiple of kBlock
  std::vector<std::int64_t> first;  // [outputs], never descending
  std::vector<float> weights;       // [outputs, width]

  static constexpr int kBlock = 4;
  std::int64_t outputs() const { return std::int64_t(first.size()); }
  const float* of(std::int64_t i) const { return weights.data() + i * width; }
};

namespace detail {

inline double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((x - 5) * x + 8) * x * a - 4 * a;
  return 0;
}

inline Taps empty_taps(std::int64_t most, int outputs) {
  const auto width = (most + Taps::kBlock - 1) / Taps::kBlock * Taps::kBlock;
  Taps t;
  t.width = int(width);
  t.first.resize(std::size_t(outputs));
  t.weights.resize(std::size_t(outputs) * std::size_t(width));
  return t;
}

}  // namespace detail

// Outputs [begin, begin + count) of `in` inputs resized to `out`.
inline Taps bicubic_taps(std::int64_t in, std::int64_t out, std::int64_t begin, int count) {
  const double scale = double(in) / double(out), wide = std::max(scale, 1.0), support = 2 * wide;
  Taps t = detail::empty_taps(std::min(in, std::int64_t(2 * support) + 2), count);
  for (int i = 0; i < count; ++i) {
    const double centre = scale * (double(begin + i) + 0.5);
    const auto first = std::max(std::int64_t(centre - support + 0.5), std::int64_t(0));
    const auto end = std::min(std::int64_t(centre + support + 0.5), in);
    t.first[std::size_t(i)] = first;
    float* w = t.weights.data() + std::ptrdiff_t(i) * t.width;
    const auto weight = [&](std::int64_t j) { return detail::cubic((double(j) - centre + 0.5) / wide); };
    double sum = 0;
    for (auto j = first; j < end; ++j) sum += weight(j);
    for (auto j = first; j < end; ++j) w[j - first] = float(weight(j) / sum);
  }
  return t;
}

// Outputs [begin, begin + count) of `in` inputs resized to `out`.
inline Taps bilinear_taps(std::int64_t in, std::int64_t out, std::int64_t begin, int count) {
  const double scale = double(in) / double(out);
  Taps t = detail::empty_taps(2, count);
  for (int i = 0; i < count; ++i) {
    const double at = std::max(scale * (double(begin + i) + 0.5) - 0.5, 0.0);
    const auto first = std::min(std::int64_t(at), in - 1);
    t.first[std::size_t(i)] = first;
    float* w = t.weights.data() + std::ptrdiff_t(i) * t.width;
    const bool last = first == in - 1;
    w[0] = last ? 1 : float(1 - (at - double(first)));
    w[1] = last ? 0 : float(at - double(first));
  }
  return t;
}

// A picture in the middle of a larger canvas of one colour. The canvas is never stored.
struct Canvas {
  std::int64_t width = 0, height = 0;       // of the canvas
  std::int64_t left = 0, top = 0;           // of the picture within it
  std::array<std::uint8_t, 3> colour = {};  // red, green, blue around the picture
};

namespace detail {

// Sums the rows of tap set i into acc[columns * K], which is canvas columns [x0, x0 + columns) of K channels.
template <int K>
void gather_rows(std::vector<float>& acc, const PixelView& v, const Canvas& c, const Taps& rows, std::int64_t i,
                 std::int64_t x0, std::int64_t columns) {
  std::array<float, K> around{};
  for (int k = 0; k < 3; ++k) around[std::size_t(channel_of(v.format, k))] = float(c.colour[std::size_t(k)]);
  const auto from = std::clamp<std::int64_t>(c.left - x0, 0, columns);
  const auto to = std::clamp<std::int64_t>(c.left + v.width - x0, from, columns);
  const auto fill = [&](std::int64_t a, std::int64_t b, float weight) {
    for (auto x = a; x < b; ++x)
      for (int k = 0; k < K; ++k) acc[std::size_t(x * K + k)] = weight * around[std::size_t(k)];
  };
  const float* w = rows.of(i);
  float outside = 0;
  for (int j = 0; j < rows.width; ++j) {
    const auto y = rows.first[std::size_t(i)] + j - c.top;
    if (y < 0 || y >= v.height) outside += w[j];
  }
  fill(0, from, 1);
  fill(from, to, outside);
  fill(to, columns, 1);
  float* const sum = acc.data() + from * K;
  const std::ptrdiff_t count = (to - from) * K, skip = (x0 + from - c.left) * K;
  for (int j = 0; j < rows.width; ++j) {
    const auto y = rows.first[std::size_t(i)] + j - c.top;
    if (w[j] == 0 || y < 0 || y >= v.height) continue;
    const std::uint8_t* in = v.row(int(y)) + skip;
    const float weight = w[j];
    for (std::ptrdiff_t x = 0; x < count; ++x) sum[x] += weight * float(in[x]);
  }
}

// The weights of each output repeated for each of K channels: a run of floats that lies like a row of pixels.
template <int K>
std::vector<float> repeated_weights(const Taps& t) {
  std::vector<float> out(t.weights.size() * K);
  for (std::size_t i = 0; i < t.weights.size(); ++i) std::fill_n(out.begin() + std::ptrdiff_t(i * K), K, t.weights[i]);
  return out;
}

template <int K>
void resample(float* out, const PixelView& v, const Canvas& c, const Taps& rows, const Taps& columns,
              const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  constexpr int kRun = Taps::kBlock * K;
  const std::int64_t x0 = columns.first.front(), across = columns.outputs(), down = rows.outputs();
  const auto used = std::min(columns.first.back() + columns.width, c.width) - x0;
  const std::vector<float> weights = repeated_weights<K>(columns);
  std::vector<float> acc(std::size_t(columns.first.back() - x0 + columns.width) * K);  // zeros behind the last column
  std::array<float, 3> scale, shift;
  for (std::size_t k = 0; k < 3; ++k) {
    scale[k] = 1 / (255 * std[k]);
    shift[k] = -mean[k] / std[k];
  }
  for (std::int64_t i = 0; i < down; ++i) {
    gather_rows<K>(acc, v, c, rows, i, x0, used);
    for (std::int64_t j = 0; j < across; ++j) {
      const float* a = acc.data() + (columns.first[std::size_t(j)] - x0) * K;
      const float* w = weights.data() + j * columns.width * K;
      std::array<float, kRun> lane{};
      for (int t = 0; t < columns.width * K; t += kRun)
        for (int l = 0; l < kRun; ++l) lane[std::size_t(l)] += w[t + l] * a[t + l];
      for (int k = 0; k < 3; ++k) {
        const auto at = std::size_t(channel_of(v.format, k));
        const float sum = (lane[at] + lane[at + 2 * K]) + (lane[at + K] + lane[at + 3 * K]);
        out[(k * down + i) * across + j] = sum * scale[std::size_t(k)] + shift[std::size_t(k)];
      }
    }
  }
}

}  // namespace detail

// out: [3, rows.outputs(), columns.outputs()], overwritten. Taps index the canvas. v: any format; a grey picture on a
// canvas that is larger than itself is not meant for here (its surroundings are one grey).
inline void resample(float* out, const PixelView& v, const Canvas& canvas, const Taps& rows, const Taps& columns,
                     const std::array<float, 3>& mean, const std::array<float, 3>& std) {
  switch (channels(v.format)) {
    case 1: return detail::resample<1>(out, v, canvas, rows, columns, mean, std);
    case 3: return detail::resample<3>(out, v, canvas, rows, columns, mean, std);
    default: return detail::resample<4>(out, v, canvas, rows, columns, mean, std);
  }
}

// The picture in RGB at another size: bicubic, antialiased. Errors: as check_pixels; kShape (a size below 1).
inline Image resized(const PixelView& v, int width, int height) {
  check_pixels(v, "resized");
  Image out(width, height);
  const std::size_t plane = std::size_t(width) * std::size_t(height);
  std::vector<float> planes(3 * plane);
  resample(planes.data(), v, {.width = v.width, .height = v.height}, bicubic_taps(v.height, height, 0, height),
           bicubic_taps(v.width, width, 0, width), {0, 0, 0}, {1, 1, 1});
  for (std::size_t i = 0; i < plane; ++i)
    for (std::size_t k = 0; k < 3; ++k)
      out.row(0)[3 * i + k] = std::uint8_t(std::lround(std::clamp(planes[k * plane + i], 0.f, 1.f) * 255));
  return out;
}

}  // namespace facellava::media

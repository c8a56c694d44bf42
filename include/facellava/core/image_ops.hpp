// The ops of convolutional nets, as core/ops.hpp: checked front doors, devices with members of the same names.
// Pictures are [images · height, width, channels], one below the other; Window says how many there are.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "facellava/core/ops.hpp"

namespace facellava {

// A window of taps that moves over each picture; what lies outside counts as zero, for max_pool as nothing. Every
// window has a tap inside.
struct Window {
  int images = 1;
  int height = 1, width = 1;  // taps
  int stride_y = 1, stride_x = 1;
  int top = 0, left = 0;  // of the first window, above and left of the picture
};

// Points of a grid over a picture of bytes, and what becomes of their colours.
struct ColourGrid {
  const std::uint8_t* data;  // the top row
  int width, height;
  std::ptrdiff_t stride;       // bytes from a row to the one below
  int bytes;                   // of a pixel
  std::array<int, 3> channel;  // where red, green and blue stand in it
  float x, y;                  // of the first point, in pixels
  float across_x, across_y;    // from a point to the next one of its row
  float down_x, down_y;        // and of its column
  std::array<float, 3> mean;   // (level of 0 to 255 − mean) / range
  float range;
};

namespace detail {

// Red, green and blue at (x, y): bilinear, rounded to whole levels, ties to even; what lies outside is black.
inline std::array<float, 3> colour_at(const ColourGrid& g, float x, float y) {
  std::array<float, 3> colour{};
  if (!(x > -1 && y > -1 && x < float(g.width) && y < float(g.height))) return colour;
  const int u = int(x + 1) - 1, w = int(y + 1) - 1;  // rounded down: both are above −1
  const float a = x - float(u), b = y - float(w);
  const float shares[4] = {(1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a};
  for (int i = 0; i < 4; ++i) {
    const int column = u + i % 2, row = w + i / 2;
    if (column < 0 || row < 0 || column >= g.width || row >= g.height) continue;
    const std::uint8_t* p = g.data + row * g.stride + std::ptrdiff_t(column) * g.bytes;
    for (std::size_t c = 0; c < 3; ++c) colour[c] += shares[i] * float(p[g.channel[c]]);
  }
  for (float& c : colour) c = std::nearbyint(c);
  return colour;
}

template <class Y, class X>
void check_window(const Y& y, const X& x, const Window& w, const char* what) {
  if (w.images < 1 || w.height < 1 || w.width < 1 || w.stride_y < 1 || w.stride_x < 1 || w.top < 0 || w.left < 0)
    throw Error(ErrorKind::kArgument, std::string(what) + ": expected sizes and strides of at least 1");
  check_equal(0, x.size(0) % w.images, what);
  check_equal(0, y.size(0) % w.images, what);
  const auto inside = [](Index from, Index to, int taps, int stride, int before) {  // the first window and the last
    return before < taps && (to - 1) * stride - before < from;
  };
  if (!inside(x.size(0) / w.images, y.size(0) / w.images, w.height, w.stride_y, w.top) ||
      !inside(x.size(1), y.size(1), w.width, w.stride_x, w.left))
    throw Error(ErrorKind::kShape, std::string(what) + ": expected windows that each have a tap inside the picture");
}

// Where point i of n lies between the m points of a line: the one before it, the one behind it, the latter's share.
struct Between {
  Index before, after;
  float share;
};
inline Between between(Index i, Index n, Index m) {
  const float at = std::clamp((float(i) + 0.5f) * float(m) / float(n) - 0.5f, 0.f, float(m - 1));
  const auto before = Index(at);
  return {before, std::min(before + 1, m - 1), at - float(before)};
}

}  // namespace detail

// y[p, o] = f(bias[o] + Σ x[taps of p, i] w[tap, i, o] + residual[p, o]), f: PReLU with slope[o], or nothing.
// x [n h, w, in], y, residual [n h', w', out], w [height · width · in, out], bias, slope [out]; residual and slope may
// be None.  =   residual may be y.
template <class D, class Y, class X, class W, class B, class R, class S>
void conv(D& dev, Y y, X x, W w, B bias, R residual, S slope, const Window& window) {
  here<D, Y, X, W, B, R, S>();
  detail::check_window(y, x, window, "conv: rows of whole pictures");
  check_equal(window.height * window.width * x.size(2), w.size(0), "conv: rows of w");
  same<1, 2>(w, y, "conv: columns of w and channels of y");
  same<0, 2>(bias, y, "conv: bias and channels of y");
  same<0, 0>(residual, y, "conv: rows of the residual");
  if constexpr (kPresent<R>) check_equal(y.stride, residual.stride, "conv: stride of the residual, which lies as y");
  same<1, 1>(residual, y, "conv: width of the residual");
  same<2, 2>(residual, y, "conv: channels of the residual");
  same<0, 2>(slope, y, "conv: slopes and channels of y");
  dev.conv(out(y), in(x), in(w), in(bias), in(residual), in(slope), window);
}

// y[p, c] = bias[c] + Σ x[taps of p, c] w[tap, c].   x [n h, w, c], y [n h', w', c], w [height · width, c], bias [c]. =
template <class D, class Y, class X, class W, class B>
void depthwise_conv(D& dev, Y y, X x, W w, B bias, const Window& window) {
  here<D, Y, X, W, B>();
  detail::check_window(y, x, window, "depthwise_conv: rows of whole pictures");
  check_equal(window.height * window.width, w.size(0), "depthwise_conv: rows of w");
  same<1, 2>(w, y, "depthwise_conv: columns of w and channels of y");
  same<2, 2>(x, y, "depthwise_conv: channels");
  same<0, 2>(bias, y, "depthwise_conv: bias and channels of y");
  dev.depthwise_conv(out(y), in(x), in(w), in(bias), window);
}

// y[p, c] = max x[taps of p, c].   x [n h, w, c], y [n h', w', c].  =
template <class D, class Y, class X>
void max_pool(D& dev, Y y, X x, const Window& window) {
  here<D, Y, X>();
  detail::check_window(y, x, window, "max_pool: rows of whole pictures");
  same<2, 2>(x, y, "max_pool: channels");
  dev.max_pool(out(y), in(x), window);
}

// y[p, c] = the mean of x[taps of p, c], of those inside the picture.   x [n h, w, c], y [n h', w', c].  =
template <class D, class Y, class X>
void average_pool(D& dev, Y y, X x, const Window& window) {
  here<D, Y, X>();
  detail::check_window(y, x, window, "average_pool: rows of whole pictures");
  same<2, 2>(x, y, "average_pool: channels");
  dev.average_pool(out(y), in(x), window);
}

// Each picture resized, bilinear between the centres of pixels, the edge's beyond them, never antialiased.
// x [n h, w, c], y [n h', w', c].  =
template <class D, class Y, class X>
void resize_bilinear(D& dev, Y y, X x, int images) {
  here<D, Y, X>();
  same<2, 2>(x, y, "resize_bilinear: channels");
  check_equal(0, x.size(0) % images, "resize_bilinear: rows of whole pictures");
  check_equal(0, y.size(0) % images, "resize_bilinear: rows of whole pictures");
  dev.resize_bilinear(out(y), in(x), images);
}

// y[r, c] = the colours of point c of row r of the grid, as detail::colour_at has them.   y [h, w, 3].  =
template <class D, class Y>
void sample_colours(D& dev, Y y, const ColourGrid& grid) {
  here<D, Y>();
  check_equal(3, y.size(2), "sample_colours: channels");
  dev.sample_colours(out(y), grid);
}

// y = f(a + b), f: PReLU with slope[c], or nothing.   a, b, y [r, c], slope [c] or None.  =   y may be a or b.
template <class D, class Y, class A, class B, class S>
void add(D& dev, Y y, A a, B b, S slope) {
  here<D, Y, A, B, S>();
  same<0, 0>(y, a, "add: rows");
  same<1, 1>(y, a, "add: width");
  same<0, 0>(y, b, "add: rows");
  same<1, 1>(y, b, "add: width");
  same<0, 1>(slope, y, "add: slopes");
  dev.add(out(y), in(a), in(b), in(slope));
}

// y = x for x > 0, slope · x else.   x, y [r, c], slope [c].  =   y may be x.
template <class D, class Y, class X, class S>
void prelu(D& dev, Y y, X x, S slope) {
  here<D, Y, X, S>();
  same<0, 0>(y, x, "prelu: rows");
  same<1, 1>(y, x, "prelu: width");
  same<0, 1>(slope, y, "prelu: slopes");
  dev.prelu(out(y), in(x), in(slope));
}

}  // namespace facellava

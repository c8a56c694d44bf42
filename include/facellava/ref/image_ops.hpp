// The reference device's ops of convolutional nets; what each does stands in core/image_ops.hpp.
#pragma once
#include "facellava/core/image_ops.hpp"

namespace facellava::ref {

// Calls f(tap, row of x, column of x) for the taps of output (r, c) that lie inside its picture.
void for_each_tap(const auto& y, const auto& x, const Window& w, Index r, Index c, auto f) {
  const Index high = y.size(0) / w.images, deep = x.size(0) / w.images, image = r / high;
  for (Index a = 0; a < w.height; ++a)
    for (Index b = 0; b < w.width; ++b) {
      const Index i = r % high * w.stride_y - w.top + a, j = c * w.stride_x - w.left + b;
      if (i >= 0 && i < deep && j >= 0 && j < x.size(1)) f(a * w.width + b, image * deep + i, j);
    }
}

class ImageOps {
 public:
  void conv(auto y, auto x, auto w, auto bias, auto residual, auto slope, const Window& window) {
    each(y, [&](Index r, Index c, Index o) {
      auto total = bias(o) * 1;
      for_each_tap(y, x, window, r, c, [&](Index tap, Index i, Index j) {
        for (Index k = 0; k < x.size(2); ++k) total += x(i, j, k) * w(tap * x.size(2) + k, o);
      });
      if constexpr (kPresent<decltype(residual)>) total += residual(r, c, o);
      y(r, c, o) = bent(total, slope, o);
    });
  }
  void depthwise_conv(auto y, auto x, auto w, auto bias, const Window& window) {
    each(y, [&](Index r, Index c, Index o) {
      auto total = bias(o) * 1;
      for_each_tap(y, x, window, r, c, [&](Index tap, Index i, Index j) { total += x(i, j, o) * w(tap, o); });
      y(r, c, o) = total;
    });
  }
  void max_pool(auto y, auto x, const Window& window) {
    each(y, [&](Index r, Index c, Index o) {
      bool first = true;
      for_each_tap(y, x, window, r, c, [&](Index, Index i, Index j) {
        if (first || x(i, j, o) > y(r, c, o)) y(r, c, o) = x(i, j, o);
        first = false;
      });
    });
  }
  void average_pool(auto y, auto x, const Window& window) {
    each(y, [&](Index r, Index c, Index o) {
      auto total = x(0, 0, 0) * 0;
      int taps = 0;
      for_each_tap(y, x, window, r, c, [&](Index, Index i, Index j) {
        total += x(i, j, o);
        ++taps;
      });
      y(r, c, o) = total / taps;
    });
  }
  void sample_colours(auto y, const ColourGrid& g) {
    each(y, [&](Index r, Index c, Index k) {
      const auto colour = detail::colour_at(g, g.x + float(c) * g.across_x + float(r) * g.down_x,
                                            g.y + float(c) * g.across_y + float(r) * g.down_y);
      y(r, c, k) = (colour[std::size_t(k)] - g.mean[std::size_t(k)]) / g.range;
    });
  }
  void resize_bilinear(auto y, auto x, int images) {
    const Index high = y.size(0) / images, deep = x.size(0) / images;
    each(y, [&](Index r, Index c, Index o) {
      const auto v = detail::between(r % high, high, deep), h = detail::between(c, y.size(1), x.size(1));
      const auto across = [&](Index row) {
        row += r / high * deep;
        return x(row, h.before, o) * (1 - h.share) + x(row, h.after, o) * h.share;
      };
      y(r, c, o) = across(v.before) * (1 - v.share) + across(v.after) * v.share;
    });
  }
  void add(auto y, auto a, auto b, auto slope) {
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) y(r, c) = bent(a(r, c) + b(r, c), slope, c);
  }
  void prelu(auto y, auto x, auto slope) {
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) y(r, c) = bent(x(r, c) * 1, slope, c);
  }

 private:
  template <class T, class S>
  static T bent(T v, const S& slope, Index c) {
    if constexpr (kPresent<S>)
      return v > 0 ? v : slope(c) * v;
    else
      return v;
  }
  static void each(auto y, auto f) {
    for (Index r = 0; r < y.size(0); ++r)
      for (Index c = 0; c < y.size(1); ++c)
        for (Index o = 0; o < y.size(2); ++o) f(r, c, o);
  }
};

}  // namespace facellava::ref

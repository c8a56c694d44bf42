// The CPU device's ops of convolutional nets; what each does stands in core/image_ops.hpp.
#pragma once
#include "facellava/core/image_ops.hpp"
#include "facellava/cpu/engine.hpp"

namespace facellava::cpu {

class ImageOps : public Engine {
 public:
  using Engine::Engine;

  // Rows of taps, gathered, by the rows of w. A single tap needs no gathering.
  void conv(Ten y, CTen x, CMat w, CVec bias, const Window& window) {
    const Index high = y.rows() / window.images, width = y.size(1), in = x.size(2), out = y.size(2);
    const bool point = window.height == 1 && window.width == 1;
    each_row(y.rows(), w.count(), [&](Index r, int thread) {
      float* to = y.row(r);
      for (Index c = 0; c < width; ++c) std::copy_n(bias.data, out, to + c * out);
      const Index image = r / high, row = r % high * window.stride_y - window.top;
      const float* p = nullptr;
      Index step = w.rows();
      if (point) {
        p = &x(image * (x.rows() / window.images) + row, 0, 0);
        step = in * window.stride_x;
      } else {
        float* taps = scratch(thread).rows(width * w.rows());
        for (Index c = 0; c < width; ++c)
          gather(taps + c * w.rows(), x, window, image, row, c * window.stride_x - window.left);
        p = taps;
      }
      kernels_->weigh(to, out, p, step, w.data, w.stride, width, w.rows(), out);
    });
  }

  void depthwise_conv(Ten y, CTen x, CMat w, CVec bias, const Window& window) {
    const Index channels = y.size(2);
    each_window(y, x, window, [&](float* to, const Inside& t) {
      kernels_->depthwise(to, t.x, x.stride, w.row(t.row * window.width + t.column), window.width * w.stride, bias.data,
                          channels, t.rows, t.columns);
    });
  }
  void max_pool(Ten y, CTen x, const Window& window) {
    each_window(y, x, window, [&](float* to, const Inside& t) {
      kernels_->maximum(to, t.x, x.stride, y.size(2), t.rows, t.columns);
    });
  }
  void prelu(Mat y, CMat x, CVec slope) {
    each_row(y.rows(), y.size(1), [&](Index r, int) { kernels_->prelu(y.row(r), x.row(r), slope.data, y.size(1)); });
  }

 private:
  // The taps of a window that lie inside the picture: from tap (row, column) on, at x.
  struct Inside {
    const float* x;
    Index row, column, rows, columns;
  };

  // Calls f(pixel of y, Inside) for each.
  template <class F>
  void each_window(Ten y, CTen x, const Window& w, F f) {
    const Index high = y.rows() / w.images, deep = x.rows() / w.images, wide = x.size(1), channels = y.size(2);
    each_row(y.rows(), y.size(1) * channels * w.height * w.width, [&](Index r, int) {
      const Index first = r % high * w.stride_y - w.top;
      Inside t{};
      t.row = std::max<Index>(0, -first);
      t.rows = std::min<Index>(w.height, deep - first) - t.row;
      for (Index c = 0; c < y.size(1); ++c) {
        const Index left = c * w.stride_x - w.left;
        t.column = std::max<Index>(0, -left);
        t.columns = std::min<Index>(w.width, wide - left) - t.column;
        t.x = &x(r / high * deep + first + t.row, left + t.column, 0);
        f(y.row(r) + c * channels, t);
      }
    });
  }
  // [height · width · in] taps of the window whose first is (row, column) of a picture; zeros outside.
  static void gather(float* taps, CTen x, const Window& w, Index image, Index row, Index column) {
    const Index deep = x.rows() / w.images, in = x.size(2);
    for (Index a = 0; a < w.height; ++a)
      for (Index b = 0; b < w.width; ++b, taps += in) {
        const Index i = row + a, j = column + b;
        if (i >= 0 && i < deep && j >= 0 && j < x.size(1))
          std::copy_n(&x(image * deep + i, j, 0), in, taps);
        else
          std::fill_n(taps, in, 0.f);
      }
  }
};

}  // namespace facellava::cpu

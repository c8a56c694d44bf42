// The CPU device's ops of convolutional nets; what each does stands in core/image_ops.hpp.
#pragma once
#include "facellava/core/image_ops.hpp"
#include "facellava/cpu/engine.hpp"

namespace facellava::cpu {

class ImageOps : public Engine {
 public:
  using Engine::Engine;

  // Rows of taps, gathered, by the rows of w. A single tap needs no gathering.
  template <class S>
  void conv(Ten y, CTen x, CMat w, CVec bias, S slope, const Window& window) {
    const Index high = y.rows() / window.images, width = y.size(1), in = x.size(2), out = y.size(2);
    const bool point = window.height == 1 && window.width == 1;
    row_.resize(std::size_t(width * out));
    for (Index c = 0; c < width; ++c) std::copy_n(bias.data, out, row_.data() + c * out);
    each_row(y.rows(), w.count(), [&](Index r, int thread) {
      float* to = y.row(r);
      std::copy(row_.begin(), row_.end(), to);
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
      if constexpr (kPresent<S>) kernels_->add_prelu(to, to, nullptr, slope.data, width, out);
    });
  }

  void depthwise_conv(Ten y, CTen x, CMat w, CVec bias, const Window& window) {
    const Index channels = y.size(2);
    each_run(y, x, window, [&](float* to, const Inside& t) {
      kernels_->depthwise(to, t.x, x.stride, window.stride_x * channels, w.row(t.row * window.width + t.column),
                          window.width * w.stride, bias.data, channels, t.rows, t.columns, t.pixels);
    });
  }
  void max_pool(Ten y, CTen x, const Window& window) {
    const Index channels = y.size(2), step = window.stride_x * channels;
    each_run(y, x, window, [&](float* to, const Inside& t) {
      for (Index i = 0; i < t.pixels; ++i)
        kernels_->maximum(to + i * channels, t.x + i * step, x.stride, channels, t.rows, t.columns);
    });
  }
  template <class S>
  void add(Mat y, CMat a, CMat b, S slope) {
    const float* bend = nullptr;
    if constexpr (kPresent<S>) bend = slope.data;
    each_row(y.rows(), y.size(1),
             [&](Index r, int) { kernels_->add_prelu(y.row(r), a.row(r), b.row(r), bend, 1, y.size(1)); });
  }
  void prelu(Mat y, CMat x, CVec slope) {
    each_row(y.rows(), y.size(1),
             [&](Index r, int) { kernels_->add_prelu(y.row(r), x.row(r), nullptr, slope.data, 1, y.size(1)); });
  }

 private:
  // The taps of a window that lie inside the picture: from tap (row, column) on, at x. They are the same for this pixel
  // of y and those behind it, `pixels` in all.
  struct Inside {
    const float* x;
    Index row, column, rows, columns, pixels;
  };

  // Calls f(pixel of y, Inside) for runs of pixels.
  template <class F>
  void each_run(Ten y, CTen x, const Window& w, F f) {
    const Index high = y.rows() / w.images, deep = x.rows() / w.images, wide = x.size(1), channels = y.size(2);
    const Index whole = (wide - w.width + w.left) / w.stride_x;  // the last column of y whose window ends inside
    each_row(y.rows(), y.size(1) * channels * w.height * w.width, [&](Index r, int) {
      const Index first = r % high * w.stride_y - w.top;
      Inside t{};
      t.row = std::max<Index>(0, -first);
      t.rows = std::min<Index>(w.height, deep - first) - t.row;
      for (Index c = 0; c < y.size(1); c += t.pixels) {
        const Index left = c * w.stride_x - w.left;
        t.column = std::max<Index>(0, -left);
        t.columns = std::min<Index>(w.width, wide - left) - t.column;
        t.pixels = t.columns < w.width ? 1 : std::min(y.size(1), whole + 1) - c;
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

  std::vector<float> row_;  // of a conv: the bias, once a pixel
};

}  // namespace facellava::cpu

// The CPU device's ops of convolutional nets; what each does stands in core/image_ops.hpp.
#pragma once
#include "facellava/core/image_ops.hpp"
#include "facellava/cpu/engine.hpp"
#include "facellava/cpu/image_isa.hpp"

namespace facellava::cpu {

class ImageOps : public Engine {
 public:
  using Engine::Engine;

  template <class R, class S>
  void conv(Ten y, CTen x, CMat w, CVec bias, R residual, S slope, const Window& window) {
    each_run(y, x, window, w.rows() * y.size(2), [&](Run run, Index row, Index column, Index r, Index c) {
      run.w = w.row((row * window.width + column) * run.in);
      run.ldk = w.stride;
      run.ldw = window.width * run.in * w.stride;
      run.bias = bias.data;
      if constexpr (kPresent<R>) run.residual = &residual(r, c, 0);
      if constexpr (kPresent<S>) run.slope = slope.data;
      image_kernels(isa_).convolve(run);
    });
  }
  void depthwise_conv(Ten y, CTen x, CMat w, CVec bias, const Window& window) {
    each_run(y, x, window, w.count(), [&](Run run, Index row, Index column, Index, Index) {
      run.w = w.row(row * window.width + column);
      run.ldk = w.stride;
      run.ldw = window.width * w.stride;
      run.bias = bias.data;
      image_kernels(isa_).depthwise(run);
    });
  }
  void max_pool(Ten y, CTen x, const Window& window) {
    each_run(y, x, window, y.size(2) * window.height * window.width,
             [&](const Run& run, Index, Index, Index, Index) { image_kernels(isa_).maximum(run); });
  }
  void average_pool(Ten y, CTen x, const Window& window) {
    each_run(y, x, window, y.size(2) * window.height * window.width, [&](const Run& run, Index, Index, Index, Index) {
      const float share = 1 / float(run.rows * run.columns);
      std::fill_n(run.y, run.pixels * run.out, 0.f);
      for (Index i = 0; i < run.pixels; ++i)
        for (Index a = 0; a < run.rows; ++a)
          for (Index b = 0; b < run.columns; ++b)
            kernels_->axpy(run.y + i * run.out, run.x + i * run.step + a * run.ldx + b * run.out, share, run.out);
    });
  }
  void sample_colours(Ten y, const ColourGrid& grid) {
    each_row(y.rows(), y.size(1) * 16,
             [&](Index r, int) { image_kernels(isa_).colours(y.row(r), y.size(1), r, grid); });
  }
  void resize_bilinear(Ten y, CTen x, int images) {
    const Index high = y.rows() / images, deep = x.rows() / images, channels = y.size(2);
    each_row(y.rows(), y.size(1) * channels * 4, [&](Index r, int) {
      const auto v = detail::between(r % high, high, deep);
      const Index above = r / high * deep + v.before, below = r / high * deep + v.after;
      float* to = y.row(r);
      std::fill_n(to, y.size(1) * channels, 0.f);
      for (Index c = 0; c < y.size(1); ++c, to += channels) {
        const auto h = detail::between(c, y.size(1), x.size(1));
        kernels_->axpy(to, &x(above, h.before, 0), (1 - v.share) * (1 - h.share), channels);
        kernels_->axpy(to, &x(above, h.after, 0), (1 - v.share) * h.share, channels);
        kernels_->axpy(to, &x(below, h.before, 0), v.share * (1 - h.share), channels);
        kernels_->axpy(to, &x(below, h.after, 0), v.share * h.share, channels);
      }
    });
  }
  template <class S>
  void add(Mat y, CMat a, CMat b, S slope) {
    const float* bend = nullptr;
    if constexpr (kPresent<S>) bend = slope.data;
    each_span(y, {a, b}, [&](Index r, Index rows) {
      image_kernels(isa_).add_prelu(y.row(r), a.row(r), b.row(r), bend, rows, y.size(1));
    });
  }
  void prelu(Mat y, CMat x, CVec slope) {
    each_span(y, {x}, [&](Index r, Index rows) {
      image_kernels(isa_).add_prelu(y.row(r), x.row(r), nullptr, slope.data, rows, y.size(1));
    });
  }

 private:
  // Calls f(run, row, column, r, c) for runs of windows whose taps inside the picture are the same, from tap (row,
  // column) on; the run begins at y(r, c). work: of a pixel.
  template <class F>
  void each_run(Ten y, CTen x, const Window& w, Index work, F f) {
    if (w.height == 1 && w.width == 1 && w.stride_y == 1 && w.stride_x == 1 && x.contiguous() && y.contiguous())
      return each_pixel(y, x, work, f);
    const Index high = y.rows() / w.images, deep = x.rows() / w.images, wide = x.size(1);
    const Index whole = (wide - w.width + w.left) / w.stride_x;  // the last column of y whose window ends inside
    each_row(y.rows(), y.size(1) * work, [&](Index r, int) {
      const Index above = r % high * w.stride_y - w.top, row = std::max<Index>(0, -above);
      for (Index c = 0, pixels = 0; c < y.size(1); c += pixels) {
        const Index left = c * w.stride_x - w.left, column = std::max<Index>(0, -left);
        const Index columns = std::min<Index>(w.width, wide - left) - column;
        pixels = columns < w.width ? 1 : std::min(y.size(1), whole + 1) - c;
        Run run{};
        run.y = &y(r, c, 0);
        run.x = &x(r / high * deep + above + row, left + column, 0);
        run.ldx = x.stride;
        run.step = w.stride_x * x.size(2);
        run.rows = std::min<Index>(w.height, deep - above) - row;
        run.columns = columns;
        run.pixels = pixels;
        run.in = x.size(2);
        run.out = y.size(2);
        f(run, row, column, r, c);
      }
    });
  }
  // The same for single taps, whose runs go on from row to row.
  template <class F>
  void each_pixel(Ten y, CTen x, Index work, F f) {
    constexpr Index kPixels = 96;
    const Index all = y.rows() * y.size(1);
    each_row((all + kPixels - 1) / kPixels, kPixels * work, [&](Index i, int) {
      const Index at = i * kPixels;
      Run run{};
      run.y = y.data + at * y.size(2);
      run.x = x.data + at * x.size(2);
      run.step = run.in = x.size(2);
      run.rows = run.columns = 1;
      run.pixels = std::min(kPixels, all - at);
      run.out = y.size(2);
      f(run, 0, 0, at / y.size(1), at % y.size(1));
    });
  }
  // Calls f(first row, rows) for spans of rows that lie one behind the other, in y and in all of xs.
  template <class F>
  void each_span(Mat y, std::initializer_list<CMat> xs, F f) {
    const auto dense = [&](const auto& v) { return v.stride == y.size(1); };
    const bool joined = dense(y) && std::all_of(xs.begin(), xs.end(), dense);
    const Index most = joined ? std::max<Index>(1, kSmall / 4 / std::max<Index>(1, y.size(1))) : 1;
    each_row((y.rows() + most - 1) / most, most * y.size(1),
             [&](Index i, int) { f(i * most, std::min(most, y.rows() - i * most)); });
  }
};

}  // namespace facellava::cpu

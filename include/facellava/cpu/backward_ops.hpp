// The CPU device's backward; what each op does stands in core/backward_ops.hpp. Threads share out gradients, never the
// terms of a sum, so their number changes no bit.
#pragma once
#include <cmath>

#include "facellava/cpu/attention_backward.hpp"

namespace facellava::cpu {

class BackwardOps : public AttentionBackward {
 public:
  using AttentionBackward::AttentionBackward;

  // Bytes of scratch that training with these operands makes this device keep, at most: forward and backward.
  Index training_scratch_bytes(const LargestOps& ops) const {
    const Multiplier& exact = kernels_->exact;
    const Index panels = exact.panels(kTile) * exact.panel_bytes(kTile, ops.head_dim);
    const Index floats = (kOuterRows + kColumns) * kOuterTerms + kColumns + attention_floats(ops.head_dim);
    return scratch_bytes(ops) + threads() * (floats * Index(sizeof(float)) + panels);
  }

  template <class W>
  void linear_dx(Mat dx, CMat dy, const W& w, Write write) {
    const Rows m = rows_of(w);
    const auto pack = [&](float* to, Index k, Index n, Index first, Index width, int thread) {
      float* wide = scratch(thread).rows(kColumns);
      for (Index i = 0; i < n; ++i) {
        const std::byte* row = m.data + (k + i) * m.step;
        if (m.format == Format::kF32) {
          to_strips(to, reinterpret_cast<const float*>(row) + first, i, n, width);
        } else {
          kernels_->widen(wide, row, m.format, first, width, m.nf4);
          to_strips(to, wide, i, n, width);
        }
      }
    };
    const auto left = [&](Index r, Index, Index k, Index, int) { return std::pair(dy.row(r) + k, dy.stride); };
    outer(dx, dy.size(1), write, left, pack);
  }
  template <class DW, class DB>
  void linear_dw(DW dw, DB dbias, CMat dy, CMat x) {
    if constexpr (kPresent<DB>)
      each_chunk(dy.size(1), dy.rows(), [&](Index first, Index n) {
        for (Index r = 0; r < dy.rows(); ++r) kernels_->axpy(&dbias(first), dy.row(r) + first, 1.f, n);
      });
    if constexpr (kPresent<DW>) {
      const auto pack = [&](float* to, Index k, Index n, Index first, Index width, int) {
        for (Index i = 0; i < n; ++i) to_strips(to, x.row(k + i) + first, i, n, width);
      };
      const auto left = [&](Index o, Index count, Index k, Index n, int thread) {
        float* turned = scratch(thread).queries(kOuterRows * kOuterTerms);
        backward().transpose(turned, kOuterTerms, dy.row(k) + o, dy.stride, n, count);
        return std::pair(static_cast<const float*>(turned), kOuterTerms);
      };
      outer(dw, x.rows(), Write::kAccumulate, left, pack);
    }
  }
  void scatter_add_rows(Mat dx, CMat dy, Array<int> index) {
    for (Index r = 0; r < dy.rows(); ++r)
      if (index(r) >= 0) check_index(index(r), dx.rows(), "scatter_add_rows: index");
    each_chunk(dy.size(1), dy.rows(), [&](Index first, Index n) {
      for (Index r = 0; r < dy.rows(); ++r)
        if (index(r) >= 0) kernels_->axpy(dx.row(index(r)) + first, dy.row(r) + first, 1.f, n);
    });
  }
  void mean_rows(Mat y, CMat x, Array<int> index) {
    const Index k = y.rows() ? index.rows() / y.rows() : 0;
    for (Index i = 0; i < index.rows(); ++i) check_index(index(i), x.rows(), "mean_rows: index");
    each_row(y.rows(), k * y.size(1), [&](Index r, int) {
      float* row = y.row(r);
      std::fill_n(row, y.size(1), 0.f);
      for (Index j = 0; j < k; ++j) kernels_->axpy(row, x.row(index(r * k + j)), 1.f, y.size(1));
      for (Index c = 0; c < y.size(1); ++c) row[c] /= float(k);
    });
  }
  void mean_rows_backward(Mat dx, CMat dy, Array<int> index) {
    const Index k = dy.rows() ? index.rows() / dy.rows() : 0;
    for (Index i = 0; i < index.rows(); ++i) check_index(index(i), dx.rows(), "mean_rows_backward: index");
    each_chunk(dy.size(1), index.rows(), [&](Index first, Index n) {
      for (Index i = 0; i < index.rows(); ++i)
        kernels_->axpy(dx.row(index(i)) + first, dy.row(i / k) + first, 1 / float(k), n);
    });
  }

  template <class DW>
  void rms_norm_backward(Mat dx, DW dw, CMat dy, CVec rstd, CMat x, CVec w, Write write) {
    each_row(x.rows(), x.size(1), [&](Index r, int) {
      backward().norm(dx.row(r), dy.row(r), nullptr, rstd(r), x.row(r), w.data, x.size(1), write);
    });
    if constexpr (kPresent<DW>)
      each_chunk(x.size(1), x.rows(), [&](Index first, Index n) {
        for (Index r = 0; r < x.rows(); ++r)
          backward().norm_dw(&dw(first), dy.row(r) + first, 0, rstd(r), x.row(r) + first, n);
      });
  }
  template <class DW, class DB>
  void layer_norm_backward(Mat dx, DW dw, DB db, CMat dy, CVec mean, CVec rstd, CMat x, CVec w, Write write) {
    each_row(x.rows(), x.size(1), [&](Index r, int) {
      backward().norm(dx.row(r), dy.row(r), &mean(r), rstd(r), x.row(r), w.data, x.size(1), write);
    });
    if constexpr (kPresent<DW> || kPresent<DB>)
      each_chunk(x.size(1), x.rows(), [&](Index first, Index n) {
        for (Index r = 0; r < x.rows(); ++r) {
          if constexpr (kPresent<DW>)
            backward().norm_dw(&dw(first), dy.row(r) + first, mean(r), rstd(r), x.row(r) + first, n);
          if constexpr (kPresent<DB>) kernels_->axpy(&db(first), dy.row(r) + first, 1.f, n);
        }
      });
  }
  void gelu_backward(Mat dx, CMat dy, CMat x) {
    each_row(x.rows(), x.size(1), [&](Index r, int) { backward().gelu(dx.row(r), dy.row(r), x.row(r), x.size(1)); });
  }
  void swiglu_backward(Mat dgate, Mat dup, CMat dy, CMat gate, CMat up) {
    each_row(dy.rows(), dy.size(1), [&](Index r, int) {
      backward().swiglu(dgate.row(r), dup.row(r), dy.row(r), gate.row(r), up.row(r), dy.size(1));
    });
  }
  template <class V>
  void fill(V x, float a) {
    each_row(x.rows(), x.row_size(), [&](Index r, int) { std::fill_n(x.row(r), x.row_size(), a); });
  }

  void cross_entropy(Vec nll, Mat logits, Array<int> labels, float scale) {
    const Index n = logits.size(1);
    for (Index r = 0; r < logits.rows(); ++r)
      if (labels(r) >= 0) check_index(labels(r), n, "cross_entropy: label");
    each_row(logits.rows(), n, [&](Index r, int) {
      float* row = logits.row(r);
      const int label = labels(r);
      if (label < 0) {
        nll(r) = 0;
        std::fill_n(row, n, 0.f);
        return;
      }
      const Extremum e = kernels_->log_sum_exp(row, n);
      nll(r) = e.top + std::log(e.sum) - row[label];
      backward().softmax(row, e.top, scale / e.sum, n);
      row[label] -= scale;
    });
  }
  void binary_cross_entropy(Mat loss, Mat logits, CMat targets, float scale) {
    each_row(logits.rows(), logits.size(1), [&](Index r, int) {
      for (Index c = 0; c < logits.size(1); ++c) {
        const float x = logits(r, c), t = targets(r, c), small = std::exp(-std::abs(x));
        const bool counted = !(t < 0);
        loss(r, c) = counted ? std::max(x, 0.f) - t * x + std::log1p(small) : 0;
        logits(r, c) = counted ? scale * ((x < 0 ? small : 1) / (1 + small) - t) : 0;
      }
    });
  }
  void regression_loss(Mat loss, Mat y, CMat targets, Distance distance, float scale) {
    each_row(y.rows(), y.size(1), [&](Index r, int) {
      for (Index c = 0; c < y.size(1); ++c) {
        const float e = y(r, c) - targets(r, c), size = std::abs(e);
        const bool counted = !std::isnan(targets(r, c)), squared = distance == Distance::kSquared;
        loss(r, c) = !counted ? 0 : squared ? e * e : size < 1 ? e * e / 2 : size - 0.5f;
        y(r, c) = !counted ? 0 : scale * (squared ? 2 * e : std::clamp(e, -1.f, 1.f));
      }
    });
  }

  void sum_squares(View<double, Host, kDyn> total, CMat x) {
    std::vector<float> partial(std::size_t(x.rows()));
    each_row(x.rows(), x.size(1),
             [&](Index r, int) { partial[std::size_t(r)] = backward().sum_squares(x.row(r), x.size(1)); });
    for (const float s : partial) total(0) += double(s);
  }
  template <class W, class Master>
  void adamw(W w, Master master, Mat m, Mat v, CMat dw, const AdamW& how, int step) {
    const double first = 1 - std::pow(how.beta1, step), second = 1 - std::pow(how.beta2, step);
    const AdamWStep numbers{
        float(how.scale),           float(how.beta1),        float(1 - how.beta1),         float(how.beta2),
        float(1 - how.beta2),       float(how.rate / first), float(1 / std::sqrt(second)), float(how.epsilon),
        float(how.rate * how.decay)};
    update(w, master,
           [&](float* row, Index r) { backward().adamw(row, m.row(r), v.row(r), dw.row(r), numbers, dw.size(1)); });
  }
  template <class W, class Master, class M>
  void sgd(W w, Master master, M m, CMat dw, const Sgd& how) {
    const SgdStep numbers{float(how.scale), float(how.rate), float(how.momentum), float(how.decay)};
    update(w, master, [&](float* row, Index r) {
      float* momentum = nullptr;
      if constexpr (kPresent<M>) momentum = m.row(r);
      backward().sgd(row, momentum, dw.row(r), numbers, dw.size(1));
    });
  }

 private:
  // of a product's result that one thread takes at a time, and terms of its sums that are packed together
  static constexpr Index kOuterRows = 96, kColumns = 256, kOuterTerms = 256;

  // f(first, n) for chunks of [0, columns), each of which goes through `rows` rows.
  template <class F>
  void each_chunk(Index columns, Index rows, F&& f) {
    const Index chunk = columns * rows <= kSmall ? std::max<Index>(1, columns) : kColumns;
    pool_.run((columns + chunk - 1) / chunk, [&](Index t, int) { f(t * chunk, std::min(chunk, columns - t * chunk)); });
  }

  // y = or += Σ_k left[:, k] right[k, :], k ascending, in tiles. left(row, rows, k, terms, thread): where the tile of
  // the left matrix is, and its stride. pack(to, k, terms, column, columns, thread): that of the right one, in strips.
  template <class Left, class Pack>
  void outer(Mat y, Index terms, Write write, Left&& left, Pack&& pack) {
    const Index high = (y.rows() + kOuterRows - 1) / kOuterRows, wide = (y.size(1) + kColumns - 1) / kColumns;
    pool_.run(high * wide, [&](Index task, int thread) {
      const Index r = task % high * kOuterRows, c = task / high * kColumns;
      const Index rows = std::min(kOuterRows, y.rows() - r), columns = std::min(kColumns, y.size(1) - c);
      float* strips = reinterpret_cast<float*>(scratch(thread).product(kColumns * kOuterTerms * Index(sizeof(float))));
      if (write == Write::kAssign)
        for (Index i = 0; i < rows; ++i) std::fill_n(&y(r + i, c), columns, 0.f);
      for (Index k = 0; k < terms; k += kOuterTerms) {
        const Index n = std::min(kOuterTerms, terms - k);
        pack(strips, k, n, c, columns, thread);
        const auto [p, stride] = left(r, rows, k, n, thread);
        backward().outer(&y(r, c), y.stride, p, stride, strips, rows, n, columns);
      }
    });
  }

  // Calls f(row of fp32, r) for the rows of w, by way of the master if there is one.
  template <class W, class Master, class F>
  void update(W w, Master master, F&& f) {
    const Index n = w.size(1);
    each_row(w.rows(), n, [&](Index r, int thread) {
      if constexpr (kPresent<Master>) {
        f(master.row(r), r);
        keep(w.row(r), master.row(r), n);
      } else if constexpr (std::is_same_v<W, Mat>) {
        f(w.row(r), r);
      } else {
        float* row = scratch(thread).rows(n);
        std::transform(w.row(r), w.row(r) + n, row, [](bf16 v) { return to_float(v); });
        f(row, r);
        keep(w.row(r), row, n);
      }
    });
  }
};

}  // namespace facellava::cpu

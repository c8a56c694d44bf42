// The CPU device's backward; what each op does stands in core/backward_ops.hpp. Threads share out gradients, never the
// terms of a sum, so their number changes no bit.
#pragma once
#include <cmath>

#include "facellava/core/backward_ops.hpp"
#include "facellava/cpu/attention_parts.hpp"
#include "facellava/cpu/backward_isa.hpp"
#include "facellava/cpu/image_ops.hpp"

namespace facellava::cpu {

class BackwardOps : public ImageOps {
 public:
  using ImageOps::ImageOps;

  // Bytes of scratch that training with these operands makes this device keep, at most: forward and backward.
  Index training_scratch_bytes(const LargestOps& ops) const {
    const Multiplier& exact = kernels_->exact;
    const Index panels = exact.panels(kTile) * exact.panel_bytes(kTile, ops.head_dim);
    const Index floats = (kOuterRows + kColumns) * kOuterTerms + kColumns + kTile * (3 * kTile + 2);
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

  // Sequences that share keys are a thread's together, head by head of the keys.
  void attention_backward(Ten dq, Ten dk, Ten dv, CTen d_o, CTen o, CMat lse, CTen q, CTen k, CTen v,
                          Array<Sequence> sequences, Array<KvRange> ranges, Mask mask, float scale) {
    const AttentionParts parts(sequences, ranges, k.rows());
    const Index heads = k.size(1), group = q.size(1) / heads;
    pool_.run(parts.count() * heads, [&](Index task, int thread) {
      const Index g = task % heads;
      const AttentionGradients all{dq, dk, dv, d_o, o, lse, q, k, v, scale};
      for (const Index s : parts.sequences(task / heads))
        for (Index first = 0; first < sequences(s).q_count; first += kTile)
          for (Index h = g * group; h < (g + 1) * group; ++h)
            attend_backward(all, QueryTile{sequences(s), first, h, g}, ranges, mask, scratch(thread));
    });
  }

  template <class DB>
  void region_attention_backward(Ten dq, Ten dk, Ten dv, DB dbias, CTen d_o, CTen p, CTen q, CTen k, CTen v,
                                 float scale) {
    const Index frames = k.rows() / p.size(2), heads = q.size(1);
    const auto head = [&](Index f, Index h, int thread) {
      region_head_backward(dq, dk, dv, dbias, d_o, p, q, k, v, scale, f, h, scratch(thread));
    };
    if constexpr (kPresent<DB>) {  // a sum over heads: a frame is one thread's
      fill(dbias, 0);
      pool_.run(frames, [&](Index f, int thread) {
        for (Index h = 0; h < heads; ++h) head(f, h, thread);
      });
    } else {
      pool_.run(frames * heads, [&](Index task, int thread) { head(task / heads, task % heads, thread); });
    }
  }
  void region_bias_backward(Vec ds, CMat dbias, CMat points, float a, ClassToken token, int n) {
    const int first = token == ClassToken::kFirst, tokens = first + n * n;
    double sum = 0;
    for (Index f = 0; f < points.rows(); ++f) {
      const auto centre = region_centroids<float>(points.row(f));
      for (int t = 0; t < tokens; ++t) {
        const auto row = region_bias_row(centre, t - first, n, RegionBias::kDistance, a);
        for (int g = 0; g < kRegionCount; ++g) sum += double(dbias(f * tokens + t, g)) * double(row[std::size_t(g)]);
      }
    }
    ds(0) += float(sum);
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
  static constexpr Index kOuterRows = 192, kColumns = 128, kOuterTerms = 128;
  static constexpr Index kTile = 64;  // queries, and keys, whose weights are there at once

  const BackwardKernels& backward() const {
#if FACELLAVA_X86
    if (isa_ >= Isa::kAvx512) return avx512::backward_kernels();
    if (isa_ == Isa::kAvx2) return avx2::backward_kernels();
#endif
    return portable::backward_kernels();
  }

  // f(first, n) for chunks of [0, columns), each of which goes through `rows` rows.
  template <class F>
  void each_chunk(Index columns, Index rows, F&& f) {
    const Index chunk = columns * rows <= kSmall ? std::max<Index>(1, columns) : kColumns;
    pool_.run((columns + chunk - 1) / chunk, [&](Index t, int) { f(t * chunk, std::min(chunk, columns - t * chunk)); });
  }

  // Row i of n, `width` columns, into strips.
  void to_strips(float* to, const float* row, Index i, Index n, Index width) const {
    const Index strip = backward().strip;
    for (Index c = 0; c < width; c += strip) std::copy_n(row + c, std::min(strip, width - c), to + c * n + i * strip);
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

  struct AttentionGradients {
    Ten dq, dk, dv;
    CTen d_o, o;
    CMat lse;
    CTen q, k, v;
    float scale;
  };
  struct QueryTile {
    Sequence sequence;
    Index first;  // query
    Index h, g;   // head of queries, of keys
  };

  // A product of two sets of rows: y[i, j] = a[i] · b[j].
  void dots(float* y, Index ldy, const float* a, Index lda, Index m, const float* b, Index ldb, Index n, Index width,
            Scratch& s) const {
    const Multiplier& by = kernels_->exact;
    const Index bytes = by.panel_bytes(m, width);
    std::byte* packed = s.panels(by.panels(m) * bytes);
    for (Index i = 0; i < by.panels(m); ++i) by.pack(packed + i * bytes, a, lda, m, width, i);
    const Rows w = rows_of(b, ldb);
    by.run({y, ldy, packed, w.data, w.step, w.format, nullptr, m, n, width, nullptr, nullptr, 0},
           s.product(by.scratch_bytes));
  }

  // The gradients of one head of a tile of queries: of its dq, all; of dk and dv, what these queries add.
  void attend_backward(const AttentionGradients& a, const QueryTile& t, Array<KvRange> ranges, Mask mask,
                       Scratch& s) const {
    const Sequence& seq = t.sequence;
    const Index d = a.q.size(2), step = seq.stride, row = seq.q_first + t.first * step;
    const Index n = std::min(kTile, seq.q_count - t.first);
    float* tiles = s.scores(3 * kTile * kTile + 2 * kTile);
    float* lse = tiles + 3 * kTile * kTile;
    float* whole = lse + kTile;
    for (Index i = 0; i < n; ++i) {
      const Index r = row + i * step;
      lse[i] = a.lse(r, t.h);
      whole[i] = backward().dot(&a.d_o(r, t.h, 0), &a.o(r, t.h, 0), d);
      std::fill_n(&a.dq(r, t.h, 0), d, 0.f);
    }
    Index all = 0, done = 0;
    for (int i = 0; i < seq.ranges_count; ++i) all += ranges(seq.ranges_first + i).count;
    for (int i = 0; i < seq.ranges_count; ++i) {
      const KvRange range = ranges(seq.ranges_first + i);
      for (Index key = 0; key < range.count; key += kTile) {
        // queries before `unseeing` do not see this key; each further key loses one more
        const Index unseeing = mask == Mask::kCausal ? done + key - (all - seq.q_count) - t.first : -all;
        if (unseeing >= n) break;
        const Index keys = std::min(kTile, range.count - key);
        attend_tile(a, t, row, n, range.first + key * step, keys, unseeing, tiles, lse, whole, s);
      }
      done += range.count;
    }
  }
  // Of n queries from `row` on and of `keys` keys from `key` on.
  void attend_tile(const AttentionGradients& a, const QueryTile& t, Index row, Index n, Index key, Index keys,
                   Index unseeing, float* tiles, const float* lse, const float* whole, Scratch& s) const {
    const Index d = a.q.size(2), step = t.sequence.stride, last = key + (keys - 1) * step;
    check_index(last, a.k.rows(), "attention_backward: key row");
    const float *q = &a.q(row, t.h, 0), *d_o = &a.d_o(row, t.h, 0), *k = &a.k(key, t.g, 0);
    const Index q_step = a.q.stride * step, o_step = a.d_o.stride * step, k_step = a.k.stride * step;
    float *p = tiles, *ds = tiles + kTile * kTile, *turned = ds + kTile * kTile;  // [key, query], the last turned back
    dots(p, kTile, k, k_step, keys, q, q_step, n, d, s);
    dots(ds, kTile, &a.v(key, t.g, 0), a.v.stride * step, keys, d_o, o_step, n, d, s);
    for (Index j = 0; j < keys; ++j) {
      const Index hidden = std::clamp<Index>(unseeing + j, 0, n);
      std::fill_n(p + j * kTile, hidden, 0.f);
      std::fill_n(ds + j * kTile, hidden, 0.f);
      backward().attention(p + j * kTile + hidden, ds + j * kTile + hidden, lse + hidden, whole + hidden, a.scale,
                           n - hidden);
    }
    weigh(&a.dv(key, t.g, 0), a.dv.stride * step, p, kTile, d_o, o_step, keys, n, d);
    weigh(&a.dk(key, t.g, 0), a.dk.stride * step, ds, kTile, q, q_step, keys, n, d);
    backward().transpose(turned, kTile, ds, kTile, keys, n);
    weigh(&a.dq(row, t.h, 0), a.dq.stride * step, turned, kTile, k, k_step, n, keys, d);
  }

  // Head h of the tokens of frame f.
  template <class DB>
  void region_head_backward(Ten dq, Ten dk, Ten dv, DB dbias, CTen d_o, CTen p, CTen q, CTen k, CTen v, float scale,
                            Index f, Index h, Scratch& s) const {
    const Index regions = p.size(2), tokens = q.rows() / (k.rows() / regions), d = q.size(2);
    const Index key = f * regions;
    float* ds = s.scores(2 * kTile * regions);
    float* turned = ds + kTile * regions;
    for (Index g = 0; g < regions; ++g) {
      std::fill_n(&dk(key + g, h, 0), d, 0.f);
      std::fill_n(&dv(key + g, h, 0), d, 0.f);
    }
    for (Index i = 0; i < tokens; i += kTile) {
      const Index r = f * tokens + i, n = std::min(kTile, tokens - i);
      dots(ds, regions, &d_o(r, h, 0), d_o.stride, n, &v(key, h, 0), v.stride, regions, d, s);
      for (Index t = 0; t < n; ++t) {
        const float* weights = &p(r + t, h, 0);
        float whole = 0;
        for (Index g = 0; g < regions; ++g) whole += weights[g] * ds[t * regions + g];
        for (Index g = 0; g < regions; ++g) {
          float& x = ds[t * regions + g];
          x = weights[g] * (x - whole);
          if constexpr (kPresent<DB>) dbias(r + t, g) += x;
          x *= scale;
        }
        std::fill_n(&dq(r + t, h, 0), d, 0.f);
      }
      weigh(&dq(r, h, 0), dq.stride, ds, regions, &k(key, h, 0), k.stride, n, regions, d);
      backward().transpose(turned, kTile, ds, regions, n, regions);
      weigh(&dk(key, h, 0), dk.stride, turned, kTile, &q(r, h, 0), q.stride, regions, n, d);
      backward().transpose(turned, kTile, &p(r, h, 0), p.stride, n, regions);
      weigh(&dv(key, h, 0), dv.stride, turned, kTile, &d_o(r, h, 0), d_o.stride, regions, n, d);
    }
  }
};

}  // namespace facellava::cpu

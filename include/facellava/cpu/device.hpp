// The CPU device. Activations are fp32, keys and values fp32 or bf16; a matrix is read in the format it is stored in.
// One thread at a time may call a device's ops; weights are const and shared. What the ops do: core/ops.hpp.
#pragma once
#include <cmath>

#include "facellava/core/ops.hpp"
#include "facellava/cpu/backward_ops.hpp"

namespace facellava::cpu {

class Device : public BackwardOps {
 public:
  explicit Device(const Options& o = {}) : BackwardOps(o) {}

  template <class W, class B, class R>
  void linear(Mat y, CMat x, const W& w, const B& bias, R residual) {
    const Rows m = rows_of(w);
    Product p{.y = y.data,
              .ldy = y.stride,
              .w = m.data,
              .w_step = m.step,
              .format = m.format,
              .nf4 = m.nf4,
              .m = x.rows(),
              .n = w.size(0),
              .k = x.size(1)};
    if constexpr (kPresent<B>) p.bias = bias.data;
    if constexpr (kPresent<R>) {
      p.residual = residual.data;
      p.ldr = residual.stride;
    }
    multiply(p, x, multiplier(m.format));
  }

  template <class W>
  void embed(Mat y, Array<int> ids, const W& w) {
    for (Index r = 0; r < y.rows(); ++r) {
      if (ids(r) < 0) continue;
      check_index(ids(r), w.size(0), "embed: id");
      read_row(y.row(r), rows_of(w), ids(r), y.size(1));
    }
  }
  template <class W>
  void add_rows(Mat y, Array<int> ids, const W& w) {
    const Rows m = rows_of(w);
    for (Index r = 0; r < y.rows(); ++r) check_index(ids(r), w.size(0), "add_rows: id");
    each_row(y.rows(), y.size(1), [&](Index r, int thread) {
      float* row = scratch(thread).rows(y.size(1));
      read_row(row, m, ids(r), y.size(1));
      kernels_->axpy(y.row(r), row, 1.f, y.size(1));
    });
  }
  void gather_rows(Mat y, CMat x, Array<int> index) {
    for (Index r = 0; r < y.rows(); ++r) {
      if (index(r) < 0) continue;
      check_index(index(r), x.rows(), "gather_rows: index");
      std::copy_n(x.row(index(r)), y.size(1), y.row(r));
    }
  }
  void im2col(Mat cols, CMat pixels, int side, int patch) {
    const Index n = side / patch, per_frame = 1 + n * n;
    each_row(cols.rows(), cols.size(1), [&](Index r, int) {
      const Index i = r % per_frame - 1;
      float* o = cols.row(r);
      if (i < 0) {
        std::fill_n(o, cols.size(1), 0.f);
        return;
      }
      const float* frame = pixels.row(r / per_frame);
      for (Index c = 0; c < 3; ++c)
        for (Index a = 0; a < patch; ++a, o += patch)
          std::copy_n(frame + (c * side + i / n * patch + a) * side + i % n * patch, patch, o);
    });
  }

  void rms_norm(Mat y, Vec rstd, CMat x, CVec w, float eps) {
    each_row(x.rows(), x.size(1),
             [&](Index r, int) { rstd(r) = kernels_->rms_norm(y.row(r), x.row(r), w.data, x.size(1), eps); });
  }
  void layer_norm(Mat y, Vec mean, Vec rstd, CMat x, CVec w, CVec b, float eps) {
    each_row(x.rows(), x.size(1), [&](Index r, int) {
      kernels_->layer_norm(y.row(r), &mean(r), &rstd(r), x.row(r), w.data, b.data, x.size(1), eps);
    });
  }
  void gelu(Mat y, CMat x) {
    each_row(x.rows(), x.size(1), [&](Index r, int) { kernels_->gelu(y.row(r), x.row(r), x.size(1)); });
  }
  void swiglu(Mat y, CMat gate, CMat up) {
    each_row(y.rows(), y.size(1), [&](Index r, int) { kernels_->swiglu(y.row(r), gate.row(r), up.row(r), y.size(1)); });
  }
  void axpy(Mat y, CMat x, float a) {
    each_row(y.rows(), y.size(1), [&](Index r, int) { kernels_->axpy(y.row(r), x.row(r), a, y.size(1)); });
  }
  void rope(Ten x, Array<int> positions, CMat table, Rotate way) {
    for (Index r = 0; r < x.rows(); ++r) check_index(positions(r), table.rows(), "rope: position");
    const float sign = way == Rotate::kForward ? 1.f : -1.f;
    const Index half = x.size(2) / 2;
    each_row(x.rows(), x.row_size(), [&](Index r, int) {
      const float* t = table.row(positions(r));
      for (Index h = 0; h < x.size(1); ++h) kernels_->rope(&x(r, h, 0), t, t + half, sign, half);
    });
  }

  // k and v: fp32 or bf16
  template <class KV>
  void attention(Ten o, Mat lse, CTen q, KV k, KV v, Array<Sequence> sequences, Array<KvRange> ranges, Mask mask,
                 float scale) {
    blocks_.clear();
    for (Index s = 0; s < sequences.rows(); ++s)
      for (int i = 0; i < sequences(s).q_count; i += kQueries)
        blocks_.push_back({sequences(s), i, std::min(kQueries, sequences(s).q_count - i)});
    const Index heads = q.size(1), group = heads / k.size(1);
    pool_.run(Index(blocks_.size()) * heads, [&](Index task, int thread) {
      const Index h = task % heads;
      attend(blocks_[task / heads], h, h / group, scratch(thread), o, lse, q, k, v, ranges, mask, scale);
    });
  }
  template <class Slab>
  void kv_append(Slab slab_k, Slab slab_v, CTen k, CTen v, Array<int> slots) {
    for (Index r = 0; r < k.rows(); ++r) check_index(slots(r), slab_k.rows(), "kv_append: slot");
    each_row(k.rows(), k.row_size(), [&](Index r, int) {
      keep(slab_k.row(slots(r)), k.row(r), k.row_size());
      keep(slab_v.row(slots(r)), v.row(r), v.row_size());
    });
  }

  template <class S>
  void region_bias(Mat bias, CMat points, S stored, float scale, RegionBias kind, ClassToken token, int n) {
    if constexpr (kPresent<S>) scale *= stored(0);
    const int first = token == ClassToken::kFirst, tokens = first + n * n;
    for (Index f = 0; f < points.rows(); ++f) {
      const auto centre = region_centroids<float>(points.row(f));
      for (int t = 0; t < tokens; ++t) {
        const auto row = region_bias_row(centre, t - first, n, kind, scale);
        std::copy(row.begin(), row.end(), bias.row(f * tokens + t));
      }
    }
  }
  template <class B>
  void region_attention(Ten o, Ten p, CTen q, CTen k, CTen v, B bias, float scale) {
    const Index regions = p.size(2), frames = k.rows() / regions, tokens = frames ? q.rows() / frames : 0;
    const Index heads = q.size(1), d = q.size(2), blocks = (tokens + kQueries - 1) / kQueries;
    pool_.run(frames * blocks * heads, [&](Index task, int thread) {
      const Index h = task % heads, b = task / heads % blocks, f = task / heads / blocks;
      const Index r = f * tokens + b * kQueries, n = std::min<Index>(kQueries, tokens - b * kQueries);
      Scratch& own = scratch(thread);
      const Rows keys = rows_of(&k(f * regions, h, 0), k.stride);
      Product s{&p(r, h, 0), p.stride, nullptr, keys.data, keys.step, keys.format, nullptr, n,
                regions,     d,        nullptr, nullptr,   0};
      if constexpr (kPresent<B>) {
        s.residual = bias.row(r);
        s.ldr = bias.stride;
      }
      const float* scaled = scale_queries(own, q, r, 1, n, h, scale);
      s.x = pack_alone(kernels_->exact, own, scaled, n, d);
      kernels_->exact.run(s, own.product(kernels_->exact.scratch_bytes));
      for (Index i = 0; i < n; ++i) {
        kernels_->softmax(&p(r + i, h, 0), regions);
        std::fill_n(&o(r + i, h, 0), d, 0.f);
      }
      kernels_->weigh(&o(r, h, 0), o.stride, &p(r, h, 0), p.stride, &v(f * regions, h, 0), v.stride, n, regions, d);
    });
  }

  template <class W, class B>
  void fold_keys(Mat a, Vec c, CTen k, const W& w, const B& b) {
    constexpr Index kRows = kFoldRows, kColumns = kFoldColumns;
    const Rows m = rows_of(w);
    const Index heads = k.size(1), d = k.size(2), frames = k.rows() / kRegionCount;
    const Index chunks = (a.size(1) + kColumns - 1) / kColumns;
    pool_.run(heads * chunks, [&](Index task, int thread) {
      const Index h = task / chunks, first = task % chunks * kColumns, n = std::min(kColumns, a.size(1) - first);
      float* wide = reinterpret_cast<float*>(scratch(thread).product(kRows * kColumns * Index(sizeof(float))));
      for (Index f = 0; f < frames; ++f)
        for (Index g = 0; g < kRegionCount; ++g) std::fill_n(&a(folded(f, h, heads) + g, first), n, 0.f);
      for (Index d0 = 0; d0 < d; d0 += kRows) {
        const Index rows = std::min(kRows, d - d0);
        for (Index i = 0; i < rows; ++i)
          kernels_->widen(wide + i * kColumns, m.data + (h * d + d0 + i) * m.step, m.format, first, n, m.nf4);
        for (Index f = 0; f < frames; ++f)
          kernels_->weigh(&a(folded(f, h, heads), first), a.stride, &k(f * kRegionCount, h, d0), k.stride, wide,
                          kColumns, kRegionCount, rows, n);
      }
    });
    for (Index f = 0; f < frames; ++f)
      for (Index h = 0; h < heads; ++h)
        for (Index g = 0; g < kRegionCount; ++g) {
          float sum = 0;
          if constexpr (kPresent<B>)
            for (Index i = 0; i < d; ++i) sum += k(f * kRegionCount + g, h, i) * b(h * d + i);
          c(folded(f, h, heads) + g) = sum;
        }
  }
  template <class W>
  void fold_values(Mat a, CTen v, const W& w) {
    const Rows m = rows_of(w);
    const Index heads = v.size(1), d = v.size(2);
    check_equal(0, d % block_size(m.format), "fold_values: head size over whole blocks");
    for (Index f = 0; f < v.rows() / kRegionCount; ++f)
      for (Index h = 0; h < heads; ++h) {
        CMat x(&v(f * kRegionCount, h, 0), kRegionCount, d);
        x.stride = v.stride;
        multiply({.y = a.row(folded(f, h, heads)),
                  .ldy = a.stride,
                  .w = m.data + row_bytes(m.format, h * d),
                  .w_step = m.step,
                  .format = m.format,
                  .nf4 = m.nf4,
                  .m = kRegionCount,
                  .n = a.size(1),
                  .k = d},
                 x, kernels_->exact);
      }
  }
  template <class B>
  void region_scores(Ten p, CMat x, CMat a, CVec c, B bias, float scale) {
    const Index keys = p.row_size(), frames = a.rows() / keys, tokens = frames ? x.rows() / frames : 0;
    for (Index f = 0; f < frames; ++f) {
      const Rows m = rows_of(a.row(f * keys), a.stride);
      multiply({.y = p.row(f * tokens),
                .ldy = p.stride,
                .w = m.data,
                .w_step = m.step,
                .format = m.format,
                .m = tokens,
                .n = keys,
                .k = x.size(1),
                .bias = c.data + f * keys},
               rows(x, f * tokens, tokens), kernels_->exact);
    }
    each_row(p.rows(), keys, [&](Index r, int) {
      for (Index h = 0; h < p.size(1); ++h) {
        float* s = &p(r, h, 0);
        for (Index g = 0; g < p.size(2); ++g) {
          s[g] *= scale;
          if constexpr (kPresent<B>) s[g] += bias(r, g);
        }
        kernels_->softmax(s, p.size(2));
      }
    });
  }
  template <class B, class R>
  void region_sum(Mat y, CTen p, CMat a, const B& b, R residual) {
    const Index keys = p.row_size(), frames = a.rows() / keys, tokens = frames ? y.rows() / frames : 0;
    const Index blocks = (tokens + kQueries - 1) / kQueries;
    pool_.run(frames * blocks, [&](Index task, int) {
      const Index f = task / blocks, i = task % blocks * kQueries, n = std::min<Index>(kQueries, tokens - i);
      const Index first = f * tokens + i;
      for (Index r = first; r < first + n; ++r)
        for (Index j = 0; j < y.size(1); ++j) {
          float v = 0;
          if constexpr (kPresent<B>) v += b(j);
          if constexpr (kPresent<R>) v += residual(r, j);
          y(r, j) = v;
        }
      kernels_->weigh(y.row(first), y.stride, p.row(first), p.stride, a.row(f * keys), a.stride, n, keys, y.size(1));
    });
  }

  void log_prob(Vec scores, CMat logits, Array<int> ids) {
    for (Index r = 0; r < logits.rows(); ++r) check_index(ids(r), logits.size(1), "log_prob: id");
    each_row(logits.rows(), logits.size(1), [&](Index r, int) {
      const Extremum e = kernels_->log_sum_exp(logits.row(r), logits.size(1));
      scores(r) = logits(r, ids(r)) - e.top - std::log(e.sum);
    });
  }
  void argmax(View<int, Host, kDyn> ids, CMat logits) {
    each_row(logits.rows(), logits.size(1), [&](Index r, int) {
      const float* row = logits.row(r);
      ids(r) = int(std::max_element(row, row + logits.size(1)) - row);
    });
  }
  template <class T, class F>
  void copy(T to, F from) {
    if (to.data == from.data && to.stride == from.stride) return;
    for (Index r = 0; r < to.rows(); ++r) std::copy_n(from.row(r), to.row_size(), to.row(r));
  }

 private:
  struct Block {
    Sequence sequence;
    int first, count;  // queries
  };

  // Head h of n queries, times scale, contiguous.
  const float* scale_queries(Scratch& s, CTen q, Index first, Index step, Index n, Index h, float scale) {
    const Index d = q.size(2);
    float* out = s.queries(kQueries * d);
    for (Index i = 0; i < n; ++i)
      for (Index c = 0; c < d; ++c) out[i * d + c] = q(first + i * step, h, c) * scale;
    return out;
  }

  // One head of a block of queries: scores of all their keys, softmax, values. Keys are taken in the order of the
  // sequence, so neither chunks nor forks nor neighbours change a bit.
  template <class KV>
  void attend(const Block& b, Index h, Index g, Scratch& s, Ten o, Mat lse, CTen q, KV k, KV v, Array<KvRange> ranges,
              Mask mask, float scale) {
    const Sequence& seq = b.sequence;
    const Index d = q.size(2), step = seq.stride, first = seq.q_first + b.first * step;
    Index all = 0;
    for (int n = 0; n < seq.ranges_count; ++n) all += ranges(seq.ranges_first + n).count;
    const auto seen = [&](int i) {
      return mask == Mask::kCausal ? std::max<Index>(0, all - seq.q_count + b.first + i + 1) : all;
    };
    const Index keys = seen(b.count - 1);
    const float* scaled = scale_queries(s, q, first, step, b.count, h, scale);
    float* p = s.scores(b.count * keys);
    const auto each_range = [&](auto&& f) {
      Index done = 0;
      for (int n = 0; n < seq.ranges_count && done < keys; ++n) {
        const KvRange r = ranges(seq.ranges_first + n);
        const Index count = std::min<Index>(r.count, keys - done);
        if (count > 0) {
          check_index(r.first + (count - 1) * step, k.rows(), "attention: key row");
          f(r.first, done, count);
        }
        done += r.count;
      }
    };
    const Multiplier& by = multiplier(rows_of(k.data, k.stride).format);
    const std::byte* packed = pack_alone(by, s, scaled, b.count, d);
    each_range([&](Index row, Index done, Index count) {
      const Rows r = rows_of(&k(row, g, 0), k.stride * step);
      by.run({p + done, keys, packed, r.data, r.step, r.format, nullptr, b.count, count, d, nullptr, nullptr, 0},
             s.product(by.scratch_bytes));
    });
    for (int i = 0; i < b.count; ++i) {
      const Extremum e = kernels_->softmax(p + i * keys, seen(i));
      lse(first + i * step, h) = e.top + std::log(e.sum);
      std::fill(p + i * keys + seen(i), p + (i + 1) * keys, 0.f);
      std::fill_n(&o(first + i * step, h, 0), d, 0.f);
    }
    each_range([&](Index row, Index done, Index count) {
      weigh(&o(first, h, 0), o.stride * step, p + done, keys, &v(row, g, 0), v.stride * step, b.count, count, d);
    });
  }

  std::vector<Block> blocks_;
};

}  // namespace facellava::cpu

// The backward of attention on the CPU, and what all backward there is made of. Weights are computed anew, in tiles of
// queries and keys.
#pragma once
#include <utility>

#include "facellava/core/backward_ops.hpp"
#include "facellava/cpu/attention_parts.hpp"
#include "facellava/cpu/backward_isa.hpp"
#include "facellava/cpu/image_ops.hpp"

namespace facellava::cpu {

class AttentionBackward : public ImageOps {
 public:
  using ImageOps::ImageOps;

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
      pool_.run(frames, [&](Index f, int thread) {
        const Index tokens = q.rows() / frames;
        for (Index r = f * tokens; r < (f + 1) * tokens; ++r) std::fill_n(dbias.row(r), p.size(2), 0.f);
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

 protected:
  static constexpr Index kTile = 64;  // queries, and keys, whose weights are there at once

  const BackwardKernels& backward() const {
#if FACELLAVA_X86
    if (isa_ >= Isa::kAvx512) return avx512::backward_kernels();
    if (isa_ == Isa::kAvx2) return avx2::backward_kernels();
#endif
    return portable::backward_kernels();
  }

  // Row i of n, `width` columns, into strips.
  void to_strips(float* to, const float* row, Index i, Index n, Index width) const {
    const Index strip = backward().strip;
    for (Index c = 0; c < width; c += strip) std::copy_n(row + c, std::min(strip, width - c), to + c * n + i * strip);
  }
  // Of scratch, for heads of d.
  static Index attention_floats(Index d) { return Tile::floats(d); }

 private:
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
  // What is there of a tile of n queries while keys pass by. Right matrices of products stand in strips.
  struct Tile {
    float *p, *ds, *turned;                             // [key, query], [key, query], [query, key]
    float *lse, *whole;                                 // of each query: its log-sum-exp, and Σ d_o o
    float *q_down, *o_down, *q_flat, *o_flat, *k_flat;  // qᵀ, d_oᵀ, q, d_o, k
    Index row, n;                                       // first query

    static Index floats(Index d) { return kTile * (3 * kTile + 2 + 2 * d + 3 * padded(d)); }
    Tile(float* to, Index d, Index first, Index count) : row(first), n(count) {
      for (float** square : {&p, &ds, &turned}) *square = std::exchange(to, to + kTile * kTile);
      for (float** line : {&lse, &whole}) *line = std::exchange(to, to + kTile);
      for (float** down : {&q_down, &o_down}) *down = std::exchange(to, to + kTile * d);
      for (float** flat : {&q_flat, &o_flat, &k_flat}) *flat = std::exchange(to, to + kTile * padded(d));
    }

   private:
    static Index padded(Index d) { return (d + kTile - 1) / kTile * kTile; }  // no strip is wider than a tile
  };

  // The gradients of one head of a tile of queries: of its dq, all; of dk and dv, what these queries add.
  void attend_backward(const AttentionGradients& a, const QueryTile& t, Array<KvRange> ranges, Mask mask,
                       Scratch& s) const {
    const Sequence& seq = t.sequence;
    const Index d = a.q.size(2), step = seq.stride;
    const Tile tile(s.scores(Tile::floats(d)), d, seq.q_first + t.first * step, std::min(kTile, seq.q_count - t.first));
    const float *q = &a.q(tile.row, t.h, 0), *d_o = &a.d_o(tile.row, t.h, 0);
    const Index q_step = a.q.stride * step, o_step = a.d_o.stride * step;
    turn(tile.q_down, q, q_step, tile.n, d);
    turn(tile.o_down, d_o, o_step, tile.n, d);
    for (Index i = 0; i < tile.n; ++i) {
      const Index r = tile.row + i * step;
      to_strips(tile.q_flat, q + i * q_step, i, tile.n, d);
      to_strips(tile.o_flat, d_o + i * o_step, i, tile.n, d);
      tile.lse[i] = a.lse(r, t.h);
      tile.whole[i] = backward().dot(d_o + i * o_step, &a.o(r, t.h, 0), d);
      std::fill_n(&a.dq(r, t.h, 0), d, 0.f);
    }
    Index all = 0, done = 0;
    for (int i = 0; i < seq.ranges_count; ++i) all += ranges(seq.ranges_first + i).count;
    for (int i = 0; i < seq.ranges_count; ++i) {
      const KvRange range = ranges(seq.ranges_first + i);
      for (Index key = 0; key < range.count; key += kTile) {
        // the queries before `unseeing` do not see this key; each further key loses one more
        const Index unseeing = mask == Mask::kCausal ? done + key - (all - seq.q_count) - t.first : -all;
        if (unseeing >= tile.n) break;
        attend_keys(a, t, tile, range.first + key * step, std::min(kTile, range.count - key), unseeing);
      }
      done += range.count;
    }
  }
  // What `keys` keys from `key` on bring.
  void attend_keys(const AttentionGradients& a, const QueryTile& t, const Tile& tile, Index key, Index keys,
                   Index unseeing) const {
    const Index d = a.q.size(2), step = t.sequence.stride, n = tile.n;
    const BackwardKernels& by = backward();
    const float* k = &a.k(key, t.g, 0);
    const Index k_step = a.k.stride * step;
    for (Index j = 0; j < keys; ++j) {
      std::fill_n(tile.p + j * kTile, n, 0.f);
      std::fill_n(tile.ds + j * kTile, n, 0.f);
      to_strips(tile.k_flat, k + j * k_step, j, keys, d);
    }
    by.outer(tile.p, kTile, k, k_step, tile.q_down, keys, d, n);
    by.outer(tile.ds, kTile, &a.v(key, t.g, 0), a.v.stride * step, tile.o_down, keys, d, n);
    for (Index j = 0; j < keys; ++j) {
      float *p = tile.p + j * kTile, *ds = tile.ds + j * kTile;
      const Index hidden = std::clamp<Index>(unseeing + j, 0, n);
      std::fill_n(p, hidden, 0.f);
      std::fill_n(ds, hidden, 0.f);
      by.attention(p + hidden, ds + hidden, tile.lse + hidden, tile.whole + hidden, a.scale, n - hidden);
    }
    by.transpose(tile.turned, kTile, tile.ds, kTile, keys, n);
    by.outer(&a.dv(key, t.g, 0), a.dv.stride * step, tile.p, kTile, tile.o_flat, keys, n, d);
    by.outer(&a.dk(key, t.g, 0), a.dk.stride * step, tile.ds, kTile, tile.q_flat, keys, n, d);
    by.outer(&a.dq(tile.row, t.h, 0), a.dq.stride * step, tile.turned, kTile, tile.k_flat, n, keys, d);
  }
  // n rows of d, as the right matrix of a product along d.
  void turn(float* to, const float* rows, Index ld, Index n, Index d) const {
    const Index strip = backward().strip;
    for (Index c = 0; c < n; c += strip)
      backward().transpose(to + c * d, strip, rows + c * ld, ld, std::min(strip, n - c), d);
  }

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

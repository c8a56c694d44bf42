// The CPU device: threads, scratch and one instruction set's kernels. Activations are fp32; a matrix is read in the
// format it is stored in. One thread at a time may call a device's ops; weights are const and shared.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "facellava/core/arena.hpp"
#include "facellava/core/ops.hpp"
#include "facellava/cpu/avx2.hpp"
#include "facellava/cpu/avx512.hpp"
#include "facellava/cpu/avx512bf16.hpp"
#include "facellava/cpu/portable.hpp"
#include "facellava/cpu/thread_pool.hpp"

namespace facellava::cpu {

// kExact: activations stay fp32, whatever a matrix is stored in. kNative: they are rounded to what the hardware
// multiplies with that format: bf16 for bf16 matrices (AVX-512 bf16), int8 in blocks of 32 for q8 and q4 (AVX2 and up).
enum class Precision { kExact, kNative };

struct Options {
  int threads = 0;  // 0: one a hardware thread
  Isa isa = best_isa();
  Precision precision = Precision::kExact;
};

class Device {
 public:
  using Space = Host;
  template <class T>
  using Array = View<const T, Host, kDyn>;
  using Vec = View<float, Host, kDyn>;
  using CVec = View<const float, Host, kDyn>;
  using Mat = View<float, Host, kDyn, kDyn>;
  using CMat = View<const float, Host, kDyn, kDyn>;
  using Ten = View<float, Host, kDyn, kDyn, kDyn>;
  using CTen = View<const float, Host, kDyn, kDyn, kDyn>;
  using Stored = StoredTensor<Host, kDyn, kDyn>;

  explicit Device(const Options& o = {})
      : isa_(o.isa), precision_(o.precision), kernels_(&table(o.isa)), pool_(o.threads), scratch_(pool_.size()) {}

  Isa isa() const { return isa_; }
  Precision precision() const { return precision_; }
  int threads() const { return pool_.size(); }

  template <class W, class B, class R>
  void linear(Mat y, CMat x, const W& w, const B& bias, R residual) {
    const Rows m = rows_of(w);
    Product p{y.data,   y.stride,  nullptr,   m.data,  m.step,  m.format, m.nf4,
              x.rows(), w.size(0), x.size(1), nullptr, nullptr, 0};
    if constexpr (kPresent<B>) p.bias = bias.data;
    if constexpr (kPresent<R>) {
      p.residual = residual.data;
      p.ldr = residual.stride;
    }
    if (p.m == 0) return;
    multiply(multiplier(m.format), p, x);
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
  static constexpr int kQueries = 24;              // queries that share one pass over the keys
  static constexpr Index kSmall = Index(1) << 15;  // work below which waking threads costs more than it saves

  struct Rows {
    const std::byte* data;
    Format format;
    Index step;  // bytes
    const Nf4Scales* nf4;
  };
  struct Block {
    Sequence sequence;
    int first, count;  // queries
  };
  class Scratch {
   public:
    float* queries(Index n) { return grow(queries_, n); }
    float* scores(Index n) { return grow(scores_, n); }
    float* rows(Index n) { return grow(rows_, n); }
    std::byte* panels(Index bytes) { return grow_bytes(panels_, bytes); }
    std::byte* product(Index bytes) { return grow_bytes(product_, bytes); }

   private:
    static std::byte* grow_bytes(Buffer& b, Index bytes) {
      if (Index(b.size()) < bytes) b = Buffer(std::size_t(bytes));
      return static_cast<std::byte*>(b.data());
    }
    static float* grow(std::vector<float>& v, Index n) {
      if (Index(v.size()) < n) v.resize(std::size_t(n));
      return v.data();
    }
    std::vector<float> queries_, scores_, rows_;
    Buffer panels_, product_;
  };

  static const Kernels& table(Isa isa) {
    if (isa > best_isa())
      throw Error(ErrorKind::kDevice, "this machine runs instruction sets up to " + std::string(isa_name(best_isa())) +
                                          ", asked for " + std::string(isa_name(isa)));
#if FACELLAVA_X86
    if (isa == Isa::kAvx512Bf16) return avx512bf16::kernels();
    if (isa == Isa::kAvx512) return avx512::kernels();
    if (isa == Isa::kAvx2) return avx2::kernels();
#endif
    return portable::kernels();
  }

  static Rows rows_of(const Stored& w) { return {w.data, w.format, row_bytes(w.format, w.sizes[1]), w.nf4}; }
  static Rows rows_of(CMat w) { return rows_of(w.data, w.stride); }
  template <class T>
  static Rows rows_of(const T* p, Index stride) {
    constexpr Format format = std::is_same_v<T, float> ? Format::kF32 : Format::kBf16;
    return {reinterpret_cast<const std::byte*>(p), format, stride * Index(sizeof(T)), nullptr};
  }
  void keep(float* to, const float* from, Index n) const { std::copy_n(from, n, to); }
  void keep(bf16* to, const float* from, Index n) const { kernels_->round_bf16(to, from, n); }
  void weigh(float* o, Index ldo, const float* p, Index ldp, const float* v, Index ldv, Index m, Index n,
             Index d) const {
    kernels_->weigh(o, ldo, p, ldp, v, ldv, m, n, d);
  }
  void weigh(float* o, Index ldo, const float* p, Index ldp, const bf16* v, Index ldv, Index m, Index n,
             Index d) const {
    kernels_->weigh_bf16(o, ldo, p, ldp, v, ldv, m, n, d);
  }
  void read_row(float* y, const Rows& w, Index r, Index n) const {
    kernels_->widen(y, w.data + r * w.step, w.format, 0, n, w.nf4);
  }
  Scratch& scratch(int thread) { return scratch_[std::size_t(thread)]; }

  template <class F>
  void each_row(Index rows, Index width, F&& f) {
    const Index chunk = std::max<Index>(1, kSmall / std::max<Index>(1, width) / 4);
    pool_.run((rows + chunk - 1) / chunk, [&](Index t, int thread) {
      for (Index r = t * chunk; r < std::min(rows, (t + 1) * chunk); ++r) f(r, thread);
    });
  }

  const Multiplier& multiplier(Format f) const {
    const Multiplier* native = precision_ == Precision::kNative ? kernels_->native(f) : nullptr;
    return native ? *native : kernels_->exact;
  }
  // Packs x, then splits the columns of y among the threads.
  void multiply(const Multiplier& by, Product& p, CMat x) {
    const Index panels = by.panels(p.m), bytes = by.panel_bytes(p.m, p.k);
    std::byte* packed = scratch(0).panels(panels * bytes);
    p.x = packed;
    const auto pack = [&](Index i, int) { by.pack(packed + i * bytes, x.data, x.stride, p.m, p.k, i); };
    const bool small = p.m * p.n * p.k <= kSmall;
    if (small)
      for (Index i = 0; i < panels; ++i) pack(i, 0);
    else
      pool_.run(panels, pack);
    const Index width = small ? p.n : kColumnChunk;
    pool_.run((p.n + width - 1) / width, [&](Index t, int thread) {
      Product part = p;
      const Index first = t * width;
      part.n = std::min(width, p.n - first);
      part.y += first;
      part.w += first * p.w_step;
      if (p.bias) part.bias += first;
      if (p.residual) part.residual += first;
      by.run(part, scratch(thread).product(by.scratch_bytes));
    });
  }
  static const std::byte* pack_alone(const Multiplier& by, Scratch& s, const float* x, Index m, Index k) {
    const Index bytes = by.panel_bytes(m, k);
    std::byte* packed = s.panels(by.panels(m) * bytes);
    for (Index i = 0; i < by.panels(m); ++i) by.pack(packed + i * bytes, x, k, m, k, i);
    return packed;
  }

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

  Isa isa_;
  Precision precision_;
  const Kernels* kernels_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_;
  std::vector<Block> blocks_;
};

}  // namespace facellava::cpu

// The CPU device: threads, scratch and one instruction set's kernels. Activations are fp32; a matrix is read in the
// format it is stored in. One thread at a time may call a device's ops; weights are const and shared.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "facellava/core/ops.hpp"
#include "facellava/cpu/avx2.hpp"
#include "facellava/cpu/avx512.hpp"
#include "facellava/cpu/avx512bf16.hpp"
#include "facellava/cpu/portable.hpp"
#include "facellava/cpu/thread_pool.hpp"

namespace facellava::cpu {

// Products of a bf16 matrix: kF32 keeps the activation's fp32; kBf16 rounds it to bf16 where the hardware multiplies
// bf16.
enum class Precision { kF32, kBf16 };

struct Options {
  int threads = 0;  // 0: one a hardware thread
  Isa isa = best_isa();
  Precision precision = Precision::kF32;
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
    Product p{y.data,   y.stride,  x.data,    x.stride, m.data,  m.stride,
              x.rows(), w.size(0), x.size(1), nullptr,  nullptr, 0};
    if constexpr (kPresent<B>) p.bias = bias.data;
    if constexpr (kPresent<R>) {
      p.residual = residual.data;
      p.ldr = residual.stride;
    }
    auto kernel = kernels_->product[int(m.format)];
    if (m.format == Format::kBf16 && precision_ == Precision::kBf16 && kernels_->product_bf16) {
      round(p);
      kernel = kernels_->product_bf16;
    }
    multiply(kernel, p);
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

  void attention(Ten o, Mat lse, CTen q, CTen k, CTen v, Array<Sequence> sequences, Array<KvRange> ranges, Mask mask,
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
  void kv_append(Ten slab_k, Ten slab_v, CTen k, CTen v, Array<int> slots) {
    for (Index r = 0; r < k.rows(); ++r) {
      check_index(slots(r), slab_k.rows(), "kv_append: slot");
      std::copy_n(k.row(r), k.row_size(), slab_k.row(slots(r)));
      std::copy_n(v.row(r), v.row_size(), slab_v.row(slots(r)));
    }
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
      const float* scaled = scale_queries(scratch(thread), q, r, 1, n, h, scale);
      Product s{&p(r, h, 0), p.stride, scaled,  d, bytes(&k(f * regions, h, 0)), k.stride, n, regions,
                d,           nullptr,  nullptr, 0};
      if constexpr (kPresent<B>) {
        s.residual = bias.row(r);
        s.ldr = bias.stride;
      }
      kernels_->product[int(Format::kF32)](s);
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
    Index stride;
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

   private:
    static float* grow(std::vector<float>& v, Index n) {
      if (Index(v.size()) < n) v.resize(std::size_t(n));
      return v.data();
    }
    std::vector<float> queries_, scores_, rows_;
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

  static const std::byte* bytes(const float* p) { return reinterpret_cast<const std::byte*>(p); }
  static Rows rows_of(const Stored& w) { return {w.data, w.format, w.sizes[1]}; }
  static Rows rows_of(CMat w) { return {bytes(w.data), Format::kF32, w.stride}; }
  static void read_row(float* y, const Rows& w, Index r, Index n) {
    const std::byte* p = w.data + r * w.stride * format_bytes(w.format);
    if (w.format == Format::kF32) {
      std::memcpy(y, p, std::size_t(n) * sizeof(float));
      return;
    }
    for (Index c = 0; c < n; ++c) {
      std::uint16_t bits;
      std::memcpy(&bits, p + 2 * c, 2);
      y[c] = w.format == Format::kBf16 ? to_float(bf16{bits}) : to_float(f16{bits});
    }
  }
  Scratch& scratch(int thread) { return scratch_[std::size_t(thread)]; }

  template <class F>
  void each_row(Index rows, Index width, F&& f) {
    const Index chunk = std::max<Index>(1, kSmall / std::max<Index>(1, width) / 4);
    pool_.run((rows + chunk - 1) / chunk, [&](Index t, int thread) {
      for (Index r = t * chunk; r < std::min(rows, (t + 1) * chunk); ++r) f(r, thread);
    });
  }

  // p.x becomes the same rows in bf16.
  void round(Product& p) {
    if (Index(rounded_.size()) < p.m * p.k) rounded_.resize(std::size_t(p.m * p.k));
    each_row(p.m, p.k, [&](Index r, int) {
      kernels_->round_bf16(rounded_.data() + r * p.k, static_cast<const float*>(p.x) + r * p.ldx, p.k);
    });
    p.x = rounded_.data();
    p.ldx = p.k;
  }
  // Splits the columns of y, a multiple of every tile's width a task.
  void multiply(Kernels::ProductKernel kernel, const Product& p) {
    constexpr Index kColumns = 24;
    if (p.m * p.n * p.k <= kSmall) {
      kernel(p);
      return;
    }
    const Index tasks = std::min<Index>((p.n + kColumns - 1) / kColumns, 8 * pool_.size());
    const Index width = ((p.n + tasks - 1) / tasks + kColumns - 1) / kColumns * kColumns;
    const Format format = kernel == kernels_->product[int(Format::kF32)] ? Format::kF32 : Format::kBf16;
    pool_.run((p.n + width - 1) / width, [&](Index t, int) {
      Product part = p;
      const Index first = t * width;
      part.n = std::min(width, p.n - first);
      part.y += first;
      part.w += first * p.ldw * format_bytes(format);
      if (p.bias) part.bias += first;
      if (p.residual) part.residual += first;
      kernel(part);
    });
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
  void attend(const Block& b, Index h, Index g, Scratch& s, Ten o, Mat lse, CTen q, CTen k, CTen v,
              Array<KvRange> ranges, Mask mask, float scale) {
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
    each_range([&](Index row, Index done, Index count) {
      kernels_->product[int(Format::kF32)](
          {p + done, keys, scaled, d, bytes(&k(row, g, 0)), k.stride * step, b.count, count, d, nullptr, nullptr, 0});
    });
    for (int i = 0; i < b.count; ++i) {
      const Extremum e = kernels_->softmax(p + i * keys, seen(i));
      lse(first + i * step, h) = e.top + std::log(e.sum);
      std::fill(p + i * keys + seen(i), p + (i + 1) * keys, 0.f);
      std::fill_n(&o(first + i * step, h, 0), d, 0.f);
    }
    each_range([&](Index row, Index done, Index count) {
      kernels_->weigh(&o(first, h, 0), o.stride * step, p + done, keys, &v(row, g, 0), v.stride * step, b.count, count,
                      d);
    });
  }

  Isa isa_;
  Precision precision_;
  const Kernels* kernels_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_;
  std::vector<Block> blocks_;
  std::vector<bf16> rounded_;
};

}  // namespace facellava::cpu

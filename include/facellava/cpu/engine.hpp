// What the ops of the CPU device are made of: threads, scratch, and the kernels of one instruction set.
#pragma once
#include <algorithm>
#include <cstring>
#include <memory_resource>
#include <vector>

#include "facellava/core/arena.hpp"
#include "facellava/core/largest_ops.hpp"
#include "facellava/core/regions.hpp"
#include "facellava/cpu/amx.hpp"
#include "facellava/cpu/portable.hpp"
#include "facellava/cpu/thread_pool.hpp"

namespace facellava::cpu {

// kExact: activations stay fp32, whatever a matrix is stored in. kNative: they are rounded to what the hardware
// multiplies with that format: bf16 for bf16 matrices (AVX-512 bf16, AMX), int8 in blocks of 32 for q8 and q4 (AVX2 and
// up).
enum class Precision { kExact, kNative };

struct Options {
  int threads = 0;  // 0: one a hardware thread
  Isa isa = best_isa();
  Precision precision = Precision::kExact;
  // Of scratch, asked from every thread of the device; nullptr: new and delete.
  std::pmr::memory_resource* memory = nullptr;
};

// Memory that one thread works in. What a call returns is lost at the next of the same name.
class Scratch {
 public:
  explicit Scratch(std::pmr::memory_resource* memory) : memory_(memory) {}
  float* queries(Index n) { return floats(queries_, n); }
  float* scores(Index n) { return floats(scores_, n); }
  float* rows(Index n) { return floats(rows_, n); }
  std::byte* panels(Index bytes) { return grow(panels_, bytes); }
  std::byte* product(Index bytes) { return grow(product_, bytes); }

 private:
  std::byte* grow(Buffer& b, Index bytes) {
    if (Index(b.size()) < bytes) {
      b = Buffer();
      b = Buffer(std::size_t(bytes), memory_);
    }
    return static_cast<std::byte*>(b.data());
  }
  float* floats(Buffer& b, Index n) { return reinterpret_cast<float*>(grow(b, n * Index(sizeof(float)))); }

  std::pmr::memory_resource* memory_;
  Buffer queries_, scores_, rows_, panels_, product_;
};

class Engine {
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

  explicit Engine(const Options& o) : isa_(o.isa), precision_(o.precision), kernels_(&table(o.isa)), pool_(o.threads) {
    for (int i = 0; i < pool_.size(); ++i) scratch_.emplace_back(o.memory);
  }

  Isa isa() const { return isa_; }
  std::string instruction_set() const { return std::string(isa_name(isa_)); }
  Precision precision() const { return precision_; }
  int threads() const { return pool_.size(); }

  // Bytes of scratch that work with these operands makes this device keep, at most.
  Index scratch_bytes(const LargestOps& ops) const {
    const Multiplier& exact = kernels_->exact;
    const Index block = exact.panels(kQueries) * exact.panel_bytes(kQueries, ops.head_dim);
    const Index packed = ops.columns ? exact.panels(ops.elements / ops.columns) * exact.panel_bytes(2, ops.columns) : 0;
    Index product = std::max(kFoldRows * kFoldColumns * Index(sizeof(float)), exact.scratch_bytes);
    for (const Multiplier* m : {&kernels_->bf16_product, &kernels_->q8_product, &kernels_->q4_product})
      if (m->run) product = std::max(product, m->scratch_bytes);
    const Index floats = kQueries * (ops.head_dim + ops.keys) + ops.width;
    return threads() * (floats * Index(sizeof(float)) + product) + (threads() - 1) * block + std::max(block, packed);
  }

 protected:
  static constexpr int kQueries = 24;              // queries that share one pass over the keys
  static constexpr Index kSmall = Index(1) << 15;  // work below which waking threads costs more than it saves
  static constexpr Index kFoldRows = 32, kFoldColumns = 512;  // of a matrix that are widened together to be folded

  struct Rows {
    const std::byte* data;
    Format format;
    Index step;  // bytes
    const Nf4Scales* nf4;
  };

  static const Kernels& table(Isa isa) {
    if (isa > best_isa())
      throw Error(ErrorKind::kDevice, "this machine runs instruction sets up to " + std::string(isa_name(best_isa())) +
                                          ", asked for " + std::string(isa_name(isa)));
#if FACELLAVA_X86
    if (isa == Isa::kAmx) return amx::kernels();
    if (isa == Isa::kAvx512Bf16) return avx512bf16::kernels();
    if (isa == Isa::kAvx512) return avx512::kernels();
    if (isa == Isa::kAvx2) return avx2::kernels();
#endif
    return portable::kernels();
  }

  static Rows rows_of(const Stored& w) { return {w.data, w.format, row_bytes(w.format, w.sizes[1]), w.nf4}; }
  static Rows rows_of(CMat w) { return rows_of(w.data, w.stride); }
  static Rows rows_of(View<const bf16, Host, kDyn, kDyn> w) { return rows_of(w.data, w.stride); }
  template <class T>
  static Rows rows_of(const T* p, Index stride) {
    constexpr Format format = std::is_same_v<T, float> ? Format::kF32 : Format::kBf16;
    return {reinterpret_cast<const std::byte*>(p), format, stride * Index(sizeof(T)), nullptr};
  }
  void keep(float* to, const float* from, Index n) const {
    if (to != from) std::copy_n(from, n, to);
  }
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
  // Row (frame f, head h, region 0) of a folded matrix.
  static Index folded(Index f, Index h, Index heads) { return (f * heads + h) * kRegionCount; }

  // Packs x, then splits the columns of y among the threads.
  void multiply(Product p, CMat x, const Multiplier& by) {
    if (p.m == 0) return;
    check_at_most(p.k, 1, "linear: columns of W");  // a sum of nothing has no tile
    const Index panels = by.panels(p.m), bytes = by.panel_bytes(p.m, p.k);
    std::byte* packed = scratch(0).panels(panels * bytes);
    p.x = packed;
    const auto pack = [&](Index i, int) { by.pack(packed + i * bytes, x.data, x.stride, p.m, p.k, i); };
    const bool small = p.m * p.n * p.k <= kSmall;
    if (small)
      for (Index i = 0; i < panels; ++i) pack(i, 0);
    else
      pool_.run(panels, pack);
    const Index width = small ? p.n : by.columns;
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

  Isa isa_;
  Precision precision_;
  const Kernels* kernels_;
  ThreadPool pool_;
  std::vector<Scratch> scratch_;
};

}  // namespace facellava::cpu

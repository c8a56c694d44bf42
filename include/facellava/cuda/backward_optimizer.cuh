// Steps of AdamW and SGD and sums of squares, over many tensors in one launch.
#pragma once
#include <cuda_bf16.h>

#include <cmath>
#include <cstring>

#include "facellava/cuda/backward_device.hpp"
#include "facellava/cuda/backward_rows.cuh"

namespace facellava::cuda {

inline constexpr int kUpdateThreads = 256, kUpdateQuads = 4, kBatchTensors = 24;

// What one launch takes: tensors, and the block behind the last of each. A kernel's argument: at most 4 KB.
struct UpdateBatch {
  TensorUpdate tensors[kBatchTensors];
  Index end[kBatchTensors], quads[kBatchTensors];  // quads of a row
  Access access[kBatchTensors];
  int count = 0;

  Index blocks() const { return count > 0 ? end[count - 1] : 0; }
};
static_assert(sizeof(UpdateBatch) <= 4000);

// Where a block works: a tensor and the number of the block in it.
struct UpdateBlock {
  int tensor;
  Index block;
};
__device__ inline UpdateBlock find_update(const UpdateBatch& batch) {
  int t = 0;
  while (Index(blockIdx.x) >= batch.end[t]) ++t;
  return {t, Index(blockIdx.x) - (t > 0 ? batch.end[t - 1] : 0)};
}

inline bool is_wide(const void* p, Index stride, std::size_t element) {
  return reinterpret_cast<std::uintptr_t>(p) % (4 * element) == 0 && (!p || stride % 4 == 0);
}
inline Access access_of(const TensorUpdate& t) {
  const bool wide = t.width % 4 == 0 && is_wide(t.w, t.w_stride, 4) && is_wide(t.m, t.m_stride, 4) &&
                    is_wide(t.v, t.v_stride, 4) && is_wide(t.dw, t.dw_stride, 4) &&
                    is_wide(t.rounded, t.rounded_stride, 2);
  return wide ? Access::kWide : Access::kScalar;
}

// f(batch, the index of its first tensor) for batches of the tensors that have elements. blocks_of(quads): of a tensor.
void each_batch(std::span<const TensorUpdate> tensors, auto&& blocks_of, auto&& f) {
  for (std::size_t first = 0; first < tensors.size(); first += kBatchTensors) {
    UpdateBatch batch;
    for (const TensorUpdate& from :
         tensors.subspan(first, std::min<std::size_t>(kBatchTensors, tensors.size() - first))) {
      const auto i = std::size_t(batch.count);
      batch.tensors[i] = from;
      batch.access[i] = access_of(from);
      batch.quads[i] = (from.width + 3) / 4;
      batch.end[i] = batch.blocks() + blocks_of(from.rows * batch.quads[i]);
      ++batch.count;
    }
    if (batch.blocks() > 0) f(batch, first);
  }
}

// A row's quad.
struct Place {
  Index row, column, left;
};
__device__ inline Place place_of(const UpdateBatch& batch, int t, Index quad) {
  const Index row = batch.tensors[t].rows == 1 ? 0 : quad / batch.quads[t], column = 4 * (quad - row * batch.quads[t]);
  return {row, column, batch.tensors[t].width - column};
}

__device__ inline Quad load_at(const float* p, Index stride, const Place& at, Access access) {
  p += at.row * stride + at.column;
  return access == Access::kWide ? load_quad<Access::kWide>(p, 4) : load_quad<Access::kScalar>(p, at.left);
}
__device__ inline void store_at(float* p, Index stride, const Place& at, Access access, const Quad& q) {
  p += at.row * stride + at.column;
  access == Access::kWide ? store_quad<Access::kWide>(p, 4, q) : store_quad<Access::kScalar>(p, at.left, q);
}

struct alignas(8) BrainQuad {
  __nv_bfloat16 v[4];
};
__device__ inline Quad load_brain(const void* from, Index stride, const Place& at, Access access) {
  const __nv_bfloat16* p = static_cast<const __nv_bfloat16*>(from) + at.row * stride + at.column;
  Quad q{};
  if (access == Access::kWide) {
    const BrainQuad b = *reinterpret_cast<const BrainQuad*>(p);
#pragma unroll
    for (int i = 0; i < 4; ++i) q.v[i] = __bfloat162float(b.v[i]);
  } else {
    for (int i = 0; i < min(at.left, Index(4)); ++i) q.v[i] = __bfloat162float(p[i]);
  }
  return q;
}
__device__ inline void store_brain(void* to, Index stride, const Place& at, Access access, const Quad& q) {
  __nv_bfloat16* p = static_cast<__nv_bfloat16*>(to) + at.row * stride + at.column;
  if (access == Access::kWide) {
    BrainQuad b;
#pragma unroll
    for (int i = 0; i < 4; ++i) b.v[i] = __float2bfloat16_rn(q.v[i]);
    *reinterpret_cast<BrainQuad*>(p) = b;
  } else {
    for (int i = 0; i < min(at.left, Index(4)); ++i) p[i] = __float2bfloat16_rn(q.v[i]);
  }
}

// One element's step; m and v in place. Both know numbers of the whole step and take a tensor's own rate and decay.
struct AdamWRule {
  float scale, beta1, rest1, beta2, rest2, root, epsilon;
  double rate, decay;  // rate: over 1 − β₁ᵗ

  static AdamWRule of(const AdamW& how, int step) {
    const double first = 1 - std::pow(how.beta1, step), second = 1 - std::pow(how.beta2, step);
    return {.scale = float(how.scale),
            .beta1 = float(how.beta1),
            .rest1 = float(1 - how.beta1),
            .beta2 = float(how.beta2),
            .rest2 = float(1 - how.beta2),
            .root = float(1 / std::sqrt(second)),
            .epsilon = float(how.epsilon),
            .rate = how.rate / first,
            .decay = how.rate * how.decay};
  }
  // Of a tensor: its rate, and what its weights shrink by.
  __device__ void own(const TensorUpdate& t, float& own_rate, float& shrink) const {
    own_rate = float(rate * t.rate);
    shrink = float(decay * t.rate * t.decay);
  }
  __device__ float next(float w, float& m, float& v, float dw, float own_rate, float shrink) const {
    const float g = scale * dw;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * (g * g);
    return w - (shrink * w + own_rate * m / (sqrtf(v) * root + epsilon));
  }
};
struct SgdRule {
  float scale, momentum;
  double rate, decay;

  static SgdRule of(const Sgd& how) { return {float(how.scale), float(how.momentum), how.rate, how.decay}; }
  __device__ void own(const TensorUpdate& t, float& own_rate, float& own_decay) const {
    own_rate = float(rate * t.rate);
    own_decay = float(decay * t.decay);
  }
  __device__ float next(float w, float& m, float&, float dw, float own_rate, float own_decay) const {
    m = momentum * m + (scale * dw + own_decay * w);
    return w - own_rate * m;
  }
};

// grid batch.blocks().
template <class Rule>
__global__ void __launch_bounds__(kUpdateThreads) update_kernel(const __grid_constant__ UpdateBatch batch, Rule rule) {
  const UpdateBlock here = find_update(batch);
  const TensorUpdate& t = batch.tensors[here.tensor];
  const Access access = batch.access[here.tensor];
  const Index quads = t.rows * batch.quads[here.tensor];
  float rate, decay;
  rule.own(t, rate, decay);
#pragma unroll
  for (int n = 0; n < kUpdateQuads; ++n) {
    const Index quad = (here.block * kUpdateQuads + n) * kUpdateThreads + threadIdx.x;
    if (quad >= quads) return;
    const Place at = place_of(batch, here.tensor, quad);
    const Quad g = load_at(t.dw, t.dw_stride, at, access);
    Quad w = t.w ? load_at(t.w, t.w_stride, at, access) : load_brain(t.rounded, t.rounded_stride, at, access), m{}, v{};
    if (t.m) m = load_at(t.m, t.m_stride, at, access);
    if (t.v) v = load_at(t.v, t.v_stride, at, access);
#pragma unroll
    for (int i = 0; i < 4; ++i) w.v[i] = rule.next(w.v[i], m.v[i], v.v[i], g.v[i], rate, decay);
    if (t.m) store_at(t.m, t.m_stride, at, access, m);
    if (t.v) store_at(t.v, t.v_stride, at, access, v);
    if (t.w) store_at(t.w, t.w_stride, at, access, w);
    if (t.rounded) store_brain(t.rounded, t.rounded_stride, at, access, w);
  }
}

template <class Rule>
void update(const DeviceState& dev, std::string_view what, std::span<const TensorUpdate> tensors, const Rule& rule) {
  constexpr Index kBlock = kUpdateThreads * kUpdateQuads;
  each_batch(
      tensors, [](Index quads) { return (quads + kBlock - 1) / kBlock; },
      [&](const UpdateBatch& batch, std::size_t) {
        launch(dev, what, update_kernel<Rule>, grid_of(batch.blocks()), dim3(kUpdateThreads), 0, batch, rule);
      });
}

// ---- sums of squares, in two passes: each block of a tensor leaves a sum, then one block of each tensor adds these

inline constexpr Index kSquareBlocks = 256;  // of a tensor, at most
struct SquareParts;

// Thread 0 gets the sum of all threads' v, once in a kernel. All threads must call.
template <int kThreads>
__device__ double block_sum(double v) {
  double* parts = shared_array<SquareParts, double, kThreads>();
  parts[threadIdx.x] = v;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) parts[threadIdx.x] += parts[threadIdx.x + half];
  }
  return threadIdx.x == 0 ? parts[0] : 0;
}

// partial[block] = Σ dw² of a block's quads; grid batch.blocks().
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    square_kernel(View<double, Space, kDyn> partial, const __grid_constant__ UpdateBatch batch) {
  const UpdateBlock here = find_update(batch);
  const TensorUpdate& t = batch.tensors[here.tensor];
  const Index blocks = batch.end[here.tensor] - (Index(blockIdx.x) - here.block),
              quads = t.rows * batch.quads[here.tensor];
  double sum = 0;
  for (Index quad = here.block * kThreads + threadIdx.x; quad < quads; quad += blocks * kThreads) {
    const Quad g = load_at(t.dw, t.dw_stride, place_of(batch, here.tensor, quad), batch.access[here.tensor]);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += double(g.v[i]) * double(g.v[i]);
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial(blockIdx.x) = sum;
}
// totals[t] += Σ partial of tensor t; grid batch.count.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    add_squares_kernel(View<double, Space, kDyn> totals, View<const double, Space, kDyn> partial,
                       const __grid_constant__ UpdateBatch batch) {
  const int t = blockIdx.x;
  double sum = 0;
  for (Index b = (t > 0 ? batch.end[t - 1] : 0) + threadIdx.x; b < batch.end[t]; b += kThreads) sum += partial(b);
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) totals(t) += sum;
}

// Error kCapacity if the scratch has no room for a sum per tensor of a batch.
inline void sum_squares(const DeviceState& dev, View<double, Space, kDyn> totals,
                        std::span<const TensorUpdate> tensors) {
  check_equal(tensors.size(), totals.rows(), "sum_squares: totals");
  const Index most = std::min(kSquareBlocks, Index(dev.scratch.size() / sizeof(double)) / kBatchTensors);
  if (most == 0)
    throw Error(ErrorKind::kCapacity, "sum_squares: expected scratch for " + std::to_string(kBatchTensors) +
                                          " sums, found " + std::to_string(dev.scratch.size()) + " bytes");
  each_batch(
      tensors, [&](Index quads) { return std::min(most, (quads + kUpdateThreads - 1) / kUpdateThreads); },
      [&](const UpdateBatch& batch, std::size_t first) {
        const View<double, Space, kDyn> partial(static_cast<double*>(dev.scratch.data()), batch.blocks()),
            own(totals.data + first, batch.count);
        launch(dev, "sum_squares", square_kernel<kUpdateThreads>, grid_of(batch.blocks()), dim3(kUpdateThreads), 0,
               partial, batch);
        launch(dev, "sum_squares", add_squares_kernel<kUpdateThreads>, dim3(unsigned(batch.count)),
               dim3(kUpdateThreads), 0, own, partial, batch);
      });
}

}  // namespace facellava::cuda

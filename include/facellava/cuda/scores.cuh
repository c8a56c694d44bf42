// Words from logits: the log probability of a given word, the likeliest word. One block a row.
#pragma once
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kScoreThreads = 256;

// Calls f(value, column) for a thread's share of a row of n, columns ascending.
template <Access A>
__device__ void for_each_logit(const float* row, Index n, auto&& f) {
  for (Index c = 4 * Index(threadIdx.x); c < n; c += 4 * kScoreThreads) {
    const Quad q = load_quad<A>(row + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (A == Access::kWide || c + i < n) f(q.v[i], c + i);
  }
}
template <Access A>
__device__ float largest_logit(const float* row, Index n) {
  float top = -INFINITY;
  for_each_logit<A>(row, n, [&](float v, Index) { top = fmaxf(top, v); });
  return block_reduce(top, Max{}, -INFINITY);
}

// scores, ids [r], logits [r, vocabulary].  =
template <Access A>
__global__ void __launch_bounds__(kScoreThreads)
    log_prob_kernel(View<float, Space, kDyn> scores, View<const float, Space, kDyn, kDyn> logits,
                    View<const int, Space, kDyn> ids, int* fault) {
  const Index r = blockIdx.x, n = logits.size(1), id = ids(r);
  if (id < 0 || id >= n) {
    if (threadIdx.x == 0) report_fault(fault, Fault::kScoredId);
    return;
  }
  const float* row = logits.row(r);
  const float top = largest_logit<A>(row, n);
  float sum = 0;
  for_each_logit<A>(row, n, [&](float v, Index) { sum += expf(v - top); });
  sum = block_reduce(sum, Sum{}, 0.f);
  if (threadIdx.x == 0) scores(r) = row[id] - top - logf(sum);
}

// ids [r], logits [r, vocabulary].  =  NaN is never the largest, unless it comes first: as in the reference.
template <Access A>
__global__ void __launch_bounds__(kScoreThreads)
    argmax_kernel(View<int, Space, kDyn> ids, View<const float, Space, kDyn, kDyn> logits) {
  const Index n = logits.size(1);
  const float* row = logits.row(blockIdx.x);
  const float top = largest_logit<A>(row, n);
  int first = int(n);
  for_each_logit<A>(row, n, [&](float v, Index c) {
    if (v == top) first = min(first, int(c));
  });
  first = block_reduce(first, Min{}, int(n));
  if (threadIdx.x == 0) ids(blockIdx.x) = row[0] != row[0] ? 0 : first;
}

inline void log_prob(const DeviceState& dev, View<float, Space, kDyn> scores,
                     View<const float, Space, kDyn, kDyn> logits, View<const int, Space, kDyn> ids) {
  if (logits.rows() == 0) return;
  launch(dev, "log_prob", is_wide(logits) ? log_prob_kernel<Access::kWide> : log_prob_kernel<Access::kScalar>,
         grid_of(logits.rows()), dim3(kScoreThreads), 0, scores, logits, ids, dev.fault_word());
}

// Error kShape for a row without numbers.
inline void argmax(const DeviceState& dev, View<int, Space, kDyn> ids, View<const float, Space, kDyn, kDyn> logits) {
  if (logits.rows() == 0) return;
  if (logits.size(1) == 0) throw Error(ErrorKind::kShape, "argmax: expected at least one number in a row, found 0");
  launch(dev, "argmax", is_wide(logits) ? argmax_kernel<Access::kWide> : argmax_kernel<Access::kScalar>,
         grid_of(logits.rows()), dim3(kScoreThreads), 0, ids, logits);
}

}  // namespace facellava::cuda

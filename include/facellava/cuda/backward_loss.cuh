// Cross entropy over a vocabulary and its gradient in place: one block a row.
#pragma once
#include "facellava/cuda/backward_rows.cuh"

namespace facellava::cuda {

inline constexpr int kLossThreads = 512;

// nll = −log softmax(logits)[label], logits become scale (softmax − one-hot); a label below 0: both 0; grid rows.  =
template <Access A>
__global__ void __launch_bounds__(kLossThreads)
    cross_entropy_kernel(View<float, Space, kDyn> nll, View<float, Space, kDyn, kDyn> logits,
                         View<const int, Space, kDyn> labels, float scale, int* fault) {
  const Index r = blockIdx.x, n = logits.size(1);
  const int label = labels(r);
  if (label >= n) {
    if (threadIdx.x == 0) report_fault(fault, Fault::kLabel);
    return;
  }
  if (label < 0) {
    each_quad(n, [&](Index c, Index left) { store_quad<A>(&logits(r, c), left, Quad{}); });
    if (threadIdx.x == 0) nll(r) = 0;
    return;
  }
  float top = -INFINITY, sum = 0;
  each_quad(n, [&](Index c, Index left) {
    const Quad a = load_quad<A>(&logits(r, c), left);
    for (int i = 0; i < min(left, Index(4)); ++i) top = fmaxf(top, a.v[i]);
  });
  top = block_reduce(top, Max{}, -INFINITY);
  each_quad(n, [&](Index c, Index left) {
    const Quad a = load_quad<A>(&logits(r, c), left);
    for (int i = 0; i < min(left, Index(4)); ++i) sum += expf(a.v[i] - top);
  });
  sum = block_reduce(sum, Sum{}, 0.f);
  if (threadIdx.x == 0) nll(r) = top + logf(sum) - logits(r, label);
  __syncthreads();  // the label's logit is read above and written below
  const float factor = scale / sum;
  each_quad(n, [&](Index c, Index left) {
    Quad a = load_quad<A>(&logits(r, c), left);
#pragma unroll
    for (int i = 0; i < 4; ++i) a.v[i] = expf(a.v[i] - top) * factor - (c + i == label ? scale : 0.f);
    store_quad<A>(&logits(r, c), left, a);
  });
}

inline void cross_entropy(const DeviceState& dev, View<float, Space, kDyn> nll, View<float, Space, kDyn, kDyn> logits,
                          View<const int, Space, kDyn> labels, float scale) {
  if (logits.rows() == 0) return;
  launch(dev, "cross_entropy",
         is_wide(logits) ? cross_entropy_kernel<Access::kWide> : cross_entropy_kernel<Access::kScalar>,
         grid_of(logits.rows()), threads_for(logits.size(1), kLossThreads), 0, nll, logits, labels, scale,
         dev.fault_word());
}

}  // namespace facellava::cuda

// RMSNorm: y = x / sqrt(mean(x²) + eps) · w. LayerNorm: y = (x − mean) / sqrt(var + eps) · w + b. One block a row, fp32
// statistics, a variance about the mean. Threads depend on the width only: so do a row's bits.
// Papers: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019; Ba et al., Layer Normalization, 2016.
#pragma once
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kNormThreads = 256;

// y [r, n], rstd [r], x [r, n], w [n]; grid r.  =
template <Access A>
__global__ void __launch_bounds__(kNormThreads)
    rms_norm_kernel(View<float, Space, kDyn, kDyn> y, View<float, Space, kDyn> rstd,
                    View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn> w, float eps) {
  const Index row = blockIdx.x, n = x.size(1), step = 4 * Index(blockDim.x);
  const float* from = x.row(row);
  float* to = y.row(row);
  float squares = 0;
  for (Index c = 4 * Index(threadIdx.x); c < n; c += step) {
    const Quad a = load_quad<A>(from + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i) squares += a.v[i] * a.v[i];
  }
  const float scale = 1.f / sqrtf(block_reduce(squares, Sum{}, 0.f) / float(n) + eps);
  if (threadIdx.x == 0) rstd(row) = scale;
  for (Index c = 4 * Index(threadIdx.x); c < n; c += step) {
    Quad a = load_quad<A>(from + c, n - c);
    const Quad b = load_quad<A>(w.data + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i) a.v[i] = a.v[i] * scale * b.v[i];
    store_quad<A>(to + c, n - c, a);
  }
}

// y [r, n], mean, rstd [r], x [r, n], w, b [n]; grid r.  =
template <Access A>
__global__ void __launch_bounds__(kNormThreads)
    layer_norm_kernel(View<float, Space, kDyn, kDyn> y, View<float, Space, kDyn> mean, View<float, Space, kDyn> rstd,
                      View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn> w,
                      View<const float, Space, kDyn> b, float eps) {
  const Index row = blockIdx.x, n = x.size(1), step = 4 * Index(blockDim.x);
  const float* from = x.row(row);
  float* to = y.row(row);
  float sum = 0, squares = 0;
  for (Index c = 4 * Index(threadIdx.x); c < n; c += step) {
    const Quad a = load_quad<A>(from + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += a.v[i];
  }
  const float middle = block_reduce(sum, Sum{}, 0.f) / float(n);
  for (Index c = 4 * Index(threadIdx.x); c < n; c += step) {
    const Quad a = load_quad<A>(from + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (A == Access::kWide || c + i < n) squares += (a.v[i] - middle) * (a.v[i] - middle);
  }
  const float scale = 1.f / sqrtf(block_reduce(squares, Sum{}, 0.f) / float(n) + eps);
  if (threadIdx.x == 0) {
    mean(row) = middle;
    rstd(row) = scale;
  }
  for (Index c = 4 * Index(threadIdx.x); c < n; c += step) {
    Quad a = load_quad<A>(from + c, n - c);
    const Quad p = load_quad<A>(w.data + c, n - c), q = load_quad<A>(b.data + c, n - c);
#pragma unroll
    for (int i = 0; i < 4; ++i) a.v[i] = (a.v[i] - middle) * scale * p.v[i] + q.v[i];
    store_quad<A>(to + c, n - c, a);
  }
}

inline dim3 norm_threads(Index n) {
  return dim3(unsigned(std::clamp<Index>((n + 4 * kWarp - 1) / (4 * kWarp), 1, kNormThreads / kWarp) * kWarp));
}

inline void rms_norm(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<float, Space, kDyn> rstd,
                     View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn> w, float eps) {
  if (x.rows() == 0) return;
  const bool wide = is_wide(y) && is_wide(x) && is_quad_aligned(w.data);
  launch(dev, "rms_norm", wide ? rms_norm_kernel<Access::kWide> : rms_norm_kernel<Access::kScalar>, grid_of(x.rows()),
         norm_threads(x.size(1)), 0, y, rstd, x, w, eps);
}

inline void layer_norm(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<float, Space, kDyn> mean,
                       View<float, Space, kDyn> rstd, View<const float, Space, kDyn, kDyn> x,
                       View<const float, Space, kDyn> w, View<const float, Space, kDyn> b, float eps) {
  if (x.rows() == 0) return;
  const bool wide = is_wide(y) && is_wide(x) && is_quad_aligned(w.data) && is_quad_aligned(b.data);
  launch(dev, "layer_norm", wide ? layer_norm_kernel<Access::kWide> : layer_norm_kernel<Access::kScalar>,
         grid_of(x.rows()), norm_threads(x.size(1)), 0, y, mean, rstd, x, w, b, eps);
}

}  // namespace facellava::cuda

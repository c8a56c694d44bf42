// RMSNorm: y = x / sqrt(mean(x²) + eps) · w; one block a row, fp32 statistics.
// Paper: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.
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

// The front door's op. Threads depend on the width only: so do a row's bits.
inline void rms_norm(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<float, Space, kDyn> rstd,
                     View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn> w, float eps) {
  if (x.rows() == 0) return;
  const Index warps = std::clamp<Index>((x.size(1) + 4 * kWarp - 1) / (4 * kWarp), 1, kNormThreads / kWarp);
  const bool wide = is_wide(y) && is_wide(x) && reinterpret_cast<std::uintptr_t>(w.data) % sizeof(Quad) == 0;
  launch(dev, "rms_norm", wide ? rms_norm_kernel<Access::kWide> : rms_norm_kernel<Access::kScalar>, grid_of(x.rows()),
         dim3(unsigned(warps * kWarp)), 0, y, rstd, x, w, eps);
}

}  // namespace facellava::cuda

// y = x Wᵀ + bias + residual for a few rows of x: what costs is reading W, so it is read as it is stored, once for all
// rows. A warp takes a row of W, lanes its octets in turn; one order of summation, whatever the number of rows.
#pragma once
#include "facellava/cuda/convert.cuh"

namespace facellava::cuda {

inline constexpr int kGemvRows = 4, kGemvThreads = 128;

// y, residual [r ≤ 4, out], x [r, in], W [out, in], bias [out]; bias and residual may be null. kWide: rows of x and W
// start at multiples of 16 bytes.  =  residual may be y.
template <Format F, Access A>
__global__ void __launch_bounds__(kGemvThreads)
    gemv_kernel(View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> x, Weight w, const float* bias,
                View<const float, Space, kDyn, kDyn> residual) {
  const int lane = threadIdx.x % kWarp;
  const Index out = Index(blockIdx.x) * (kGemvThreads / kWarp) + threadIdx.x / kWarp;
  if (out >= w.rows) return;
  float sum[kGemvRows] = {};
  for (Index o = lane; o < octets_of<F>(w.width); o += kWarp) {
    const Octet a = read_octet<F, A>(w, out, o);
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const Index column = octet_column<F>(o, part);
#pragma unroll
      for (int r = 0; r < kGemvRows; ++r) {
        if (r >= x.rows()) break;
        const Quad b = load_some<A>(x.row(r) + column, w.width - column);
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[r] += a.part[part].v[i] * b.v[i];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kGemvRows; ++r) {
    if (r >= x.rows()) break;
    float v = warp_reduce(sum[r], Sum{});
    if (lane != 0) continue;
    if (bias) v += bias[out];
    if (residual.data) v += residual(r, out);
    y(r, out) = v;
  }
}

inline void gemv(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> x,
                 const Weight& w, const float* bias, View<const float, Space, kDyn, kDyn> residual) {
  const bool wide = is_wide(w) && is_quad_aligned(x.data) && (x.rows() <= 1 || x.stride % 4 == 0);
  const auto kernel = for_format(w.format, [&]<Format F>(FormatConstant<F>) {
    return wide ? gemv_kernel<F, Access::kWide> : gemv_kernel<F, Access::kScalar>;
  });
  constexpr Index kOut = kGemvThreads / kWarp;
  launch(dev, "linear", kernel, grid_of((w.rows + kOut - 1) / kOut), dim3(kGemvThreads), 0, y, x, w, bias, residual);
}

}  // namespace facellava::cuda

// Backward of RMSNorm and LayerNorm: one block a row for dx, then sums of columns for the weights' gradients.
#pragma once
#include "facellava/core/sequence.hpp"
#include "facellava/cuda/backward_rows.cuh"

namespace facellava::cuda {

// x̂ = (x − mean) rstd:   dx = or += rstd (w dy − mean(w dy) − x̂ mean(w dy x̂)); grid rows.
// mean without data: RMSNorm, x̂ = x rstd and no mean(w dy).
template <Access A>
__global__ void __launch_bounds__(kLineThreads)
    norm_backward_kernel(View<float, Space, kDyn, kDyn> dx, View<const float, Space, kDyn, kDyn> dy,
                         View<const float, Space, kDyn> mean, View<const float, Space, kDyn> rstd,
                         View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn> w, Write write) {
  const Index r = blockIdx.x, n = x.size(1);
  const float scale = rstd(r), centre = mean.data ? mean(r) : 0.f;
  float plain = 0, along = 0;
  each_quad(n, [&](Index c, Index left) {
    const Quad a = load_quad<A>(&x(r, c), left), d = load_quad<A>(&dy(r, c), left), b = load_quad<A>(&w(c), left);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float g = d.v[i] * b.v[i];
      plain += g;
      along += g * ((a.v[i] - centre) * scale);
    }
  });
  along = block_reduce(along, Sum{}, 0.f) / float(n);
  plain = mean.data ? block_reduce(plain, Sum{}, 0.f) / float(n) : 0.f;
  each_quad(n, [&](Index c, Index left) {
    const Quad a = load_quad<A>(&x(r, c), left), d = load_quad<A>(&dy(r, c), left), b = load_quad<A>(&w(c), left);
    Quad sum = write == Write::kAccumulate ? load_quad<A>(&dx(r, c), left) : Quad{};
#pragma unroll
    for (int i = 0; i < 4; ++i) sum.v[i] += scale * (d.v[i] * b.v[i] - plain - (a.v[i] - centre) * scale * along);
    store_quad<A>(&dx(r, c), left, sum);
  });
}

inline void norm_backward(const DeviceState& dev, View<float, Space, kDyn, kDyn> dx,
                          View<const float, Space, kDyn, kDyn> dy, View<const float, Space, kDyn> mean,
                          View<const float, Space, kDyn> rstd, View<const float, Space, kDyn, kDyn> x,
                          View<const float, Space, kDyn> w, Write write) {
  if (x.rows() == 0) return;
  const bool wide = is_wide(dx) && is_wide(dy) && is_wide(x) && is_quad_aligned(w.data);
  launch(dev, mean.data ? "layer_norm_backward" : "rms_norm_backward",
         wide ? norm_backward_kernel<Access::kWide> : norm_backward_kernel<Access::kScalar>, grid_of(x.rows()),
         threads_for(x.size(1)), 0, dx, dy, mean, rstd, x, w, write);
}

}  // namespace facellava::cuda

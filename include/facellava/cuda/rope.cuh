// Rotary positions: rotates the pairs (k, D/2 + k) of every head by an angle from a table.
// Paper: Su et al., RoFormer, 2021; the pairing is Hugging Face's.
#pragma once
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kRopeThreads = 128;

// x [r, H, D] in place, positions [r], table [positions, D]: cosines, then sines; a block a row, a thread four pairs.
template <Access A>
__global__ void __launch_bounds__(kRopeThreads)
    rope_kernel(View<float, Space, kDyn, kDyn, kDyn> x, View<const int, Space, kDyn> positions,
                View<const float, Space, kDyn, kDyn> table, float sign, int* fault) {
  const Index row = blockIdx.x, position = positions(row), half = x.size(2) / 2, quads = (half + 3) / 4;
  if (position < 0 || position >= table.rows()) {
    if (threadIdx.x == 0) report_fault(fault, Fault::kPosition);
    return;
  }
  for (Index i = threadIdx.x; i < x.size(1) * quads; i += kRopeThreads) {
    const Index k = i % quads * 4, left = half - k;
    float *first = &x(row, i / quads, k), *second = first + half;
    const float* angle = table.row(position) + k;
    Quad a = load_quad<A>(first, left), b = load_quad<A>(second, left);
    const Quad cosine = load_quad<A>(angle, left), sine = load_quad<A>(angle + half, left);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float p = a.v[j], q = b.v[j], s = sine.v[j] * sign;
      a.v[j] = p * cosine.v[j] - q * s;
      b.v[j] = q * cosine.v[j] + p * s;
    }
    store_quad<A>(first, left, a);
    store_quad<A>(second, left, b);
  }
}

inline void rope(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> x, View<const int, Space, kDyn> positions,
                 View<const float, Space, kDyn, kDyn> table, Rotate way) {
  if (x.count() == 0) return;
  const bool wide = is_wide(x) && is_wide(table) && x.size(2) % 8 == 0;
  launch(dev, "rope", wide ? rope_kernel<Access::kWide> : rope_kernel<Access::kScalar>, grid_of(x.rows()),
         dim3(kRopeThreads), 0, x, positions, table, way == Rotate::kForward ? 1.f : -1.f, dev.fault_word());
}

}  // namespace facellava::cuda

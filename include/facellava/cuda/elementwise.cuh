// Ops on numbers at the same place: gelu, swiglu, axpy; a thread a quad.
#pragma once
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kElementThreads = 256;

struct Gelu {  // x Φ(x), by erf
  __device__ float operator()(float x, float) const { return 0.5f * x * (1 + erff(x * 0.7071067811865476f)); }
};
struct Swiglu {  // silu(gate) · up
  __device__ float operator()(float gate, float up) const { return gate / (1 + expf(-gate)) * up; }
};
struct Axpy {  // y + a x
  float a;
  __device__ float operator()(float x, float y) const { return y + a * x; }
};

// y = op(a, b); y, a, b [r, n].  =  a and b may be y.
template <Access A, class Op>
__global__ void __launch_bounds__(kElementThreads)
    elementwise_kernel(View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> a,
                       View<const float, Space, kDyn, kDyn> b, Op op) {
  const Index n = y.size(1), quads = (n + 3) / 4, i = Index(blockIdx.x) * kElementThreads + threadIdx.x,
              row = i / quads, c = i % quads * 4;
  if (row >= y.rows()) return;
  Quad p = load_quad<A>(a.row(row) + c, n - c);
  const Quad q = load_quad<A>(b.row(row) + c, n - c);
#pragma unroll
  for (int k = 0; k < 4; ++k) p.v[k] = op(p.v[k], q.v[k]);
  store_quad<A>(y.row(row) + c, n - c, p);
}

template <class Op>
void elementwise(const DeviceState& dev, std::string_view what, View<float, Space, kDyn, kDyn> y,
                 View<const float, Space, kDyn, kDyn> a, View<const float, Space, kDyn, kDyn> b, Op op) {
  if (y.count() == 0) return;
  const bool wide = is_wide(y) && is_wide(a) && is_wide(b);
  const Index quads = y.rows() * ((y.size(1) + 3) / 4);
  launch(dev, what, wide ? elementwise_kernel<Access::kWide, Op> : elementwise_kernel<Access::kScalar, Op>,
         grid_of((quads + kElementThreads - 1) / kElementThreads), dim3(kElementThreads), 0, y, a, b, op);
}

}  // namespace facellava::cuda

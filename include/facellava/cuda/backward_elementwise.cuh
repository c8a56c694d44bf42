// Backward of gelu and swiglu, losses of single numbers, fill: element by element, one block a row.
#pragma once
#include "facellava/core/backward_ops.hpp"
#include "facellava/cuda/backward_rows.cuh"

namespace facellava::cuda {

// dx = dy (Φ(x) + x φ(x)); grid rows.  =
template <Access A>
__global__ void __launch_bounds__(kLineThreads)
    gelu_backward_kernel(View<float, Space, kDyn, kDyn> dx, View<const float, Space, kDyn, kDyn> dy,
                         View<const float, Space, kDyn, kDyn> x) {
  const Index r = blockIdx.x;
  each_quad(x.size(1), [&](Index c, Index left) {
    const Quad a = load_quad<A>(&x(r, c), left);
    Quad d = load_quad<A>(&dy(r, c), left);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float v = a.v[i], below = 0.5f * (1.f + erff(v * 0.70710678f));
      d.v[i] *= below + v * (0.39894228f * expf(v * v * -0.5f));
    }
    store_quad<A>(&dx(r, c), left, d);
  });
}

// s = 1 / (1 + e^−gate):   dup = dy gate s, dgate = dy up s (1 + gate (1 − s)); grid rows.  =
template <Access A>
__global__ void __launch_bounds__(kLineThreads)
    swiglu_backward_kernel(View<float, Space, kDyn, kDyn> dgate, View<float, Space, kDyn, kDyn> dup,
                           View<const float, Space, kDyn, kDyn> dy, View<const float, Space, kDyn, kDyn> gate,
                           View<const float, Space, kDyn, kDyn> up) {
  const Index r = blockIdx.x;
  each_quad(dy.size(1), [&](Index c, Index left) {
    const Quad d = load_quad<A>(&dy(r, c), left), u = load_quad<A>(&up(r, c), left);
    Quad of_gate = load_quad<A>(&gate(r, c), left), of_up;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float g = of_gate.v[i], s = 1.f / (1.f + expf(-g));
      of_up.v[i] = d.v[i] * g * s;
      of_gate.v[i] = d.v[i] * u.v[i] * s * (1.f + g * (1.f - s));
    }
    store_quad<A>(&dup(r, c), left, of_up);
    store_quad<A>(&dgate(r, c), left, of_gate);
  });
}

template <Access A>
__global__ void __launch_bounds__(kLineThreads) fill_kernel(View<float, Space, kDyn, kDyn> x, float a) {
  each_quad(x.size(1), [&](Index c, Index left) { store_quad<A>(&x(blockIdx.x, c), left, Quad{{a, a, a, a}}); });
}

// A loss and its gradient by the prediction.
struct LossOfOne {
  float loss, gradient;
};
struct BinaryCrossEntropy {
  __device__ LossOfOne operator()(float x, float t) const {
    if (t < 0) return {0, 0};
    const float small = expf(-fabsf(x));
    return {fmaxf(x, 0.f) - t * x + log1pf(small), (x < 0 ? small : 1.f) / (1.f + small) - t};
  }
};
template <Distance kDistance>
struct Regression {
  __device__ LossOfOne operator()(float y, float t) const {
    if (t != t) return {0, 0};
    const float e = y - t, size = fabsf(e);
    if constexpr (kDistance == Distance::kSquared) return {e * e, 2 * e};
    return size < 1 ? LossOfOne{e * e / 2, e} : LossOfOne{size - 0.5f, e < 0 ? -1.f : 1.f};
  }
};

// loss = F's, y becomes scale · its gradient; grid rows.  =
template <class F>
__global__ void __launch_bounds__(kLineThreads)
    loss_kernel(View<float, Space, kDyn, kDyn> loss, View<float, Space, kDyn, kDyn> y,
                View<const float, Space, kDyn, kDyn> targets, float scale) {
  const Index r = blockIdx.x;
  for (Index c = threadIdx.x; c < y.size(1); c += blockDim.x) {
    const LossOfOne l = F()(y(r, c), targets(r, c));
    loss(r, c) = l.loss;
    y(r, c) = scale * l.gradient;
  }
}

// Launches the kernel for rows of `width`, a block each.
template <class... P, class... V>
void launch_rows(const DeviceState& dev, std::string_view what, void (*kernel)(P...), Index rows, Index width,
                 const V&... v) {
  if (rows > 0 && width > 0) launch(dev, what, kernel, grid_of(rows), threads_for(width), 0, v...);
}

}  // namespace facellava::cuda

// Widens bf16 and fp16 to fp32: exact.
#pragma once
#include <cuda_fp16.h>

#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kWidenThreads = 256, kWidenEach = 8;

template <Format F>
__device__ float widen(unsigned short bits) {
  static_assert(F == Format::kBf16 || F == Format::kF16);
  if constexpr (F == Format::kBf16) return __uint_as_float(unsigned(bits) << 16);
  if constexpr (F == Format::kF16) return __half2float(__ushort_as_half(bits));
}

struct alignas(16) Eight {
  unsigned short v[kWidenEach];
};

// to[i] = from[i], kWidenEach elements a thread. to is 16-byte aligned; kWide: so is from.
template <Format F, Access A>
__global__ void __launch_bounds__(kWidenThreads) widen_kernel(float* to, const unsigned short* from, Index count) {
  const Index first = (Index(blockIdx.x) * blockDim.x + threadIdx.x) * kWidenEach, left = count - first;
  if (left >= kWidenEach && A == Access::kWide) {
    const Eight a = *reinterpret_cast<const Eight*>(from + first);
#pragma unroll
    for (int half = 0; half < kWidenEach; half += 4) {
      Quad q;
#pragma unroll
      for (int i = 0; i < 4; ++i) q.v[i] = widen<F>(a.v[half + i]);
      store_quad<Access::kWide>(to + first + half, 4, q);
    }
  } else {
    for (Index i = first; i < min(count, first + kWidenEach); ++i) to[i] = widen<F>(from[i]);
  }
}

// to [count] fp32, 16-byte aligned; from [count] bf16 or fp16.
inline void widen(const DeviceState& dev, float* to, const void* from, Format format, Index count) {
  if (count == 0) return;
  const bool wide = reinterpret_cast<std::uintptr_t>(from) % sizeof(Eight) == 0;
  const auto kernel =
      format == Format::kBf16
          ? (wide ? widen_kernel<Format::kBf16, Access::kWide> : widen_kernel<Format::kBf16, Access::kScalar>)
          : (wide ? widen_kernel<Format::kF16, Access::kWide> : widen_kernel<Format::kF16, Access::kScalar>);
  constexpr Index kBlock = kWidenThreads * kWidenEach;
  launch(dev, "widening a matrix", kernel, grid_of((count + kBlock - 1) / kBlock), dim3(kWidenThreads), 0, to,
         static_cast<const unsigned short*>(from), count);
}

}  // namespace facellava::cuda

// What kernels are made of: reductions over a warp and a block, 16-byte accesses.
// Sums go in one fixed order, which depends on the block's size only.
#pragma once
#include "facellava/core/view.hpp"
#include "facellava/cuda/shared_memory.cuh"

namespace facellava::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Min {
  __device__ int operator()(int a, int b) const { return min(a, b); }
};

// Every lane gets the result. All lanes of the warp must call.
template <class T, class Op>
__device__ T warp_reduce(T v, Op op) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) v = op(v, __shfl_xor_sync(kAllLanes, v, lanes));
  return v;
}

struct BlockParts;  // the tag of one array for all of a kernel's block reductions

// Every thread gets the result. All threads must call; the block is whole warps along x. neutral: op's.
template <class T, class Op>
__device__ T block_reduce(T v, Op op, T neutral) {
  T* parts = shared_array<BlockParts, T, kWarp>();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  v = warp_reduce(v, op);
  __syncthreads();  // an earlier call's parts may still be read
  if (lane == 0) parts[warp] = v;
  __syncthreads();
  return warp_reduce(lane < warps ? parts[lane] : neutral, op);
}

struct alignas(16) Quad {
  float v[4];
};

// kWide: every row starts at a multiple of 16 bytes and is whole quads. Both ways visit elements in the same order.
enum class Access { kScalar, kWide };

inline bool is_quad_aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % sizeof(Quad) == 0; }
template <class V>
bool is_wide(const V& v) {
  return is_quad_aligned(v.data) && v.stride % 4 == 0 && v.size(V::kRank - 1) % 4 == 0;
}

// left: elements up to the end of the row; those behind it read as 0.
template <Access A>
__device__ Quad load_quad(const float* p, Index left) {
  if constexpr (A == Access::kWide) {
    return *reinterpret_cast<const Quad*>(p);
  } else {
    Quad q;
#pragma unroll
    for (int i = 0; i < 4; ++i) q.v[i] = i < left ? p[i] : 0.f;
    return q;
  }
}
template <Access A>
__device__ void store_quad(float* p, Index left, const Quad& q) {
  if constexpr (A == Access::kWide) {
    *reinterpret_cast<Quad*>(p) = q;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < left) p[i] = q.v[i];
  }
}

}  // namespace facellava::cuda

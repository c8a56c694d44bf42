// Backward of the region attention and of the scale of its bias (core/backward_ops.hpp).
#pragma once
#include "facellava/core/regions.hpp"
#include "facellava/cuda/attention.cuh"
#include "facellava/cuda/backward_rows.cuh"

namespace facellava::cuda {

inline constexpr int kMaxRegions = kWarp;

// Of a token's head, lane g: p and ds of region g, or 0. The whole warp calls.
struct RegionWeights {
  float p = 0, ds = 0;

  __device__ RegionWeights(View<const float, Space, kDyn, kDyn, kDyn> d_o,
                           View<const float, Space, kDyn, kDyn, kDyn> weights,
                           View<const float, Space, kDyn, kDyn, kDyn> v, Index row, Index head, Index first, int lane) {
    float along = 0;
    for (int g = 0; g < int(weights.size(2)); ++g) {
      float sum = 0;
      for (Index d = lane; d < v.size(2); d += kWarp) sum += d_o(row, head, d) * v(first + g, head, d);
      sum = warp_reduce(sum, Sum{});
      if (lane == g) along = sum;
    }
    if (lane < weights.size(2)) p = weights(row, head, lane);
    ds = p * (along - warp_reduce(p * along, Sum{}));
  }
};

// dq = scale ds k, dbias = Σ_heads ds; a warp a token; grid tokens / kWarps. dbias without data: not wanted.  =
template <int kWarps>
__global__ void __launch_bounds__(kWarps* kWarp)
    region_dq_kernel(View<float, Space, kDyn, kDyn, kDyn> dq, View<float, Space, kDyn, kDyn> dbias,
                     View<const float, Space, kDyn, kDyn, kDyn> d_o, View<const float, Space, kDyn, kDyn, kDyn> p,
                     View<const float, Space, kDyn, kDyn, kDyn> k, View<const float, Space, kDyn, kDyn, kDyn> v,
                     Index tokens, float scale) {
  const int lane = threadIdx.x % kWarp, regions = int(p.size(2));
  const Index row = Index(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= dq.rows()) return;
  const Index first = row / tokens * regions;
  float bias = 0;
  for (Index head = 0; head < dq.size(1); ++head) {
    const RegionWeights w(d_o, p, v, row, head, first, lane);
    bias += w.ds;
    for (Index start = 0; start < dq.size(2); start += kWarp) {
      const Index d = start + lane;
      float sum = 0;
      for (int g = 0; g < regions; ++g) {
        const float ds = __shfl_sync(kAllLanes, w.ds, g);
        if (d < dq.size(2)) sum += ds * k(first + g, head, d);
      }
      if (d < dq.size(2)) dq(row, head, d) = sum * scale;
    }
  }
  if (dbias.data && lane < regions) dbias(row, lane) = bias;
}

// A block's shared memory: the gradients of a frame's keys and values, the weights of a tile of its tokens, a token a
// warp at a time.
inline constexpr int kTokenTile = 32;
inline std::size_t region_bytes(Index regions, Index dim) {
  return std::size_t(2 * regions * dim + 2 * kTokenTile * regions) * sizeof(float);
}

// dk = scale dsᵀ q, dv = pᵀ d_o, tokens ascending; grid (frames, H).  =
template <int kWarps>
__global__ void __launch_bounds__(kWarps* kWarp)
    region_dkv_kernel(View<float, Space, kDyn, kDyn, kDyn> dk, View<float, Space, kDyn, kDyn, kDyn> dv,
                      View<const float, Space, kDyn, kDyn, kDyn> d_o, View<const float, Space, kDyn, kDyn, kDyn> p,
                      View<const float, Space, kDyn, kDyn, kDyn> q, View<const float, Space, kDyn, kDyn, kDyn> v,
                      Index tokens, float scale) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, regions = int(p.size(2)), dim = int(q.size(2));
  const Index first = Index(blockIdx.x) * regions, head = blockIdx.y, row0 = Index(blockIdx.x) * tokens;
  float *of_k = dynamic_shared<float>(), *of_v = of_k + regions * dim, *ds = of_v + regions * dim,
        *weight = ds + kTokenTile * regions;
  // A thread keeps to its elements: none of them needs a barrier.
  for (int e = threadIdx.x; e < regions * dim; e += blockDim.x) of_k[e] = of_v[e] = 0;
  for (Index start = 0; start < tokens; start += kTokenTile) {
    const int count = int(min(tokens - start, Index(kTokenTile)));
    for (int t = warp; t < count; t += kWarps) {
      const RegionWeights w(d_o, p, v, row0 + start + t, head, first, lane);
      if (lane < regions) {
        ds[t * regions + lane] = w.ds;
        weight[t * regions + lane] = w.p;
      }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < regions * dim; e += blockDim.x) {
      const int g = e / dim, d = e % dim;
      float key = of_k[e], value = of_v[e];
      for (int t = 0; t < count; ++t) {
        key += ds[t * regions + g] * q(row0 + start + t, head, d);
        value += weight[t * regions + g] * d_o(row0 + start + t, head, d);
      }
      of_k[e] = key;
      of_v[e] = value;
    }
    __syncthreads();
  }
  for (int e = threadIdx.x; e < regions * dim; e += blockDim.x) {
    dk(first + e / dim, head, e % dim) = of_k[e] * scale;
    dv(first + e / dim, head, e % dim) = of_v[e];
  }
}

// Error kShape for more than kMaxRegions regions, or tokens that are not whole frames.
inline void region_attention_backward(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> dq,
                                      View<float, Space, kDyn, kDyn, kDyn> dk, View<float, Space, kDyn, kDyn, kDyn> dv,
                                      View<float, Space, kDyn, kDyn> dbias,
                                      View<const float, Space, kDyn, kDyn, kDyn> d_o,
                                      View<const float, Space, kDyn, kDyn, kDyn> p,
                                      View<const float, Space, kDyn, kDyn, kDyn> q,
                                      View<const float, Space, kDyn, kDyn, kDyn> k,
                                      View<const float, Space, kDyn, kDyn, kDyn> v, float scale) {
  const Index regions = p.size(2), frames = k.rows() / regions, heads = q.size(1);
  check_at_most(Index(kMaxRegions), regions, "region_attention_backward: regions", ErrorKind::kShape);
  check_at_most(65535, heads, "region_attention_backward: heads", ErrorKind::kShape);
  check_at_most(Index(kMaxHeadSize), q.size(2), "region_attention_backward: head size", ErrorKind::kShape);
  check_equal(0, frames > 0 ? q.rows() % frames : q.rows(), "region_attention_backward: rows of q over whole frames");
  if (frames == 0 || heads == 0) return;
  const Index tokens = q.rows() / frames;
  constexpr int kWarps = 8;
  const dim3 block(kWarps * kWarp);
  if (tokens > 0)
    launch(dev, "region_attention_backward", region_dq_kernel<kWarps>, grid_of((q.rows() + kWarps - 1) / kWarps), block,
           0, dq, dbias, d_o, p, k, v, tokens, scale);
  launch(dev, "region_attention_backward", region_dkv_kernel<kWarps>, dim3(grid_of(frames).x, unsigned(heads)), block,
         region_bytes(regions, q.size(2)), dk, dv, d_o, p, q, v, tokens, scale);
}

// core/regions.hpp's table, as a kernel's argument.
struct RegionSpans {
  int first[kRegionCount], count[kRegionCount];
};
inline RegionSpans region_spans() {
  RegionSpans s;
  for (int g = 0; g < kRegionCount; ++g) {
    s.first[g] = kRegions[std::size_t(g)].first;
    s.count[g] = kRegions[std::size_t(g)].count;
  }
  return s;
}

// ds += −a Σ dbias · distance; one block, a frame at a time; a thread's terms in order, then one reduction.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    region_bias_backward_kernel(View<float, Space, kDyn> ds, View<const float, Space, kDyn, kDyn> dbias,
                                View<const float, Space, kDyn, kDyn> points, float a, int class_tokens, int n,
                                RegionSpans spans) {
  float* centre = dynamic_shared<float>();
  float sum = 0;
  for (Index f = 0; f < points.rows(); ++f) {
    if (const int i = threadIdx.x; i < 2 * kRegionCount) {
      float mean = 0;
      for (int j = 0; j < spans.count[i / 2]; ++j) mean += points(f, 2 * (spans.first[i / 2] + j) + i % 2);
      centre[i] = mean / float(spans.count[i / 2]);
    }
    __syncthreads();
    for (Index e = threadIdx.x; e < Index(n) * n * kRegionCount; e += blockDim.x) {
      const Index patch = e / kRegionCount, g = e % kRegionCount;
      const float dx = (float(patch % n) + 0.5f) / float(n) - centre[2 * g],
                  dy = (float(patch / n) + 0.5f) / float(n) - centre[2 * g + 1];
      sum += dbias(f * (class_tokens + Index(n) * n) + class_tokens + patch, g) * sqrtf(dx * dx + dy * dy);
    }
    __syncthreads();
  }
  sum = block_reduce(sum, Sum{}, 0.f);
  if (threadIdx.x == 0) ds(0) -= a * sum;
}

inline void region_bias_backward(const DeviceState& dev, View<float, Space, kDyn> ds,
                                 View<const float, Space, kDyn, kDyn> dbias,
                                 View<const float, Space, kDyn, kDyn> points, float a, ClassToken token, int n) {
  if (dbias.rows() == 0) return;
  launch(dev, "region_bias_backward", region_bias_backward_kernel<kLineThreads>, dim3(1), dim3(kLineThreads),
         2 * kRegionCount * sizeof(float), ds, dbias, points, a, int(token == ClassToken::kFirst), n, region_spans());
}

}  // namespace facellava::cuda

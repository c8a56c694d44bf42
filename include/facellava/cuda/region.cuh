// The attention of a frame's tokens over its nine face regions, plain: the bias (core/regions.hpp), and scores, softmax
// and values in one kernel. The folded way is in region_fold.cuh.
#pragma once
#include "facellava/core/regions.hpp"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kRegionThreads = 128;

struct RegionTable {
  int first[kRegionCount], count[kRegionCount];
};
inline RegionTable region_table() {
  RegionTable t{};
  for (int g = 0; g < kRegionCount; ++g) {
    t.first[g] = kRegions[std::size_t(g)].first;
    t.count[g] = kRegions[std::size_t(g)].count;
  }
  return t;
}

struct Centroids;  // tag

// bias [frames tokens, 9], points [frames, 136], stored [1] or null; grid (tokens / kRegionThreads, frames).  =
template <RegionBias kind>
__global__ void __launch_bounds__(kRegionThreads)
    region_bias_kernel(View<float, Space, kDyn, kDyn> bias, View<const float, Space, kDyn, kDyn> points,
                       const float* stored, float scale, int first, int n, RegionTable regions) {
  float* centre = shared_array<Centroids, float, 2 * kRegionCount>();
  const float* of_frame = points.row(blockIdx.y);
  if (threadIdx.x < 2 * kRegionCount) {
    const int g = int(threadIdx.x) / 2, axis = int(threadIdx.x) % 2;
    float sum = 0;
    for (int i = 0; i < regions.count[g]; ++i) sum += of_frame[2 * (regions.first[g] + i) + axis];
    centre[threadIdx.x] = sum / float(regions.count[g]);
  }
  __syncthreads();
  const int tokens = first + n * n, token = int(blockIdx.x) * kRegionThreads + int(threadIdx.x), i = token - first;
  if (token >= tokens) return;
  const float row = (float(i / n) + 0.5f) / float(n), column = (float(i % n) + 0.5f) / float(n);
  const float x = kind == RegionBias::kSoftmaxTransposed ? row : column,
              y = kind == RegionBias::kSoftmaxTransposed ? column : row;
  float value[kRegionCount] = {}, sum = 0;
#pragma unroll
  for (int g = 0; g < kRegionCount; ++g) {
    const float dx = x - centre[2 * g], dy = y - centre[2 * g + 1];
    if (i >= 0) value[g] = -sqrtf(dx * dx + dy * dy);
    if (kind != RegionBias::kDistance) sum += value[g] = expf(value[g]);
  }
  const float factor = stored ? scale * *stored : scale;
  float* to = bias.row(Index(blockIdx.y) * tokens + token);
#pragma unroll
  for (int g = 0; g < kRegionCount; ++g) to[g] = kind == RegionBias::kDistance ? value[g] * factor : value[g] / sum;
}

inline void region_bias(const DeviceState& dev, View<float, Space, kDyn, kDyn> bias,
                        View<const float, Space, kDyn, kDyn> points, const float* stored, float scale, RegionBias kind,
                        ClassToken token, int n) {
  const int first = token == ClassToken::kFirst, tokens = first + n * n;
  if (bias.rows() == 0) return;
  check_equal(kRegionCount, bias.size(1), "region_bias: regions");
  check_equal(2 * kPoints, points.size(1), "region_bias: numbers of a frame");
  check_at_most(65535, points.rows(), "region_bias: frames", ErrorKind::kShape);
  const dim3 grid(grid_of((tokens + kRegionThreads - 1) / kRegionThreads).x, unsigned(points.rows()));
  const auto kernel = kind == RegionBias::kDistance  ? region_bias_kernel<RegionBias::kDistance>
                      : kind == RegionBias::kSoftmax ? region_bias_kernel<RegionBias::kSoftmax>
                                                     : region_bias_kernel<RegionBias::kSoftmaxTransposed>;
  launch(dev, "region_bias", kernel, grid, dim3(kRegionThreads), 0, bias, points, stored, scale, first, n,
         region_table());
}

// Tokens of a frame. Error kShape where rows are not whole frames.
inline Index tokens_of(Index rows, Index frames, const char* what) {
  if (frames == 0 && rows > 0)
    throw Error(ErrorKind::kShape, std::string(what) + ": expected at least one frame, found 0");
  if (frames > 0) check_equal(0, rows % frames, what);
  return frames > 0 ? rows / frames : 0;
}

// o, q [r, H, D], p [r, H, regions], k, v [frames regions, H, D], bias [r, regions]; a warp a row and head.  =
// Lane g keeps region g's score: at most kWarp regions.
template <Bias B>
__global__ void __launch_bounds__(kRegionThreads)
    region_attention_kernel(View<float, Space, kDyn, kDyn, kDyn> o, View<float, Space, kDyn, kDyn, kDyn> p,
                            View<const float, Space, kDyn, kDyn, kDyn> q, View<const float, Space, kDyn, kDyn, kDyn> k,
                            View<const float, Space, kDyn, kDyn, kDyn> v, View<const float, Space, kDyn, kDyn> bias,
                            float scale, Index tokens) {
  const int lane = threadIdx.x % kWarp, regions = int(p.size(2));
  const Index task = Index(blockIdx.x) * (kRegionThreads / kWarp) + threadIdx.x / kWarp, heads = q.size(1),
              row = task / heads, head = task % heads, first = row / tokens * regions, dim = q.size(2);
  if (row >= q.rows()) return;
  float score = -INFINITY;
  for (int g = 0; g < regions; ++g) {
    float dot = 0;
    for (Index d = lane; d < dim; d += kWarp) dot += q(row, head, d) * k(first + g, head, d);
    dot = warp_reduce(dot, Sum{});
    if (lane != g) continue;
    score = dot * scale;
    if (B == Bias::kYes) score += bias(row, g);
  }
  const float top = warp_reduce(score, Max{});
  float weight = lane < regions ? expf(score - top) : 0.f;
  weight /= warp_reduce(weight, Sum{});
  if (lane < regions) p(row, head, lane) = weight;
  for (Index base = 0; base < dim; base += kWarp) {
    const Index d = base + lane;
    float value = 0;
    for (int g = 0; g < regions; ++g) {
      const float w = __shfl_sync(kAllLanes, weight, g);
      if (d < dim) value += w * v(first + g, head, d);
    }
    if (d < dim) o(row, head, d) = value;
  }
}

// Error kShape for more than kWarp regions, or rows that are not whole frames.
inline void region_attention(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> o,
                             View<float, Space, kDyn, kDyn, kDyn> p, View<const float, Space, kDyn, kDyn, kDyn> q,
                             View<const float, Space, kDyn, kDyn, kDyn> k, View<const float, Space, kDyn, kDyn, kDyn> v,
                             View<const float, Space, kDyn, kDyn> bias, float scale) {
  if (q.rows() == 0 || q.size(1) == 0) return;
  check_at_most(kWarp, p.size(2), "region_attention: regions", ErrorKind::kShape);
  const Index tokens = tokens_of(q.rows(), k.rows() / p.size(2), "region_attention: rows of q over whole frames");
  constexpr Index kTasks = kRegionThreads / kWarp;
  launch(dev, "region_attention",
         bias.data ? region_attention_kernel<Bias::kYes> : region_attention_kernel<Bias::kNone>,
         grid_of((q.rows() * q.size(1) + kTasks - 1) / kTasks), dim3(kRegionThreads), 0, o, p, q, k, v, bias, scale,
         tokens);
}

}  // namespace facellava::cuda

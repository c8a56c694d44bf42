// The region attention with a frame's nine keys and values folded into the matrices around them
// (layers/region_attention.hpp). Rows of a folded matrix: (frame, head, region).
#pragma once
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/matmul.cuh"
#include "facellava/cuda/region.cuh"

namespace facellava::cuda {

// Of row r of a folded matrix: its row (frame, region) of k or v, and its head.
struct Folded {
  Index row, head;
  __device__ Folded(Index r, Index heads)
      : row(r / (heads * kRegionCount) * kRegionCount + r % kRegionCount), head(r / kRegionCount % heads) {}
};

// a = Σ_d k[.., d] W[h D + d], c = Σ_d k[.., d] b[h D + d].   a [F H 9, in], c [F H 9], k [F 9, H, D], W [H D, in],
// b [H D] or null; grid (rows of a, octets / kRegionThreads). W comes from the cache for all rows of a but the first. =
template <Format F, Access A>
__global__ void __launch_bounds__(kRegionThreads)
    fold_keys_kernel(View<float, Space, kDyn, kDyn> a, View<float, Space, kDyn> c,
                     View<const float, Space, kDyn, kDyn, kDyn> k, Weight w, const float* b) {
  const Folded at(blockIdx.x, k.size(1));
  const Index dim = k.size(2), first = at.head * dim, o = Index(blockIdx.y) * kRegionThreads + threadIdx.x;
  if (blockIdx.y == 0 && threadIdx.x < kWarp) {
    float sum = 0;
    for (Index d = threadIdx.x; b && d < dim; d += kWarp) sum += k(at.row, at.head, d) * b[first + d];
    sum = warp_reduce(sum, Sum{});
    if (threadIdx.x == 0) c(blockIdx.x) = sum;
  }
  if (o >= octets_of<F>(w.width)) return;
  Octet sum{};
  for (Index d = 0; d < dim; ++d) {
    const float key = k(at.row, at.head, d);
    const Octet x = read_octet<F, A>(w, first + d, o);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum.part[i / 4].v[i % 4] += key * x.part[i / 4].v[i % 4];
  }
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const Index column = octet_column<F>(o, part);
    store_some<A>(a.row(blockIdx.x) + column, w.width - column, sum.part[part]);
  }
}

inline void fold_keys(const DeviceState& dev, View<float, Space, kDyn, kDyn> a, View<float, Space, kDyn> c,
                      View<const float, Space, kDyn, kDyn, kDyn> k, const Weight& w, const float* b) {
  if (a.rows() == 0) return;
  check_equal(0, k.rows() % kRegionCount, "fold_keys: rows of k over whole frames");
  const bool wide = is_wide(w) && is_wide(a);
  const auto kernel = for_format(w.format, [&]<Format F>(FormatConstant<F>) {
    return wide ? fold_keys_kernel<F, Access::kWide> : fold_keys_kernel<F, Access::kScalar>;
  });
  const Index chunks = (octets_of(w) + kRegionThreads - 1) / kRegionThreads;
  check_at_most(65535, chunks, "fold_keys: columns by the thousand", ErrorKind::kShape);
  const dim3 grid(grid_of(a.rows()).x, unsigned(std::max<Index>(chunks, 1)));
  launch(dev, "fold_keys", kernel, grid, dim3(kRegionThreads), 0, a, c, k, w, b);
}

// a = Σ_d v[.., d] W[:, h D + d].   a [F H 9, out], v [F 9, H, D], W [out, H D]; a warp an output of a frame and head.
template <Format F>
__global__ void __launch_bounds__(kRegionThreads)
    fold_values_kernel(View<float, Space, kDyn, kDyn> a, View<const float, Space, kDyn, kDyn, kDyn> v, Weight w,
                       Index outputs) {
  const int lane = threadIdx.x % kWarp;
  const Index task = Index(blockIdx.x) * (kRegionThreads / kWarp) + threadIdx.x / kWarp, out = task % outputs,
              first = task / outputs * kRegionCount;
  if (first >= a.rows()) return;
  const Folded at(first, v.size(1));
  const Index dim = v.size(2), begin = at.head * dim;
  constexpr Index kSpan = kHalved<F> ? 32 : 8, kEach = kSpan / 8;  // columns, and octets, that belong together
  float sum[kRegionCount] = {};
  for (Index o = begin / kSpan * kEach + lane; o < (begin + dim + kSpan - 1) / kSpan * kEach; o += kWarp) {
    const Octet x = read_octet<F, Access::kScalar>(w, out, o);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const Index d = octet_column<F>(o, i / 4) + i % 4 - begin;
      if (d < 0 || d >= dim) continue;
#pragma unroll
      for (int g = 0; g < kRegionCount; ++g) sum[g] += v(at.row + g, at.head, d) * x.part[i / 4].v[i % 4];
    }
  }
#pragma unroll
  for (int g = 0; g < kRegionCount; ++g) {
    const float all = warp_reduce(sum[g], Sum{});
    if (lane == g) a(first + g, out) = all;
  }
}

inline void fold_values(const DeviceState& dev, View<float, Space, kDyn, kDyn> a,
                        View<const float, Space, kDyn, kDyn, kDyn> v, const Weight& w) {
  if (a.count() == 0) return;
  check_equal(0, v.rows() % kRegionCount, "fold_values: rows of v over whole frames");
  const auto kernel = for_format(w.format, [&]<Format F>(FormatConstant<F>) { return fold_values_kernel<F>; });
  constexpr Index kTasks = kRegionThreads / kWarp;
  const Index tasks = a.rows() / kRegionCount * w.rows;
  launch(dev, "fold_values", kernel, grid_of((tasks + kTasks - 1) / kTasks), dim3(kRegionThreads), 0, a, v, w, w.rows);
}

// p = softmax(scale p + bias) over the last dimension; a thread a row and head. p [r, H, regions] in place,
// bias [r, regions].
template <Bias B>
__global__ void __launch_bounds__(kRegionThreads)
    region_softmax_kernel(View<float, Space, kDyn, kDyn, kDyn> p, View<const float, Space, kDyn, kDyn> bias,
                          float scale) {
  const Index task = Index(blockIdx.x) * kRegionThreads + threadIdx.x, row = task / p.size(1), regions = p.size(2);
  if (row >= p.rows()) return;
  float* scores = &p(row, task % p.size(1), 0);
  float top = -INFINITY, sum = 0;
  for (Index g = 0; g < regions; ++g) {
    scores[g] *= scale;
    if (B == Bias::kYes) scores[g] += bias(row, g);
    top = fmaxf(top, scores[g]);
  }
  for (Index g = 0; g < regions; ++g) sum += scores[g] = expf(scores[g] - top);
  for (Index g = 0; g < regions; ++g) scores[g] /= sum;
}

// p = softmax(scale (x aᵀ + c) + bias): a product a frame by cuBLASLt, then the softmax.
inline void region_scores(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> p,
                          View<const float, Space, kDyn, kDyn> x, View<const float, Space, kDyn, kDyn> a,
                          View<const float, Space, kDyn> c, View<const float, Space, kDyn, kDyn> bias, float scale) {
  const Index keys = p.row_size();
  if (p.count() == 0) return;
  const Index frames = a.rows() / keys, tokens = tokens_of(x.rows(), frames, "region_scores: rows of x over frames");
  for (Index f = 0; f < frames; ++f)
    matmul(dev, {.y = p.row(f * tokens),
                 .x = x.row(f * tokens),
                 .w = a.row(f * keys),
                 .bias = c.data + f * keys,
                 .residual = nullptr,
                 .rows = tokens,
                 .out = keys,
                 .in = x.size(1),
                 .y_stride = p.stride,
                 .x_stride = x.stride,
                 .w_stride = a.stride,
                 .residual_stride = 0});
  const Index tasks = p.rows() * p.size(1);
  launch(dev, "region_scores", bias.data ? region_softmax_kernel<Bias::kYes> : region_softmax_kernel<Bias::kNone>,
         grid_of((tasks + kRegionThreads - 1) / kRegionThreads), dim3(kRegionThreads), 0, p, bias, scale);
}

inline constexpr int kSumRows = 8;

// y = p a + b + residual.   y, residual [r, out], p [r, keys], a [frames keys, out], b [out], b and residual may be
// null; a block kSumRows rows of a frame, a thread four columns; grid (row tiles of all frames, columns).  =
template <Access A>
__global__ void __launch_bounds__(kRegionThreads)
    region_sum_kernel(View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> p,
                      View<const float, Space, kDyn, kDyn> a, const float* b,
                      View<const float, Space, kDyn, kDyn> residual, Index tokens) {
  const Index tiles = (tokens + kSumRows - 1) / kSumRows, frame = blockIdx.x / tiles,
              from = blockIdx.x % tiles * kSumRows, first = frame * tokens + from, keys = p.size(1),
              column = (Index(blockIdx.y) * kRegionThreads + threadIdx.x) * 4, left = y.size(1) - column;
  const int count = int(min(tokens - from, Index(kSumRows)));
  if (left <= 0) return;
  Quad sum[kSumRows] = {};
  for (Index k = 0; k < keys; ++k) {
    const Quad x = load_quad<A>(a.row(frame * keys + k) + column, left);
#pragma unroll
    for (int r = 0; r < kSumRows; ++r) {
      if (r >= count) break;
      const float weight = p(first + r, k);
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[r].v[i] += weight * x.v[i];
    }
  }
  const Quad added = b ? load_quad<A>(b + column, left) : Quad{};
#pragma unroll
  for (int r = 0; r < kSumRows; ++r) {
    if (r >= count) break;
    const Quad before = residual.data ? load_quad<A>(residual.row(first + r) + column, left) : Quad{};
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[r].v[i] += added.v[i] + before.v[i];
    store_quad<A>(y.row(first + r) + column, left, sum[r]);
  }
}

inline void region_sum(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> p,
                       View<const float, Space, kDyn, kDyn> a, const float* b,
                       View<const float, Space, kDyn, kDyn> residual) {
  if (y.count() == 0) return;
  const Index frames = p.size(1) > 0 ? a.rows() / p.size(1) : 0,
              tokens = tokens_of(y.rows(), frames, "region_sum: rows of y over whole frames");
  const bool wide = is_wide(y) && is_wide(a) && (!residual.data || is_wide(residual)) && is_quad_aligned(b);
  const Index tiles = frames * ((tokens + kSumRows - 1) / kSumRows),
              chunks = (y.size(1) + 4 * kRegionThreads - 1) / (4 * kRegionThreads);
  check_at_most(65535, chunks, "region_sum: columns by the thousand", ErrorKind::kShape);
  launch(dev, "region_sum", wide ? region_sum_kernel<Access::kWide> : region_sum_kernel<Access::kScalar>,
         dim3(grid_of(tiles).x, unsigned(chunks)), dim3(kRegionThreads), 0, y, p, a, b, residual, tokens);
}

}  // namespace facellava::cuda

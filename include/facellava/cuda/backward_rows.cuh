// Sums of rows: gradients that meet in one row, means of rows, sums over all rows of a column.
// Each sum belongs to one thread or one block, which adds its terms in order: no atomics.
#pragma once
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kLineThreads = 256;

// Whole warps for a row, a quad a thread.
inline dim3 threads_for(Index width, int most = kLineThreads) {
  return dim3(unsigned(std::clamp<Index>((width + 4 * kWarp - 1) / (4 * kWarp), 1, most / kWarp) * kWarp));
}

// f(first column, columns left) for the quads of a row that are this thread's.
template <class F>
__device__ void each_quad(Index width, F f) {
  for (Index c = 4 * Index(threadIdx.x); c < width; c += 4 * Index(blockDim.x)) f(c, width - c);
}

enum class Negative { kSkipped, kFault };

// dx[index[i]] += dy[i / each] / each, i ascending; grid (rows of index, any).
// The first i that names a row adds up all that name it, 32 indices at a look.
template <Access A>
__global__ void __launch_bounds__(kLineThreads)
    scatter_add_rows_kernel(View<float, Space, kDyn, kDyn> dx, View<const float, Space, kDyn, kDyn> dy,
                            View<const int, Space, kDyn> index, Index each, Negative negative, int* fault) {
  const Index i = blockIdx.x, n = dx.size(1);
  const int row = index(i), lane = threadIdx.x % kWarp;
  if (row < 0 && negative == Negative::kSkipped) return;
  if (row < 0 || row >= dx.rows()) {
    if (threadIdx.x == 0 && blockIdx.y == 0) report_fault(fault, Fault::kScatteredRow);
    return;
  }
  for (Index first = 0; first < i; first += kWarp)
    if (__ballot_sync(kAllLanes, first + lane < i && index(first + lane) == row)) return;
  // All lanes of a warp go round together: a look at the indices takes the whole warp.
  const Index step = 4 * Index(blockDim.x) * gridDim.y, warp_first = 4 * Index(threadIdx.x - lane);
  for (Index start = warp_first + 4 * Index(blockDim.x) * blockIdx.y; start < n; start += step) {
    const Index c = start + 4 * lane;
    Quad sum{};
    if (c < n) sum = load_quad<A>(&dx(row, c), n - c);
    for (Index first = i; first < index.rows(); first += kWarp) {
      unsigned same = __ballot_sync(kAllLanes, first + lane < index.rows() && index(first + lane) == row);
      for (Index j = first; same != 0; ++j, same >>= 1)
        if ((same & 1u) && c < n) {
          const Quad a = load_quad<A>(&dy(j / each, c), n - c);
#pragma unroll
          for (int e = 0; e < 4; ++e) sum.v[e] += a.v[e] / float(each);
        }
    }
    if (c < n) store_quad<A>(&dx(row, c), n - c, sum);
  }
}

inline void scatter_add_rows(const DeviceState& dev, View<float, Space, kDyn, kDyn> dx,
                             View<const float, Space, kDyn, kDyn> dy, View<const int, Space, kDyn> index, Index each,
                             Negative negative) {
  if (index.rows() == 0) return;
  const auto kernel =
      is_wide(dx) && is_wide(dy) ? scatter_add_rows_kernel<Access::kWide> : scatter_add_rows_kernel<Access::kScalar>;
  dim3 grid = grid_of(index.rows());
  grid.y = unsigned(std::clamp<Index>((dx.size(1) + 4 * kLineThreads - 1) / (4 * kLineThreads), 1, 65535));
  launch(dev, "scatter_add_rows", kernel, grid, threads_for(dx.size(1)), 0, dx, dy, index, each, negative,
         dev.fault_word());
}

// y[i] = mean over j of x[index[i each + j]]; grid rows of y.  =
template <Access A>
__global__ void __launch_bounds__(kLineThreads)
    mean_rows_kernel(View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> x,
                     View<const int, Space, kDyn> index, Index each, int* fault) {
  const Index r = blockIdx.x;
  for (Index j = 0; j < each; ++j)
    if (const int row = index(r * each + j); row < 0 || row >= x.rows()) {
      if (threadIdx.x == 0) report_fault(fault, Fault::kMeanRow);
      return;
    }
  each_quad(y.size(1), [&](Index c, Index left) {
    Quad sum{};
    for (Index j = 0; j < each; ++j) {
      const Quad a = load_quad<A>(&x(index(r * each + j), c), left);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum.v[e] += a.v[e];
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) sum.v[e] /= float(each);
    store_quad<A>(&y(r, c), left, sum);
  });
}

inline void mean_rows(const DeviceState& dev, View<float, Space, kDyn, kDyn> y, View<const float, Space, kDyn, kDyn> x,
                      View<const int, Space, kDyn> index) {
  if (y.rows() == 0) return;
  const auto kernel = is_wide(y) && is_wide(x) ? mean_rows_kernel<Access::kWide> : mean_rows_kernel<Access::kScalar>;
  launch(dev, "mean_rows", kernel, grid_of(y.rows()), threads_for(y.size(1)), 0, y, x, index, index.rows() / y.rows(),
         dev.fault_word());
}

struct ColumnParts;

// dw[c] += Σ_r dy(r, c) (x(r, c) − mean(r)) rstd(r), db[c] += Σ_r dy(r, c); grid columns / 32: a lane a
// column, a warp every kWarps-th row. dw or db without data: not wanted; mean without data: 0.
template <int kWarps>
__global__ void __launch_bounds__(kWarps* kWarp)
    add_columns_kernel(View<float, Space, kDyn> dw, View<float, Space, kDyn> db,
                       View<const float, Space, kDyn, kDyn> dy, View<const float, Space, kDyn> mean,
                       View<const float, Space, kDyn> rstd, View<const float, Space, kDyn, kDyn> x) {
  float* parts = shared_array<ColumnParts, float, 2 * kWarps * kWarp>();
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Index c = Index(blockIdx.x) * kWarp + lane, n = dy.size(1);
  float along = 0, plain = 0;
  for (Index r = warp; r < dy.rows() && c < n; r += kWarps) {
    const float d = dy(r, c);
    plain += d;
    if (dw.data) along += d * ((x(r, c) - (mean.data ? mean(r) : 0.f)) * rstd(r));
  }
  parts[threadIdx.x] = along;
  parts[kWarps * kWarp + threadIdx.x] = plain;
  __syncthreads();
  if (warp > 1 || c >= n) return;  // the first warp ends dw, the second db
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += parts[(warp * kWarps + w) * kWarp + lane];
  if (warp == 0 && dw.data) dw(c) += sum;
  if (warp == 1 && db.data) db(c) += sum;
}

inline void add_columns(const DeviceState& dev, View<float, Space, kDyn> dw, View<float, Space, kDyn> db,
                        View<const float, Space, kDyn, kDyn> dy, View<const float, Space, kDyn> mean,
                        View<const float, Space, kDyn> rstd, View<const float, Space, kDyn, kDyn> x) {
  if (dy.count() == 0 || (!dw.data && !db.data)) return;
  constexpr int kWarps = 16;
  launch(dev, "sums of columns", add_columns_kernel<kWarps>, grid_of((dy.size(1) + kWarp - 1) / kWarp),
         dim3(kWarps * kWarp), 0, dw, db, dy, mean, rstd, x);
}

}  // namespace facellava::cuda

// Rows that are found by index (embed, add_rows, gather_rows, kv_append), and pictures cut into rows of patches.
#pragma once
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/fault.cuh"

namespace facellava::cuda {

inline constexpr int kRowThreads = 128;
// Blocks on a multiprocessor that kv_append leaves registers for; ptxas would choose sixteen and spill.
inline constexpr int kAppendBlocks = 12;

// y[i] = or += W[ids[i]]; a block a row. y [r, n], ids [r], W [m, n]. kAssign: rows with a negative id stay.
template <Format F, Access A>
__global__ void __launch_bounds__(kRowThreads)
    read_rows_kernel(View<float, Space, kDyn, kDyn> y, View<const int, Space, kDyn> ids, Weight w, Write write,
                     int* fault, Fault bad) {
  const Index row = blockIdx.x, id = ids(row);
  if (id < 0 && write == Write::kAssign) return;
  if (id < 0 || id >= w.rows) {
    if (threadIdx.x == 0) report_fault(fault, bad);
    return;
  }
  for (Index o = threadIdx.x; o < octets_of<F>(w.width); o += kRowThreads) {
    Octet a = read_octet<F, A>(w, id, o);
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const Index column = octet_column<F>(o, part), left = w.width - column;
      float* to = y.row(row) + column;
      if (write == Write::kAccumulate) {
        const Quad before = load_some<A>(to, left);
#pragma unroll
        for (int i = 0; i < 4; ++i) a.part[part].v[i] += before.v[i];
      }
      store_some<A>(to, left, a.part[part]);
    }
  }
}

inline void read_rows(const DeviceState& dev, std::string_view what, View<float, Space, kDyn, kDyn> y,
                      View<const int, Space, kDyn> ids, const Weight& w, Write write, Fault bad) {
  if (y.count() == 0) return;
  const bool wide = is_wide(y) && is_wide(w);
  const auto kernel = for_format(w.format, [&]<Format F>(FormatConstant<F>) {
    return wide ? read_rows_kernel<F, Access::kWide> : read_rows_kernel<F, Access::kScalar>;
  });
  launch(dev, what, kernel, grid_of(y.rows()), dim3(kRowThreads), 0, y, ids, w, write, dev.fault_word(), bad);
}

// slab_k[slots[i]] = k[i], and v alike; a block a row. All [rows, width], the heads of a row side by side.
template <class T, Access A>
__global__ void __launch_bounds__(kRowThreads, kAppendBlocks)
    kv_append_kernel(View<T, Space, kDyn, kDyn> slab_k, View<T, Space, kDyn, kDyn> slab_v,
                     View<const float, Space, kDyn, kDyn> k, View<const float, Space, kDyn, kDyn> v,
                     View<const int, Space, kDyn> slots, int* fault) {
  const Index row = blockIdx.x, slot = slots(row), n = k.size(1);
  if (slot < 0 || slot >= min(slab_k.rows(), slab_v.rows())) {
    if (threadIdx.x == 0) report_fault(fault, Fault::kSlot);
    return;
  }
  for (Index c = 4 * Index(threadIdx.x); c < n; c += 4 * kRowThreads) {
    store_quad<A>(slab_k.row(slot) + c, n - c, load_quad<A>(k.row(row) + c, n - c));
    store_quad<A>(slab_v.row(slot) + c, n - c, load_quad<A>(v.row(row) + c, n - c));
  }
}

// [rows, H, D] seen as [rows, H D].
template <class T>
View<T, Space, kDyn, kDyn> flat(View<T, Space, kDyn, kDyn, kDyn> x) {
  View<T, Space, kDyn, kDyn> v(x.data, x.rows(), x.row_size());
  v.stride = x.stride;
  return v;
}

template <class T>
void kv_append(const DeviceState& dev, View<T, Space, kDyn, kDyn, kDyn> slab_k, View<T, Space, kDyn, kDyn, kDyn> slab_v,
               View<const float, Space, kDyn, kDyn, kDyn> k, View<const float, Space, kDyn, kDyn, kDyn> v,
               View<const int, Space, kDyn> slots) {
  if (k.count() == 0) return;
  const auto to_k = flat(slab_k), to_v = flat(slab_v);
  const auto from_k = flat(k), from_v = flat(v);
  const bool wide = is_wide(to_k) && is_wide(to_v) && is_wide(from_k) && is_wide(from_v);
  launch(dev, "kv_append", wide ? kv_append_kernel<T, Access::kWide> : kv_append_kernel<T, Access::kScalar>,
         grid_of(k.rows()), dim3(kRowThreads), 0, to_k, to_v, from_k, from_v, slots, dev.fault_word());
}

// cols [frames (1 + n²), 3 patch²], pixels [frames, 3 side²]; a block a row.  =  kWide: quads stay within a patch's
// row.
template <Access A>
__global__ void __launch_bounds__(kRowThreads)
    im2col_kernel(View<float, Space, kDyn, kDyn> cols, View<const float, Space, kDyn, kDyn> pixels, int side,
                  int patch) {
  constexpr int kEach = A == Access::kWide ? 4 : 1;
  const int n = side / patch, per_frame = 1 + n * n, i = int(blockIdx.x % unsigned(per_frame)) - 1;
  const float* frame = pixels.row(blockIdx.x / unsigned(per_frame));
  float* to = cols.row(blockIdx.x);
  for (int c = kEach * int(threadIdx.x); c < int(cols.size(1)); c += kEach * kRowThreads) {
    const int plane = c / (patch * patch), y = c / patch % patch, x = c % patch;
    const float* from = frame + (Index(plane) * side + i / n * patch + y) * side + i % n * patch + x;
    store_quad<A>(to + c, kEach, i < 0 ? Quad{} : load_quad<A>(from, kEach));
  }
}

inline void im2col(const DeviceState& dev, View<float, Space, kDyn, kDyn> cols,
                   View<const float, Space, kDyn, kDyn> pixels, int side, int patch) {
  if (cols.count() == 0) return;
  const bool wide = is_wide(cols) && is_wide(pixels) && side % 4 == 0 && patch % 4 == 0;
  launch(dev, "im2col", wide ? im2col_kernel<Access::kWide> : im2col_kernel<Access::kScalar>, grid_of(cols.rows()),
         dim3(kRowThreads), 0, cols, pixels, side, patch);
}

}  // namespace facellava::cuda

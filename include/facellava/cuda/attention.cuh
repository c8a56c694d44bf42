// Attention over Sequences and KvRanges (core/sequence.hpp): o = softmax(scale q kᵀ + mask) v by online softmax.
//
// A block takes kQueryTile queries of one sequence and one head, a warp a query. Keys come in tiles of a warp's size,
// counted along the sequence's ranges, through shared memory: a lane scores a key, then owns every 32nd value of the
// output. Sums go along the tiles in order, so that a query's bits do not depend on its neighbours, on where the ranges
// lie or on how a prompt was cut.
// Paper: Dao et al., FlashAttention, 2022 (the online softmax: Milakov and Gimelshein, 2018).
#pragma once
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kQueryTile = 8, kKeyTile = kWarp, kMaxHeadSize = 256;
// Blocks on a multiprocessor that a kernel with a warp a query leaves registers for, 0: as ptxas likes. For short heads
// it would choose six and spill.
template <int kChunks>
inline constexpr int kQueryBlocks = kChunks == 1 ? 4 : 0;

using Sequences = View<const Sequence, Space, kDyn>;
using Ranges = View<const KvRange, Space, kDyn>;

struct QueryTile {
  Index sequence, first;  // sequence < 0: there is none; first: number of its first query in the sequence
};

// The t-th tile of queries, counted through all sequences.
__device__ inline QueryTile find_query_tile(Sequences sequences, Index t) {
  for (Index s = 0; s < sequences.rows(); ++s) {
    const Index tiles = (max(Index(sequences(s).q_count), Index(0)) + kQueryTile - 1) / kQueryTile;
    if (t < tiles) return {s, t * kQueryTile};
    t -= tiles;
  }
  return {-1, 0};
}

__device__ inline bool all_inside(Index first, Index count, Index step, Index rows) {
  const Index last = first + (count - 1) * step;
  return first >= 0 && first < rows && last >= 0 && last < rows;
}

__device__ inline Fault check_sequence(const Sequence& s, Ranges ranges, Index q_rows, Index k_rows) {
  if (!all_inside(s.q_first, s.q_count, s.stride, q_rows)) return Fault::kQueryRow;
  if (s.ranges_count != 0 && (s.ranges_count < 0 || !all_inside(s.ranges_first, s.ranges_count, 1, ranges.rows())))
    return Fault::kKeyRange;
  for (Index n = 0; n < s.ranges_count; ++n) {
    const KvRange range = ranges(s.ranges_first + n);
    if (range.count != 0 && (range.count < 0 || !all_inside(range.first, range.count, s.stride, k_rows)))
      return Fault::kKeyRow;
  }
  return Fault::kNone;
}

// The row of the sequence's j-th key; j is less than the sum of its ranges' counts.
__device__ inline Index key_row(const Sequence& s, Ranges ranges, Index j) {
  Index n = s.ranges_first;
  while (j >= ranges(n).count) j -= ranges(n++).count;
  return ranges(n).first + j * s.stride;
}

// How many of `keys` keys the sequence's query number i sees.
__device__ inline Index keys_seen(const Sequence& s, Mask mask, Index keys, Index i) {
  return mask == Mask::kCausal ? max(keys - s.q_count + i + 1, Index(0)) : keys;
}

// The shared memory of a block, in floats. Rows of keys have odd length: lanes read one column without bank conflicts.
struct AttentionTile {
  Index dim, key_step;
  float *keys, *values, *query, *weights;  // [tile, key_step], [tile, dim], a warp's [dim], a warp's [tile]

  __device__ AttentionTile(float* memory, Index head_size, int warp)
      : dim(head_size),
        key_step(head_size | 1),
        keys(memory),
        values(keys + kKeyTile * key_step),
        query(values + kKeyTile * dim + warp * dim),
        weights(values + kKeyTile * dim + kQueryTile * dim + warp * kKeyTile) {}
  static std::size_t bytes(Index dim) {
    return std::size_t(kKeyTile * (dim | 1) + kKeyTile * dim + kQueryTile * (dim + kKeyTile)) * sizeof(float);
  }

  // Keys [first, first + count) of the sequence and their values; the whole block calls.
  template <Access A, class T>
  __device__ void load(View<const T, Space, kDyn, kDyn, kDyn> k, View<const T, Space, kDyn, kDyn, kDyn> v,
                       const Sequence& s, Ranges ranges, Index head, Index first, int count) {
    const int quads = int((dim + 3) / 4);
    for (int n = threadIdx.x; n < count * quads; n += blockDim.x) {
      const int key = n / quads, d = n % quads * 4, left = int(dim) - d;
      const Index row = key_row(s, ranges, first + key);
      const Quad a = load_quad<A>(&k(row, head, d), left), b = load_quad<A>(&v(row, head, d), left);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (i < left) {
          keys[key * key_step + d + i] = a.v[i];
          values[key * dim + d + i] = b.v[i];
        }
    }
  }
};

// A query's running softmax; lane l of its warp holds the output's elements l, l + 32, ...
template <int kChunks>
struct OnlineSoftmax {
  float top = -INFINITY, sum = 0, value[kChunks] = {};

  // Takes the tile's first `count` > 0 keys. The whole warp calls.
  __device__ void absorb(const AttentionTile& tile, int count, int lane, float scale) {
    float score = -INFINITY;
    if (lane < count) {
      float dot = 0;
      for (Index d = 0; d < tile.dim; ++d) dot += tile.query[d] * tile.keys[lane * tile.key_step + d];
      score = dot * scale;
    }
    const float higher = fmaxf(top, warp_reduce(score, Max{})), shrink = expf(top - higher),
                weight = lane < count ? expf(score - higher) : 0.f;
    top = higher;
    sum = sum * shrink + warp_reduce(weight, Sum{});
    tile.weights[lane] = weight;
    __syncwarp();
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      const Index d = c * kWarp + lane;
      if (d >= tile.dim) break;
      value[c] *= shrink;
      for (int key = 0; key < count; ++key) value[c] += tile.weights[key] * tile.values[key * tile.dim + d];
    }
  }
};

// o, q [r, H, D], lse [r, H], k, v [slab rows, Hkv, D]; D at most 32 kChunks; grid (any, H).  =
// Rows that no sequence names stay. Nothing to see gives o = 0, lse = 0.
template <int kChunks, class T, Access A>
__global__ void __launch_bounds__(kQueryTile* kWarp, kQueryBlocks<kChunks>)
    attention_kernel(View<float, Space, kDyn, kDyn, kDyn> o, View<float, Space, kDyn, kDyn> lse,
                     View<const float, Space, kDyn, kDyn, kDyn> q, View<const T, Space, kDyn, kDyn, kDyn> k,
                     View<const T, Space, kDyn, kDyn, kDyn> v, Sequences sequences, Ranges ranges, Mask mask,
                     float scale, int* fault) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Index head = blockIdx.y, kv_head = head / (q.size(1) / k.size(1));
  AttentionTile tile(dynamic_shared<float>(), q.size(2), warp);
  for (Index t = blockIdx.x;; t += gridDim.x) {
    const QueryTile queries = find_query_tile(sequences, t);
    if (queries.sequence < 0) return;
    const Sequence s = sequences(queries.sequence);
    if (const Fault f = check_sequence(s, ranges, q.rows(), k.rows()); f != Fault::kNone) {
      if (threadIdx.x == 0) report_fault(fault, f);
      return;
    }
    Index keys = 0;
    for (Index n = 0; n < s.ranges_count; ++n) keys += ranges(s.ranges_first + n).count;
    const Index i = queries.first + warp, row = s.q_first + i * s.stride,
                last = min(queries.first + kQueryTile, Index(s.q_count)) - 1;
    const Index seen_by_all = keys_seen(s, mask, keys, last), seen = i <= last ? keys_seen(s, mask, keys, i) : 0;

    if (i <= last)
      for (Index d = lane; d < tile.dim; d += kWarp) tile.query[d] = q(row, head, d);
    OnlineSoftmax<kChunks> softmax;
    for (Index first = 0; first < seen_by_all; first += kKeyTile) {
      tile.load<A>(k, v, s, ranges, kv_head, first, int(min(seen_by_all - first, Index(kKeyTile))));
      __syncthreads();
      if (first < seen) softmax.absorb(tile, int(min(seen - first, Index(kKeyTile))), lane, scale);
      __syncthreads();
    }
    if (i > last) continue;
    const float divisor = seen > 0 ? softmax.sum : 1.f;
#pragma unroll
    for (int c = 0; c < kChunks; ++c)
      if (const Index d = c * kWarp + lane; d < tile.dim) o(row, head, d) = softmax.value[c] / divisor;
    if (lane == 0) lse(row, head) = seen > 0 ? softmax.top + logf(softmax.sum) : 0.f;
  }
}

template <class T, Access A>
auto attention_kernel_for(Index head_size) {
  return head_size <= kWarp       ? attention_kernel<1, T, A>
         : head_size <= 2 * kWarp ? attention_kernel<2, T, A>
         : head_size <= 4 * kWarp ? attention_kernel<4, T, A>
                                  : attention_kernel<8, T, A>;
}

// k, v: fp32 or bf16. Error kShape for a head size above kMaxHeadSize or heads that do not divide.
template <class T>
void attention(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> o, View<float, Space, kDyn, kDyn> lse,
               View<const float, Space, kDyn, kDyn, kDyn> q, View<const T, Space, kDyn, kDyn, kDyn> k,
               View<const T, Space, kDyn, kDyn, kDyn> v, Sequences sequences, Ranges ranges, Mask mask, float scale) {
  const Index heads = q.size(1), dim = q.size(2);
  if (q.rows() == 0 || sequences.rows() == 0 || heads == 0) return;
  check_at_most(kMaxHeadSize, dim, "attention: head size", ErrorKind::kShape);
  check_at_most(65535, heads, "attention: heads", ErrorKind::kShape);
  if (k.size(1) <= 0 || heads % k.size(1) != 0)
    throw Error(ErrorKind::kShape, "attention: expected the heads of q to be a multiple of those of k, found " +
                                       std::to_string(heads) + " and " + std::to_string(k.size(1)));
  const auto kernel = is_wide(k) && is_wide(v) ? attention_kernel_for<T, Access::kWide>(dim)
                                               : attention_kernel_for<T, Access::kScalar>(dim);
  // One block a tile where no row belongs to two sequences; more tiles than that are taken in turn.
  const dim3 grid(grid_of(q.rows() / kQueryTile + sequences.rows()).x, unsigned(heads));
  launch(dev, "attention", kernel, grid, dim3(kQueryTile * kWarp), AttentionTile::bytes(dim), o, lse, q, k, v,
         sequences, ranges, mask, scale, dev.fault_word());
}

}  // namespace facellava::cuda

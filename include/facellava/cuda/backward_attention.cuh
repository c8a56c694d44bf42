// Backward of attention, from lse:  p = exp(scale q kᵀ − lse), ds = p (d_o vᵀ − Σ d_o o).
//
// Two kernels, each a mirror of the forward one (cuda/attention.cuh): a warp owns one row, the rows that it meets come
// in tiles of a warp's size through shared memory, a lane takes the products with one of them, then owns every 32nd
// element of the gradient. For dq the warp's row is a query and it meets keys; for dk and dv it is a row of k and v and
// it meets the queries that see it: sequence by sequence, head by head, in order. No atomics.
// Paper: Dao et al., FlashAttention, 2022.
#pragma once
#include "facellava/cuda/attention.cuh"

namespace facellava::cuda {

// The shared memory of a block, in floats: kKeyTile rows of a pair of views (k and v, or q and d_o), and of each warp a
// row of the other pair. Rows of the tile have odd length: lanes read one column without bank conflicts.
struct PairTile {
  int dim, step;
  float *a, *b, *lse, *delta;     // [tile, step], [tile, step], [tile], [tile]
  float *own_a, *own_b, *p, *ds;  // a warp's [dim], [dim], [tile], [tile]

  __device__ PairTile(float* memory, Index head_size, int warp)
      : dim(int(head_size)),
        step(dim | 1),
        a(memory),
        b(a + kKeyTile * step),
        lse(b + kKeyTile * step),
        delta(lse + kKeyTile),
        own_a(delta + kKeyTile + warp * 2 * (dim + kKeyTile)),
        own_b(own_a + dim),
        p(own_b + dim),
        ds(p + kKeyTile) {}
  static std::size_t bytes(Index dim) {
    return std::size_t(2 * kKeyTile * ((dim | 1) + 1) + kQueryTile * 2 * (dim + kKeyTile)) * sizeof(float);
  }

  // Rows row_of(0), ... of x and y; the whole block calls.
  template <Access A, class RowOf>
  __device__ void load(View<const float, Space, kDyn, kDyn, kDyn> x, View<const float, Space, kDyn, kDyn, kDyn> y,
                       Index head, int count, RowOf row_of) {
    const int quads = (dim + 3) / 4;
    for (int n = threadIdx.x; n < count * quads; n += blockDim.x) {
      const int i = n / quads, d = n % quads * 4, left = dim - d;
      const Index row = row_of(i);
      const Quad u = load_quad<A>(&x(row, head, d), left), v = load_quad<A>(&y(row, head, d), left);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (e < left) {
          a[i * step + d + e] = u.v[e];
          b[i * step + d + e] = v.v[e];
        }
    }
  }
  __device__ void load_own(View<const float, Space, kDyn, kDyn, kDyn> x, View<const float, Space, kDyn, kDyn, kDyn> y,
                           Index head, Index row, int lane) {
    for (int d = lane; d < dim; d += kWarp) {
      own_a[d] = x(row, head, d);
      own_b[d] = y(row, head, d);
    }
  }
  // p and ds · scale of the warp's row and the lane's, if the lane has one. The whole warp calls.
  __device__ void weigh(bool has, int lane, float of_lse, float of_delta, float scale) {
    float score = 0, along = 0;
    if (has)
      for (int d = 0; d < dim; ++d) {
        score += own_a[d] * a[lane * step + d];
        along += own_b[d] * b[lane * step + d];
      }
    const float weight = has ? expf(score * scale - of_lse) : 0.f;
    p[lane] = weight;
    ds[lane] = weight * (along - of_delta) * scale;
    __syncwarp();
  }
};

// Σ x y of a row's head; the whole warp calls.
__device__ inline float dot(View<const float, Space, kDyn, kDyn, kDyn> x, View<const float, Space, kDyn, kDyn, kDyn> y,
                            Index row, Index head, int lane) {
  float sum = 0;
  for (Index d = lane; d < x.size(2); d += kWarp) sum += x(row, head, d) * y(row, head, d);
  return warp_reduce(sum, Sum{});
}

__device__ inline Fault check_backward(const Sequence& s, Ranges ranges, Index q_rows, Index k_rows) {
  return s.stride == 0 ? Fault::kSameRow : check_sequence(s, ranges, q_rows, k_rows);
}
__device__ inline Index count_keys(const Sequence& s, Ranges ranges) {
  Index keys = 0;
  for (Index n = 0; n < s.ranges_count; ++n) keys += ranges(s.ranges_first + n).count;
  return keys;
}

// dq, d_o, o, q [r, H, D], lse [r, H], k, v [slab rows, Hkv, D]; D at most 32 kChunks; grid (any, H).  =
template <int kChunks, Access A>
__global__ void __launch_bounds__(kQueryTile* kWarp, kQueryBlocks<kChunks>)
    attention_dq_kernel(View<float, Space, kDyn, kDyn, kDyn> dq, View<const float, Space, kDyn, kDyn, kDyn> d_o,
                        View<const float, Space, kDyn, kDyn, kDyn> o, View<const float, Space, kDyn, kDyn> lse,
                        View<const float, Space, kDyn, kDyn, kDyn> q, View<const float, Space, kDyn, kDyn, kDyn> k,
                        View<const float, Space, kDyn, kDyn, kDyn> v, Sequences sequences, Ranges ranges, Mask mask,
                        float scale, int* fault) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Index head = blockIdx.y, kv_head = head / (q.size(1) / k.size(1));
  PairTile tile(dynamic_shared<float>(), q.size(2), warp);
  for (Index t = blockIdx.x;; t += gridDim.x) {
    const QueryTile queries = find_query_tile(sequences, t);
    if (queries.sequence < 0) return;
    const Sequence s = sequences(queries.sequence);
    if (const Fault f = check_backward(s, ranges, q.rows(), k.rows()); f != Fault::kNone) {
      if (threadIdx.x == 0) report_fault(fault, f);
      return;
    }
    const Index keys = count_keys(s, ranges), i = queries.first + warp, row = s.q_first + i * s.stride,
                last = min(queries.first + kQueryTile, Index(s.q_count)) - 1;
    const Index seen_by_all = keys_seen(s, mask, keys, last), seen = i <= last ? keys_seen(s, mask, keys, i) : 0;

    float of_lse = 0, of_delta = 0, sum[kChunks] = {};
    if (i <= last) {
      tile.load_own(q, d_o, head, row, lane);
      of_lse = lse(row, head);
      of_delta = dot(d_o, o, row, head, lane);
    }
    for (Index first = 0; first < seen_by_all; first += kKeyTile) {
      tile.load<A>(k, v, kv_head, int(min(seen_by_all - first, Index(kKeyTile))),
                   [&](int j) { return key_row(s, ranges, first + j); });
      __syncthreads();
      if (first < seen) {
        const int count = int(min(seen - first, Index(kKeyTile)));
        tile.weigh(lane < count, lane, of_lse, of_delta, scale);
#pragma unroll
        for (int c = 0; c < kChunks; ++c) {
          const int d = c * kWarp + lane;
          if (d >= tile.dim) break;
          for (int j = 0; j < count; ++j) sum[c] += tile.ds[j] * tile.a[j * tile.step + d];
        }
      }
      __syncthreads();
    }
    if (i > last) continue;
#pragma unroll
    for (int c = 0; c < kChunks; ++c)
      if (const int d = c * kWarp + lane; d < tile.dim) dq(row, head, d) = sum[c];
  }
}

// The number of a row among a range's keys, or −1.
__device__ inline Index key_number(const KvRange& range, Index stride, Index row) {
  const Index step = row - range.first, j = step / stride;
  return j * stride == step && j >= 0 && j < range.count ? j : -1;
}
// The least number among a range's keys that one of the rows [first, first + kQueryTile) has, or −1.
__device__ inline Index least_key(const KvRange& range, Index stride, Index first) {
  if (range.count == 0) return -1;
  const Index one = range.first, other = range.first + (range.count - 1) * stride;
  if (max(one, other) < first || min(one, other) >= first + kQueryTile) return -1;
  Index least = -1;
  for (int w = 0; w < kQueryTile; ++w)
    if (const Index j = key_number(range, stride, first + w); j >= 0 && (least < 0 || j < least)) least = j;
  return least;
}

// What a block of the kernel below has at hand: rows of k and v, a warp one of them, whose gradients it sums.
template <int kChunks, Access A>
struct KeyBlock {
  View<const float, Space, kDyn, kDyn, kDyn> d_o, o, q;
  View<const float, Space, kDyn, kDyn> lse;
  Mask mask;
  float scale;
  PairTile tile;
  Index kv_head, group, first_row, row;
  int lane, warp;
  float dk[kChunks] = {}, dv[kChunks] = {};

  // Adds what the queries of s give to the keys of one of its ranges. before: keys of its earlier ranges, all: of all
  // its ranges. The whole block calls.
  __device__ void take(const Sequence& s, const KvRange& range, Index before, Index all) {
    const Index least = least_key(range, s.stride, first_row), mine = key_number(range, s.stride, row);
    if (least < 0) return;
    // Query i sees the sequence's key j where i >= j - hidden; without a mask all do.
    const Index hidden = all - s.q_count;
    const auto first_query = [&](Index key) {
      return mask == Mask::kCausal ? max(before + key - hidden, Index(0)) : Index(0);
    };
    for (Index head = kv_head * group; head < (kv_head + 1) * group; ++head)
      for (Index i = first_query(least); i < s.q_count; i += kKeyTile) {
        const int count = int(min(s.q_count - i, Index(kKeyTile)));
        load(s, i, count, head);
        __syncthreads();
        if (mine >= 0) {
          const Index from = max(first_query(mine) - i, Index(0));
          if (from < count) absorb(int(from), count);
        }
        __syncthreads();
      }
  }

 private:
  // Queries [i, i + count) of s.
  __device__ void load(const Sequence& s, Index i, int count, Index head) {
    const auto query = [&](int t) { return s.q_first + (i + t) * s.stride; };
    tile.load<A>(q, d_o, head, count, query);
    for (int t = warp; t < count; t += kQueryTile) {
      const float delta = dot(d_o, o, query(t), head, lane);
      if (lane == 0) {
        tile.lse[t] = lse(query(t), head);
        tile.delta[t] = delta;
      }
    }
  }
  // The tile's queries [first, count). The whole warp calls.
  __device__ void absorb(int first, int count) {
    tile.weigh(lane < count, lane, lane < count ? tile.lse[lane] : 0.f, lane < count ? tile.delta[lane] : 0.f, scale);
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      const int d = c * kWarp + lane;
      if (d >= tile.dim) break;
      for (int i = first; i < count; ++i) {
        dk[c] += tile.ds[i] * tile.a[i * tile.step + d];
        dv[c] += tile.p[i] * tile.b[i * tile.step + d];
      }
    }
  }
};

// As above; dk, dv [slab rows, Hkv, D]; grid (tiles of k's rows, Hkv).  +=
template <int kChunks, Access A>
__global__ void __launch_bounds__(kQueryTile* kWarp)
    attention_dkv_kernel(View<float, Space, kDyn, kDyn, kDyn> dk, View<float, Space, kDyn, kDyn, kDyn> dv,
                         View<const float, Space, kDyn, kDyn, kDyn> d_o, View<const float, Space, kDyn, kDyn, kDyn> o,
                         View<const float, Space, kDyn, kDyn> lse, View<const float, Space, kDyn, kDyn, kDyn> q,
                         View<const float, Space, kDyn, kDyn, kDyn> k, View<const float, Space, kDyn, kDyn, kDyn> v,
                         Sequences sequences, Ranges ranges, Mask mask, float scale, int* fault) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Index kv_head = blockIdx.y, first_row = Index(blockIdx.x) * kQueryTile, row = first_row + warp;
  KeyBlock<kChunks, A> block{.d_o = d_o,
                             .o = o,
                             .q = q,
                             .lse = lse,
                             .mask = mask,
                             .scale = scale,
                             .tile = PairTile(dynamic_shared<float>(), q.size(2), warp),
                             .kv_head = kv_head,
                             .group = q.size(1) / k.size(1),
                             .first_row = first_row,
                             .row = row,
                             .lane = lane,
                             .warp = warp};
  if (row < k.rows()) block.tile.load_own(k, v, kv_head, row, lane);

  // Which sequences meet these rows: 32 at a look. Every warp finds the same, so barriers may follow.
  for (Index look = 0; look < sequences.rows(); look += kWarp) {
    bool bad = false, meets = false;
    if (look + lane < sequences.rows() && sequences(look + lane).q_count > 0) {
      const Sequence s = sequences(look + lane);
      const Fault f = check_backward(s, ranges, q.rows(), k.rows());
      bad = f != Fault::kNone;
      if (bad) report_fault(fault, f);
      for (Index n = 0; n < s.ranges_count && !bad && !meets; ++n)
        meets = least_key(ranges(s.ranges_first + n), s.stride, first_row) >= 0;
    }
    if (__ballot_sync(kAllLanes, bad)) return;
    unsigned left = __ballot_sync(kAllLanes, meets);
    for (Index at = look; left != 0; ++at, left >>= 1) {
      if ((left & 1u) == 0) continue;
      const Sequence s = sequences(at);
      const Index all = count_keys(s, ranges);
      Index before = 0;
      for (Index n = 0; n < s.ranges_count; ++n) {
        const KvRange range = ranges(s.ranges_first + n);
        block.take(s, range, before, all);
        before += range.count;
      }
    }
  }
  if (row >= k.rows()) return;
#pragma unroll
  for (int c = 0; c < kChunks; ++c)
    if (const int d = c * kWarp + lane; d < block.tile.dim) {
      dk(row, kv_head, d) += block.dk[c];
      dv(row, kv_head, d) += block.dv[c];
    }
}

// Launches both kernels for head sizes of at most 32 kChunks.
template <int kChunks, Access A>
void attention_backward_as(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> dq,
                           View<float, Space, kDyn, kDyn, kDyn> dk, View<float, Space, kDyn, kDyn, kDyn> dv,
                           const auto& d_o, const auto& o, const auto& lse, const auto& q, const auto& k, const auto& v,
                           Sequences sequences, Ranges ranges, Mask mask, float scale) {
  const std::size_t bytes = PairTile::bytes(q.size(2));
  const dim3 block(kQueryTile * kWarp),
      queries(grid_of(q.rows() / kQueryTile + sequences.rows()).x, unsigned(q.size(1))),
      keys(grid_of((k.rows() + kQueryTile - 1) / kQueryTile).x, unsigned(k.size(1)));
  launch(dev, "attention_backward", attention_dq_kernel<kChunks, A>, queries, block, bytes, dq, d_o, o, lse, q, k, v,
         sequences, ranges, mask, scale, dev.fault_word());
  if (k.rows() > 0)
    launch(dev, "attention_backward", attention_dkv_kernel<kChunks, A>, keys, block, bytes, dk, dv, d_o, o, lse, q, k,
           v, sequences, ranges, mask, scale, dev.fault_word());
}

// The front door's op. Error kShape for a head size above kMaxHeadSize or heads that do not divide.
inline void attention_backward(const DeviceState& dev, View<float, Space, kDyn, kDyn, kDyn> dq,
                               View<float, Space, kDyn, kDyn, kDyn> dk, View<float, Space, kDyn, kDyn, kDyn> dv,
                               View<const float, Space, kDyn, kDyn, kDyn> d_o,
                               View<const float, Space, kDyn, kDyn, kDyn> o, View<const float, Space, kDyn, kDyn> lse,
                               View<const float, Space, kDyn, kDyn, kDyn> q,
                               View<const float, Space, kDyn, kDyn, kDyn> k,
                               View<const float, Space, kDyn, kDyn, kDyn> v, Sequences sequences, Ranges ranges,
                               Mask mask, float scale) {
  const Index heads = q.size(1), dim = q.size(2);
  if (q.rows() == 0 || sequences.rows() == 0 || heads == 0) return;
  check_at_most(kMaxHeadSize, dim, "attention_backward: head size", ErrorKind::kShape);
  check_at_most(65535, heads, "attention_backward: heads", ErrorKind::kShape);
  if (k.size(1) <= 0 || heads % k.size(1) != 0)
    throw Error(ErrorKind::kShape,
                "attention_backward: expected the heads of q to be a multiple of those of k, found " +
                    std::to_string(heads) + " and " + std::to_string(k.size(1)));
  const auto run = [&]<int kChunks>() {
    if (is_wide(q) && is_wide(d_o) && is_wide(k) && is_wide(v))
      attention_backward_as<kChunks, Access::kWide>(dev, dq, dk, dv, d_o, o, lse, q, k, v, sequences, ranges, mask,
                                                    scale);
    else
      attention_backward_as<kChunks, Access::kScalar>(dev, dq, dk, dv, d_o, o, lse, q, k, v, sequences, ranges, mask,
                                                      scale);
  };
  if (dim <= kWarp) return run.operator()<1>();
  if (dim <= 2 * kWarp) return run.operator()<2>();
  if (dim <= 4 * kWarp) return run.operator()<4>();
  run.operator()<8>();
}

}  // namespace facellava::cuda

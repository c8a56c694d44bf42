// The matrix product of every vector instruction set, once: included inside its namespace behind the primitives of
// kernels.inl. A Dot says what one step along K is:
//   kRows, kColumns     the tile of y that registers hold (kRows rows of x by kColumns rows of w)
//   kStep, kBlock       values of k that one step takes; steps after which the next tile's turn comes (L1)
//   X, W                a step of one row in registers
//   step_bytes(rows)    bytes of a step of a packed panel; kRowBytes: of a row of w
//   pack(step, row, rows, x, n), load_x(step, row, rows)     x: n <= kStep values, then zeros
//   load_w(w), load_w_first(w, n)
//   add(sum, x, w)      sum += x · w, lane by lane
//   kWidens             whether other formats are widened to its own, block by block
// A single row of x may have a Dot of its own (Row), whose sums have the same bits.
// No lambdas here: they would lose the target.

inline constexpr Index kColumnChunk = 48;  // rows of w that are taken together
inline constexpr Index kRowBlock = 96;     // rows of x whose sums one pass over a chunk of w keeps

template <class D>
constexpr Index steps(Index k) {
  return (k + D::kStep - 1) / D::kStep;
}
template <class D>
inline Index panels(Index m) {
  return m == 1 ? 1 : (m + D::kRows - 1) / D::kRows;
}
template <class D, class Row>
inline Index panel_bytes(Index m, Index k) {
  return m == 1 ? steps<Row>(k) * Row::step_bytes(1) : steps<D>(k) * D::step_bytes(D::kRows);
}
template <class D>
FACELLAVA_TARGET void pack_rows(std::byte* panel, const float* x, Index ldx, Index m, Index k, Index first,
                                Index rows) {
  for (Index r = 0; r < rows; ++r) {
    const float* row = x + std::min(first + r, m - 1) * ldx;
    std::byte* step = panel;
    for (Index at = 0; at < k; at += D::kStep, step += D::step_bytes(rows))
      D::pack(step, r, rows, row + at, first + r < m ? std::min<Index>(D::kStep, k - at) : 0);
  }
}
template <class D, class Row>
inline void pack(std::byte* panel, const float* x, Index ldx, Index m, Index k, Index index) {
  m == 1 ? pack_rows<Row>(panel, x, ldx, 1, k, 0, 1)
         : pack_rows<D>(panel, x, ldx, m, k, index * D::kRows, Index(D::kRows));
}
template <class D>
constexpr Index wide_bytes() {
  return D::kWidens ? kGemvColumns * D::kBlock * D::kStep * Index(sizeof(float)) : 0;
}
template <class D>
constexpr Index scratch_bytes() {
  return wide_bytes<D>() + (kRowBlock + D::kRows) * (kColumnChunk + D::kColumns) * Index(sizeof(Reg));
}

// y from the sums of a tile; what lies beyond y is dropped.
template <int M, int N>
FACELLAVA_TARGET inline void finish(const Reg* all, const Product& p, Index i, Index j) {
  const Index rows = std::min<Index>(M, p.m - i), columns = std::min<Index>(N, p.n - j);
  for (Index a = 0; a < rows; ++a)
    for (Index b = 0; b < columns; b += 4) {
      const Reg* sums = all + a * N + b;
      float* y = p.y + (i + a) * p.ldy + j + b;
      const float* r = p.residual ? p.residual + (i + a) * p.ldr + j + b : nullptr;
      if (N % 4 == 0 && b + 4 <= columns) {
        __m128 v = reduce_four(sums);
        if (p.bias) v = _mm_add_ps(v, _mm_loadu_ps(p.bias + j + b));
        if (r) v = _mm_add_ps(v, _mm_loadu_ps(r));
        _mm_storeu_ps(y, v);
        continue;
      }
      for (Index c = 0; c < std::min<Index>(4, columns - b); ++c) {
        float v = reduce_add(sums[c]);
        if (p.bias) v += p.bias[j + b + c];
        if (r) v += r[c];
        y[c] = v;
      }
    }
}

// One tile over one block of k: M rows of a panel by N rows of w, steps [first, last). w points at step `first`.
// A single row is as fast as memory: the next N rows of w, `ahead` bytes on, are called into L2 meanwhile (rows are too
// short for the hardware to see where they go). Between blocks the sums wait in `sums`. Every loop over `sum` is
// unrolled whole: one that is not puts it into memory.
template <class D, int M, int N>
FACELLAVA_TARGET void tile(const Product& p, const std::byte* panel, const std::byte* const (&w)[N], Index i, Index j,
                           Index first, Index last, Index ahead, Reg* sums) {
  Reg sum[M][N];
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a)
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) sum[a][b] = first == 0 ? splat(0) : sums[a * N + b];

  const std::byte* x = panel + first * D::step_bytes(M);
  const Index whole = std::min(last, p.k / D::kStep);
  Index s = first, at = 0;
  for (; s < whole; ++s, x += D::step_bytes(M), at += D::kRowBytes) {
    typename D::W r[N];
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) r[b] = D::load_w(w[b] + at);
    if constexpr (M == 1)
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) _mm_prefetch(reinterpret_cast<const char*>(w[b] + at + ahead), _MM_HINT_T1);
#pragma GCC unroll 8
    for (int a = 0; a < M; ++a) {
      const typename D::X v = D::load_x(x, a, M);
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) D::add(sum[a][b], v, r[b]);
    }
  }
  if (s < last) {
    typename D::W r[N];
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) r[b] = D::load_w_first(w[b] + at, p.k - s * D::kStep);
#pragma GCC unroll 8
    for (int a = 0; a < M; ++a) {
      const typename D::X v = D::load_x(x, a, M);
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) D::add(sum[a][b], v, r[b]);
    }
  }
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a)
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) sums[a * N + b] = sum[a][b];
  if (last == steps<D>(p.k)) finish<M, N>(sums, p, i, j);
}

// Points at rows [j, j + N) of w at a step of k: as they lie, or widened to fp32 there. Beyond n the last row repeats.
template <class D, int N>
inline void rows_at(const std::byte* (&w)[N], const Product& p, Index j, Index first, Index last, float* wide) {
  for (Index b = 0; b < N; ++b) {
    const std::byte* row = p.w + std::min(j + b, p.n - 1) * p.w_step;
    w[b] = row + first * D::kRowBytes;
    if (!D::kWidens || p.format == Format::kF32) continue;
    float* to = wide + b * D::kBlock * D::kStep;
    if (j + b < p.n)
      widen(to, row, p.format, first * D::kStep, std::min(p.k, last * D::kStep) - first * D::kStep, p.nf4);
    else
      to = wide;
    w[b] = reinterpret_cast<const std::byte*>(to);
  }
}

template <class D, int M, int N>
inline void multiply(const Product& p, std::byte* scratch) {
  constexpr Index chunk = kColumnChunk / N * N;
  const Index all = steps<D>(p.k), bytes = all * D::step_bytes(M);
  const bool in_place = !(D::kWidens && p.format != Format::kF32);
  const Index block = M == 1 && in_place ? all : D::kBlock;  // of a row nothing is used again
  const Index ahead = in_place ? N * p.w_step : 0;
  float* wide = reinterpret_cast<float*>(scratch);
  Reg* sums = reinterpret_cast<Reg*>(scratch + wide_bytes<D>());
  for (Index j0 = 0; j0 < p.n; j0 += chunk)
    for (Index i0 = 0; i0 < p.m; i0 += kRowBlock)
      for (Index s = 0; s < all; s += block) {
        const Index last = std::min(all, s + block);
        Reg* waiting = sums;
        for (Index j = j0; j < std::min(p.n, j0 + chunk); j += N) {
          const std::byte* w[N];
          rows_at<D>(w, p, j, s, last, wide);
          for (Index i = i0; i < std::min(p.m, i0 + kRowBlock); i += M, waiting += M * N)
            tile<D, M, N>(p, p.x + i / M * bytes, w, i, j, s, last, ahead, waiting);
        }
      }
}

template <class D, class Row>
inline void run(const Product& p, std::byte* scratch) {
  p.m == 1 ? multiply<Row, 1, kGemvColumns>(p, scratch) : multiply<D, D::kRows, D::kColumns>(p, scratch);
}

template <class D, class Row = D>
constexpr Multiplier multiplier() {
  return {panels<D>, panel_bytes<D, Row>, pack<D, Row>, scratch_bytes<D>(), run<D, Row>, kColumnChunk};
}

// Kernel bodies, once for every vector instruction set: avx2.hpp and avx512.hpp include this inside their namespace
// after defining FACELLAVA_TARGET (the function attribute), Reg, kLanes and the primitives
//   load, store, load_first, store_first (the first n lanes; the others 0), splat, add, sub, mul, div, fma, max, min,
//   round, power_of_two, reduce_add, reduce_four, reduce_max, and what widen.inl asks for.
// No lambdas here: they would lose the target.

#include "facellava/cpu/widen.inl"

// ---- fp32 products

struct FloatDot {
  static constexpr int kRows = kTileM, kColumns = kTileN, kStep = kLanes, kRowBytes = 4 * kLanes;
  static constexpr Index kBlock = 512 / kLanes;
  static constexpr bool kWidens = true;
  using X = Reg;
  using W = Reg;
  static constexpr Index step_bytes(Index rows) { return rows * kRowBytes; }
  FACELLAVA_TARGET static void pack(std::byte* step, Index row, Index, const float* x, Index n) {
    store(reinterpret_cast<float*>(step) + row * kLanes, n == kLanes ? load(x) : load_first(x, n));
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index row, Index) {
    return load(reinterpret_cast<const float*>(step) + row * kLanes);
  }
  FACELLAVA_TARGET static W load_w(const std::byte* w) { return load(reinterpret_cast<const float*>(w)); }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index n) {
    return load_first(reinterpret_cast<const float*>(w), n);
  }
  FACELLAVA_TARGET static void add(Reg& sum, X x, W w) { sum = fma(x, w, sum); }
};

#include "facellava/cpu/product.inl"
// ---- functions of a register

// e^x by 2^n e^r, |r| <= ln 2 / 2, Taylor to r^7 (relative error below 1 ulp); 0 below −87.3. NaN stays NaN.
FACELLAVA_TARGET inline Reg exp(Reg x) {
  const Reg v = max(splat(-87.3f), min(splat(88.7f), x));
  const Reg n = round(mul(v, splat(1.44269504f)));
  const Reg r = fma(n, splat(2.12194440e-4f), fma(n, splat(-0.693359375f), v));
  Reg s = splat(1.f / 5040);
  s = fma(s, r, splat(1.f / 720));
  s = fma(s, r, splat(1.f / 120));
  s = fma(s, r, splat(1.f / 24));
  s = fma(s, r, splat(1.f / 6));
  s = fma(s, r, splat(0.5f));
  s = fma(s, r, splat(1.f));
  s = fma(s, r, splat(1.f));
  return mul(s, power_of_two(n));
}

// erf x = x P(x²) / Q(x²) for |x| < 3.925, ±1 beyond: minimax fit on that interval, error 2e-8 before rounding.
FACELLAVA_TARGET inline Reg erf(Reg x) {
  const Reg v = max(splat(-3.925f), min(splat(3.925f), x));
  const Reg z = mul(v, v);
  Reg p = splat(2.0309082628955366e-06f);
  p = fma(p, z, splat(0.0002874846395570785f));
  p = fma(p, z, splat(0.003876038361340761f));
  p = fma(p, z, splat(0.05308346822857857f));
  p = fma(p, z, splat(0.19296593964099884f));
  p = fma(p, z, splat(1.128378987312317f));
  Reg q = splat(3.803145591518842e-05f);
  q = fma(q, z, splat(0.0011896778596565127f));
  q = fma(q, z, splat(0.015187783166766167f));
  q = fma(q, z, splat(0.11516471952199936f));
  q = fma(q, z, splat(0.5043432712554932f));
  q = fma(q, z, splat(1.f));
  return div(mul(v, p), q);
}

FACELLAVA_TARGET inline Reg gelu_of(Reg x) {
  return mul(mul(splat(0.5f), x), add(splat(1.f), erf(mul(x, splat(0.70710678f)))));
}
FACELLAVA_TARGET inline Reg swiglu_of(Reg gate, Reg up) {
  return mul(div(gate, add(splat(1.f), exp(sub(splat(0.f), gate)))), up);
}

// ---- rows

FACELLAVA_TARGET inline void gelu(float* y, const float* x, Index n) {
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) store(y + k, gelu_of(load(x + k)));
  if (k < n) store_first(y + k, gelu_of(load_first(x + k, n - k)), n - k);
}
FACELLAVA_TARGET inline void swiglu(float* y, const float* gate, const float* up, Index n) {
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) store(y + k, swiglu_of(load(gate + k), load(up + k)));
  if (k < n) store_first(y + k, swiglu_of(load_first(gate + k, n - k), load_first(up + k, n - k)), n - k);
}
FACELLAVA_TARGET inline void axpy(float* y, const float* x, float a, Index n) {
  const Reg s = splat(a);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) store(y + k, fma(s, load(x + k), load(y + k)));
  if (k < n) store_first(y + k, fma(s, load_first(x + k, n - k), load_first(y + k, n - k)), n - k);
}

FACELLAVA_TARGET inline float sum_squares(const float* x, float mean, Index n) {
  const Reg m = splat(mean);
  Reg s = splat(0.f);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    const Reg v = sub(load(x + k), m);
    s = fma(v, v, s);
  }
  float total = reduce_add(s);
  for (; k < n; ++k) total += (x[k] - mean) * (x[k] - mean);
  return total;
}
FACELLAVA_TARGET inline float rms_norm(float* y, const float* x, const float* w, Index n, float eps) {
  const float rstd = 1 / std::sqrt(sum_squares(x, 0, n) / float(n) + eps);
  const Reg r = splat(rstd);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) store(y + k, mul(mul(load(x + k), r), load(w + k)));
  if (k < n) store_first(y + k, mul(mul(load_first(x + k, n - k), r), load_first(w + k, n - k)), n - k);
  return rstd;
}
FACELLAVA_TARGET inline void layer_norm(float* y, float* mean, float* rstd, const float* x, const float* w,
                                        const float* b, Index n, float eps) {
  Reg s = splat(0.f);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) s = add(s, load(x + k));
  float total = reduce_add(s);
  for (; k < n; ++k) total += x[k];
  *mean = total / float(n);
  *rstd = 1 / std::sqrt(sum_squares(x, *mean, n) / float(n) + eps);
  const Reg m = splat(*mean), r = splat(*rstd);
  for (k = 0; k + kLanes <= n; k += kLanes) store(y + k, fma(mul(sub(load(x + k), m), r), load(w + k), load(b + k)));
  if (k < n)
    store_first(y + k,
                fma(mul(sub(load_first(x + k, n - k), m), r), load_first(w + k, n - k), load_first(b + k, n - k)),
                n - k);
}

FACELLAVA_TARGET inline void rope(float* x, const float* cosine, const float* sine, float sign, Index half) {
  const Reg turn = splat(sign);
  for (Index k = 0; k < half; k += kLanes) {
    const Index n = std::min<Index>(kLanes, half - k);
    const Reg c = load_first(cosine + k, n), s = mul(turn, load_first(sine + k, n));
    const Reg a = load_first(x + k, n), b = load_first(x + half + k, n);
    store_first(x + k, sub(mul(a, c), mul(b, s)), n);
    store_first(x + half + k, fma(b, c, mul(a, s)), n);
  }
}

// ---- softmax

// A NaN is skipped by max but poisons the sum.
FACELLAVA_TARGET inline float row_max(const float* x, Index n) {
  float top = x[0];
  Index k = 0;
  if (n >= kLanes) {
    Reg m = load(x);
    for (k = kLanes; k + kLanes <= n; k += kLanes) m = max(m, load(x + k));
    top = reduce_max(m);
  }
  for (; k < n; ++k) top = std::max(top, x[k]);
  return top;
}
FACELLAVA_TARGET inline Extremum log_sum_exp(const float* x, Index n) {
  const float top = row_max(x, n);
  const Reg t = splat(top);
  Reg s = splat(0.f);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) s = add(s, exp(sub(load(x + k), t)));
  float buffer[kLanes] = {}, total = reduce_add(s);
  if (k < n) store_first(buffer, exp(sub(load_first(x + k, n - k), t)), n - k);
  for (Index i = 0; i < n - k; ++i) total += buffer[i];
  return {top, total};
}
FACELLAVA_TARGET inline Extremum softmax(float* x, Index n) {
  if (n == 0) return {0, 1};
  const float top = row_max(x, n);
  const Reg t = splat(top);
  Reg s = splat(0.f);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) {
    const Reg e = exp(sub(load(x + k), t));
    store(x + k, e);
    s = add(s, e);
  }
  float total = reduce_add(s);
  if (k < n) {
    store_first(x + k, exp(sub(load_first(x + k, n - k), t)), n - k);
    for (Index i = k; i < n; ++i) total += x[i];
  }
  const Reg d = splat(total);
  for (k = 0; k + kLanes <= n; k += kLanes) store(x + k, div(load(x + k), d));
  if (k < n) store_first(x + k, div(load_first(x + k, n - k), d), n - k);
  return {top, total};
}

// ---- attention's second product

FACELLAVA_TARGET inline Reg load_value(const float* p) { return load(p); }
FACELLAVA_TARGET inline Reg load_value(const bf16* p) { return load_half<Format::kBf16>(p); }
FACELLAVA_TARGET inline Reg load_value_first(const float* p, Index n) { return load_first(p, n); }
FACELLAVA_TARGET inline Reg load_value_first(const bf16* p, Index n) { return load_half_first<Format::kBf16>(p, n); }

template <int M, int V, class T>
FACELLAVA_TARGET void weigh_tile(float* o, Index ldo, const float* p, Index ldp, const T* v, Index ldv, Index n) {
  Reg sum[M][V];
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a)
#pragma GCC unroll 8
    for (int c = 0; c < V; ++c) sum[a][c] = load(o + a * ldo + c * kLanes);
  for (Index j = 0; j < n; ++j) {
    Reg r[V];
#pragma GCC unroll 8
    for (int c = 0; c < V; ++c) r[c] = load_value(v + j * ldv + c * kLanes);
#pragma GCC unroll 8
    for (int a = 0; a < M; ++a) {
      const Reg w = splat(p[a * ldp + j]);
#pragma GCC unroll 8
      for (int c = 0; c < V; ++c) sum[a][c] = fma(w, r[c], sum[a][c]);
    }
  }
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a)
#pragma GCC unroll 8
    for (int c = 0; c < V; ++c) store(o + a * ldo + c * kLanes, sum[a][c]);
}
// Less than a vector of columns.
template <int M, class T>
FACELLAVA_TARGET void weigh_rest(float* o, Index ldo, const float* p, Index ldp, const T* v, Index ldv, Index n,
                                 Index d) {
  Reg sum[M];
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a) sum[a] = load_first(o + a * ldo, d);
  for (Index j = 0; j < n; ++j) {
    const Reg r = load_value_first(v + j * ldv, d);
#pragma GCC unroll 8
    for (int a = 0; a < M; ++a) sum[a] = fma(splat(p[a * ldp + j]), r, sum[a]);
  }
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a) store_first(o + a * ldo, sum[a], d);
}
// M rows.
template <int M, class T>
FACELLAVA_TARGET inline void weigh_rows(float* o, Index ldo, const float* p, Index ldp, const T* v, Index ldv, Index n,
                                        Index d) {
  Index c = 0;
  for (; c + 4 * kLanes <= d; c += 4 * kLanes) weigh_tile<M, 4>(o + c, ldo, p, ldp, v + c, ldv, n);
  if (c + 2 * kLanes <= d) weigh_tile<M, 2>(o + c, ldo, p, ldp, v + c, ldv, n), c += 2 * kLanes;
  if (c + kLanes <= d) weigh_tile<M, 1>(o + c, ldo, p, ldp, v + c, ldv, n), c += kLanes;
  if (c < d) weigh_rest<M>(o + c, ldo, p, ldp, v + c, ldv, n, d - c);
}
template <class T>
FACELLAVA_TARGET inline void weigh(float* o, Index ldo, const float* p, Index ldp, const T* v, Index ldv, Index m,
                                   Index n, Index d) {
  Index i = 0;
  for (; i + kTileM <= m; i += kTileM) weigh_rows<kTileM>(o + i * ldo, ldo, p + i * ldp, ldp, v, ldv, n, d);
  for (; i < m; ++i) weigh_rows<1>(o + i * ldo, ldo, p + i * ldp, ldp, v, ldv, n, d);
}

FACELLAVA_TARGET inline void round_bf16(bf16* y, const float* x, Index n) {
  for (Index k = 0; k < n; ++k) y[k] = to_bf16(x[k]);
}

inline constexpr Kernels make_kernels() {
  return {
      .exact = multiplier<FloatDot>(),
      .bf16_product = {},
      .q8_product = {},
      .q4_product = {},
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .gelu = gelu,
      .swiglu = swiglu,
      .axpy = axpy,
      .rope = rope,
      .softmax = softmax,
      .log_sum_exp = log_sum_exp,
      .widen = widen,
      .weigh = weigh<float>,
      .weigh_bf16 = weigh<bf16>,
      .round_bf16 = round_bf16,
  };
}

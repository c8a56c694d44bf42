// Kernels of backward, once for every vector instruction set: backward_isa.hpp includes this inside their namespaces,
// behind kernels.inl, after defining FACELLAVA_TARGET and
//   kOuterM, kOuterV    the tile of `outer`: rows by vectors of columns that registers hold
//   square_root
// No lambdas here: they would lose the target.

// The first n lanes; most often that is all of them.
FACELLAVA_TARGET inline Reg load_some(const float* p, Index n) { return n == kLanes ? load(p) : load_first(p, n); }
FACELLAVA_TARGET inline void store_some(float* p, Reg v, Index n) { n == kLanes ? store(p, v) : store_first(p, v, n); }

// ---- products

template <int M>
FACELLAVA_TARGET inline void outer_rows(float* o, Index ldo, const float* p, Index ldp, const float* v, Index n,
                                        Index d) {
  constexpr Index strip = kOuterV * kLanes;
  if (d == strip)
    weigh_tile<M, kOuterV>(o, ldo, p, ldp, v, strip, n);
  else
    for (Index c = 0; c < d; c += kLanes)
      weigh_rest<M>(o + c, ldo, p, ldp, v + c, strip, n, std::min<Index>(kLanes, d - c));
}
FACELLAVA_TARGET inline void outer(float* o, Index ldo, const float* p, Index ldp, const float* v, Index m, Index n,
                                   Index d) {
  constexpr Index strip = kOuterV * kLanes;
  for (Index c = 0; c < d; c += strip, v += n * strip) {
    const Index width = std::min(strip, d - c);
    Index i = 0;
    for (; i + kOuterM <= m; i += kOuterM) outer_rows<kOuterM>(o + i * ldo + c, ldo, p + i * ldp, ldp, v, n, width);
    if (i + 4 <= m) outer_rows<4>(o + i * ldo + c, ldo, p + i * ldp, ldp, v, n, width), i += 4;
    if (i + 2 <= m) outer_rows<2>(o + i * ldo + c, ldo, p + i * ldp, ldp, v, n, width), i += 2;
    if (i < m) outer_rows<1>(o + i * ldo + c, ldo, p + i * ldp, ldp, v, n, width);
  }
}
FACELLAVA_TARGET inline void transpose_four(float* to, Index ldt, const float* from, Index ldf) {
  __m128 v[4];
  for (int i = 0; i < 4; ++i) v[i] = _mm_loadu_ps(from + i * ldf);
  _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
  for (int i = 0; i < 4; ++i) _mm_storeu_ps(to + i * ldt, v[i]);
}
FACELLAVA_TARGET inline void transpose(float* to, Index ldt, const float* from, Index ldf, Index rows, Index columns) {
  for (Index r = 0; r < rows; r += 4)
    for (Index c = 0; c < columns; c += 4) {
      if (r + 4 <= rows && c + 4 <= columns) {
        transpose_four(to + c * ldt + r, ldt, from + r * ldf + c, ldf);
        continue;
      }
      for (Index i = c; i < std::min(columns, c + 4); ++i)
        for (Index j = r; j < std::min(rows, r + 4); ++j) to[i * ldt + j] = from[j * ldf + i];
    }
}
FACELLAVA_TARGET inline float dot(const float* a, const float* b, Index n) {
  Reg s = splat(0.f);
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) s = fma(load(a + k), load(b + k), s);
  if (k < n) s = fma(load_first(a + k, n - k), load_first(b + k, n - k), s);
  return reduce_add(s);
}

// ---- norms and elementwise

// x̂ of n elements.
FACELLAVA_TARGET inline Reg unit_of(const float* x, Reg mean, Reg rstd, Index n) {
  return mul(sub(load_some(x, n), mean), rstd);
}
FACELLAVA_TARGET inline void norm_backward(float* dx, const float* dy, const float* mean, float rstd, const float* x,
                                           const float* w, Index n, Write write) {
  const Reg m = splat(mean ? *mean : 0), r = splat(rstd);
  Reg plain = splat(0.f), along = splat(0.f);  // sums of w dy and of w dy x̂
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg g = mul(load_some(dy + k, left), load_some(w + k, left));
    plain = add(plain, g);
    along = fma(g, unit_of(x + k, m, r, left), along);
  }
  const Reg a = splat(mean ? reduce_add(plain) / float(n) : 0), b = splat(reduce_add(along) / float(n));
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg g = sub(mul(load_some(dy + k, left), load_some(w + k, left)), a);
    Reg v = mul(r, sub(g, mul(unit_of(x + k, m, r, left), b)));
    if (write == Write::kAccumulate) v = add(load_some(dx + k, left), v);
    store_some(dx + k, v, left);
  }
}
FACELLAVA_TARGET inline void norm_dw(float* dw, const float* dy, float mean, float rstd, const float* x, Index n) {
  const Reg m = splat(mean), r = splat(rstd);
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    store_some(dw + k, fma(load_some(dy + k, left), unit_of(x + k, m, r, left), load_some(dw + k, left)), left);
  }
}
FACELLAVA_TARGET inline void gelu_backward(float* dx, const float* dy, const float* x, Index n) {
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg v = load_some(x + k, left);
    const Reg below = mul(splat(0.5f), add(splat(1.f), erf(mul(v, splat(0.70710678f)))));
    const Reg density = mul(splat(0.39894228f), exp(mul(splat(-0.5f), mul(v, v))));
    store_some(dx + k, mul(load_some(dy + k, left), fma(v, density, below)), left);
  }
}
FACELLAVA_TARGET inline void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate,
                                             const float* up, Index n) {
  const Reg one = splat(1.f);
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg g = load_some(gate + k, left), u = load_some(up + k, left), d = load_some(dy + k, left);
    const Reg s = div(one, add(one, exp(sub(splat(0.f), g))));
    store_some(dup + k, mul(d, mul(g, s)), left);
    store_some(dgate + k, mul(mul(d, mul(u, s)), fma(g, sub(one, s), one)), left);
  }
}
FACELLAVA_TARGET inline void softmax_backward(float* x, float top, float factor, Index n) {
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    store_some(x + k, mul(splat(factor), exp(sub(load_some(x + k, left), splat(top)))), left);
  }
}
FACELLAVA_TARGET inline void attention_backward(float* s, float* dp, const float* lse, const float* whole, float scale,
                                                Index n) {
  const Reg by = splat(scale);
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg p = exp(sub(mul(by, load_some(s + k, left)), load_some(lse + k, left)));
    store_some(s + k, p, left);
    store_some(dp + k, mul(by, mul(p, sub(load_some(dp + k, left), load_some(whole + k, left)))), left);
  }
}

// ---- optimisers

FACELLAVA_TARGET inline float sum_of_squares(const float* x, Index n) { return dot(x, x, n); }
FACELLAVA_TARGET inline void adamw(float* w, float* m, float* v, const float* g, const AdamWStep& how, Index n) {
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg d = mul(splat(how.scale), load_some(g + k, left));
    const Reg first = fma(splat(how.rest1), d, mul(splat(how.beta1), load_some(m + k, left)));
    const Reg second = fma(splat(how.rest2), mul(d, d), mul(splat(how.beta2), load_some(v + k, left)));
    const Reg root = fma(square_root(second), splat(how.root), splat(how.epsilon));
    const Reg old = load_some(w + k, left);
    const Reg step = fma(splat(how.decay), old, div(mul(splat(how.rate), first), root));
    store_some(m + k, first, left);
    store_some(v + k, second, left);
    store_some(w + k, sub(old, step), left);
  }
}
FACELLAVA_TARGET inline void sgd(float* w, float* m, const float* g, const SgdStep& how, Index n) {
  for (Index k = 0; k < n; k += kLanes) {
    const Index left = std::min<Index>(kLanes, n - k);
    const Reg old = load_some(w + k, left);
    Reg d = fma(splat(how.scale), load_some(g + k, left), mul(splat(how.decay), old));
    if (m) {
      d = fma(splat(how.momentum), load_some(m + k, left), d);
      store_some(m + k, d, left);
    }
    store_some(w + k, sub(old, mul(splat(how.rate), d)), left);
  }
}

inline const BackwardKernels& backward_kernels() {
  static constexpr BackwardKernels table{
      .strip = kOuterV * kLanes,
      .outer = outer,
      .transpose = transpose,
      .dot = dot,
      .norm = norm_backward,
      .norm_dw = norm_dw,
      .gelu = gelu_backward,
      .swiglu = swiglu_backward,
      .softmax = softmax_backward,
      .attention = attention_backward,
      .sum_squares = sum_of_squares,
      .adamw = adamw,
      .sgd = sgd,
  };
  return table;
}

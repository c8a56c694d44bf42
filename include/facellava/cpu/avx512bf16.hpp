// AVX-512 with bf16 products (vdpbf16ps): both operands bf16, two products a lane and step, fp32 sums.
#pragma once
#include "facellava/cpu/avx512.hpp"

#if FACELLAVA_X86

#define FACELLAVA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")))
namespace facellava::cpu::avx512bf16 {

using Pairs = __m512bh;
inline constexpr int kStep = 32;

FACELLAVA_TARGET inline Pairs load(const bf16* p) { return (Pairs)_mm512_loadu_si512(p); }
FACELLAVA_TARGET inline Pairs load_first(const bf16* p, Index n) {
  return (Pairs)_mm512_maskz_loadu_epi16(__mmask32((std::uint64_t(1) << n) - 1), p);
}

template <int M, int N>
FACELLAVA_TARGET void tile(const Product& p, Index i, Index j) {
  const bf16* x = static_cast<const bf16*>(p.x) + i * p.ldx;
  const bf16* w = reinterpret_cast<const bf16*>(p.w) + j * p.ldw;
  __m512 sum[M][N];
#pragma GCC unroll 8
  for (int a = 0; a < M; ++a)
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) sum[a][b] = _mm512_setzero_ps();
  Index k = 0;
  for (; k + kStep <= p.k; k += kStep) {
    Pairs r[N];
#pragma GCC unroll 8
    for (int b = 0; b < N; ++b) r[b] = load(w + b * p.ldw + k);
#pragma GCC unroll 8
    for (int a = 0; a < M; ++a) {
      const Pairs v = load(x + a * p.ldx + k);
#pragma GCC unroll 8
      for (int b = 0; b < N; ++b) sum[a][b] = _mm512_dpbf16_ps(sum[a][b], v, r[b]);
    }
  }
  if (k < p.k)
    for (int b = 0; b < N; ++b) {
      const Pairs r = load_first(w + b * p.ldw + k, p.k - k);
      for (int a = 0; a < M; ++a) sum[a][b] = _mm512_dpbf16_ps(sum[a][b], load_first(x + a * p.ldx + k, p.k - k), r);
    }
  for (int a = 0; a < M; ++a)
    for (int b = 0; b < N; ++b) {
      float v = avx512::reduce_add(sum[a][b]);
      if (p.bias) v += p.bias[j + b];
      if (p.residual) v += p.residual[(i + a) * p.ldr + j + b];
      p.y[(i + a) * p.ldy + j + b] = v;
    }
}

FACELLAVA_TARGET inline void product(const Product& p) {
  if (p.m == 1) {
    Index j = 0;
    for (; j + 8 <= p.n; j += 8) tile<1, 8>(p, 0, j);
    for (; j < p.n; ++j) tile<1, 1>(p, 0, j);
    return;
  }
  for (Index i0 = 0; i0 < p.m; i0 += avx512::kRowBlock) {
    const Index end = std::min(p.m, i0 + avx512::kRowBlock);
    Index j = 0;
    for (; j + 4 <= p.n; j += 4) {
      Index i = i0;
      for (; i + 6 <= end; i += 6) tile<6, 4>(p, i, j);
      for (; i < end; ++i) tile<1, 4>(p, i, j);
    }
    for (; j < p.n; ++j)
      for (Index i = i0; i < end; ++i) tile<1, 1>(p, i, j);
  }
}

// Round to nearest, ties to even, as to_bf16; denormals are flushed by the hardware.
FACELLAVA_TARGET inline void round_bf16(bf16* y, const float* x, Index n) {
  Index k = 0;
  for (; k + 16 <= n; k += 16)
    _mm256_storeu_si256((__m256i*)(y + k), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + k)));
  if (k < n) {
    const auto rest = avx512::first(n - k);
    _mm256_mask_storeu_epi16(y + k, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, x + k)));
  }
}

inline const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels t = avx512::kernels();
    t.product_bf16 = product;
    t.round_bf16 = round_bf16;
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::avx512bf16
#undef FACELLAVA_TARGET
#endif

// The kernels for AVX-512 (F, BW, DQ, VL): 16 lanes. Zero-masked forms under a full mask: g++ 12 warns of uninitialised
// registers inside its own unmasked ones; the code is the same.
#pragma once
#include <algorithm>
#include <cmath>

#include "facellava/cpu/avx2.hpp"

#if FACELLAVA_X86
#include <immintrin.h>

#define FACELLAVA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
namespace facellava::cpu::avx512 {

using Reg = __m512;
inline constexpr int kLanes = 16;
inline constexpr int kTileM = 6, kTileN = 4, kGemvColumns = 8;

inline constexpr __mmask16 kAll = 0xffff;

FACELLAVA_TARGET inline __mmask16 first(Index n) { return __mmask16((1u << n) - 1); }
FACELLAVA_TARGET inline Reg load(const float* p) { return _mm512_loadu_ps(p); }
FACELLAVA_TARGET inline void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
FACELLAVA_TARGET inline Reg load_first(const float* p, Index n) { return _mm512_maskz_loadu_ps(first(n), p); }
FACELLAVA_TARGET inline void store_first(float* p, Reg v, Index n) { _mm512_mask_storeu_ps(p, first(n), v); }
FACELLAVA_TARGET inline Reg widen_f16(__m256i v) { return _mm512_maskz_cvtph_ps(kAll, v); }
FACELLAVA_TARGET inline Reg widen_bf16(__m256i v) {
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, v), 16));
}
template <Format F>
FACELLAVA_TARGET inline Reg load_half(const void* p) {
  const __m256i v = _mm256_loadu_si256(static_cast<const __m256i*>(p));
  return F == Format::kBf16 ? widen_bf16(v) : widen_f16(v);
}
template <Format F>
FACELLAVA_TARGET inline Reg load_half_first(const void* p, Index n) {
  const __m256i v = _mm256_maskz_loadu_epi16(first(n), p);
  return F == Format::kBf16 ? widen_bf16(v) : widen_f16(v);
}
FACELLAVA_TARGET inline __m128i load_bytes(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
FACELLAVA_TARGET inline Reg splat(float v) { return _mm512_set1_ps(v); }
FACELLAVA_TARGET inline Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
FACELLAVA_TARGET inline Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
FACELLAVA_TARGET inline Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
FACELLAVA_TARGET inline Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
FACELLAVA_TARGET inline Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
// of a NaN and a number, the second argument
FACELLAVA_TARGET inline Reg max(Reg a, Reg b) { return _mm512_maskz_max_ps(kAll, a, b); }
FACELLAVA_TARGET inline Reg min(Reg a, Reg b) { return _mm512_maskz_min_ps(kAll, a, b); }
FACELLAVA_TARGET inline Reg round(Reg a) {
  return _mm512_maskz_roundscale_ps(kAll, a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FACELLAVA_TARGET inline Reg power_of_two(Reg n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_maskz_cvtps_epi32(kAll, n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, exponent, 23));
}
FACELLAVA_TARGET inline __m256 lower(Reg v) { return _mm512_maskz_extractf32x8_ps(__mmask8(0xff), v, 0); }
FACELLAVA_TARGET inline __m256 upper(Reg v) { return _mm512_maskz_extractf32x8_ps(__mmask8(0xff), v, 1); }
FACELLAVA_TARGET inline float reduce_add(Reg v) {
  const __m256 h = _mm256_add_ps(lower(v), upper(v));
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FACELLAVA_TARGET inline float reduce_max(Reg v) {
  const __m256 h = _mm256_max_ps(lower(v), upper(v));
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// Eight lanes of each, the upper half added to the lower: [p, q].
FACELLAVA_TARGET inline Reg add_halves(Reg p, Reg q) {
  return add(_mm512_maskz_shuffle_f32x4(kAll, p, q, 0x44), _mm512_maskz_shuffle_f32x4(kAll, p, q, 0xee));
}
// Four sums at once; the same lanes meet in the same order as in reduce_add.
FACELLAVA_TARGET inline __m128 reduce_four(const Reg* sums) {
  const Reg ab = add_halves(sums[0], sums[1]), cd = add_halves(sums[2], sums[3]);
  const Reg four = add(_mm512_maskz_shuffle_f32x4(kAll, ab, cd, 0x88), _mm512_maskz_shuffle_f32x4(kAll, ab, cd, 0xdd));
  const Reg two = add(four, _mm512_maskz_permute_ps(kAll, four, 0x0e));
  const Reg one = add(two, _mm512_maskz_permute_ps(kAll, two, 0x01));
  return _mm512_maskz_extractf32x4_ps(__mmask8(0xf), _mm512_maskz_compress_ps(__mmask16(0x1111), one), 0);
}
FACELLAVA_TARGET inline void store_int8(float* y, __m128i q, Reg scale) {
  store(y, mul(scale, _mm512_maskz_cvtepi32_ps(kAll, _mm512_maskz_cvtepi8_epi32(kAll, q))));
}
FACELLAVA_TARGET inline void store_code(float* y, __m128i index, Reg scale) {
  store(y,
        mul(scale, _mm512_maskz_permutexvar_ps(kAll, _mm512_maskz_cvtepu8_epi32(kAll, index), load(kNf4Code.data()))));
}

#include "facellava/cpu/kernels.inl"

inline const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels t = make_kernels();
    t.q8_product = avx2::kernels().q8_product;
    t.q4_product = avx2::kernels().q4_product;
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::avx512
#undef FACELLAVA_TARGET
#endif

// The kernels for AVX2 with FMA and F16C: 8 lanes.
#pragma once
#include <algorithm>
#include <cmath>

#include "facellava/cpu/isa.hpp"
#include "facellava/cpu/kernels.hpp"

#if FACELLAVA_X86
#include <immintrin.h>

#define FACELLAVA_TARGET __attribute__((target("avx2,fma,f16c")))
namespace facellava::cpu::avx2 {

using Reg = __m256;
inline constexpr int kLanes = 8;
inline constexpr int kTileM = 3, kTileN = 3;

FACELLAVA_TARGET inline Reg load(const float* p) { return _mm256_loadu_ps(p); }
FACELLAVA_TARGET inline void store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
FACELLAVA_TARGET inline __m256i first(Index n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FACELLAVA_TARGET inline Reg load_first(const float* p, Index n) { return _mm256_maskload_ps(p, first(n)); }
FACELLAVA_TARGET inline void store_first(float* p, Reg v, Index n) { _mm256_maskstore_ps(p, first(n), v); }
FACELLAVA_TARGET inline Reg widen_f16(__m128i v) { return _mm256_cvtph_ps(v); }
FACELLAVA_TARGET inline Reg widen_bf16(__m128i v) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
FACELLAVA_TARGET inline __m128i load_halves(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
FACELLAVA_TARGET inline __m128i load_halves_first(const void* p, Index n) {
  std::uint16_t lanes[8] = {};
  std::memcpy(lanes, p, std::size_t(n) * 2);
  return load_halves(lanes);
}
FACELLAVA_TARGET inline Reg load_f16(const f16* p) { return widen_f16(load_halves(p)); }
FACELLAVA_TARGET inline Reg load_bf16(const bf16* p) { return widen_bf16(load_halves(p)); }
FACELLAVA_TARGET inline Reg load_f16_first(const f16* p, Index n) { return widen_f16(load_halves_first(p, n)); }
FACELLAVA_TARGET inline Reg load_bf16_first(const bf16* p, Index n) { return widen_bf16(load_halves_first(p, n)); }
FACELLAVA_TARGET inline Reg splat(float v) { return _mm256_set1_ps(v); }
FACELLAVA_TARGET inline Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
FACELLAVA_TARGET inline Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
FACELLAVA_TARGET inline Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
FACELLAVA_TARGET inline Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
FACELLAVA_TARGET inline Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
// of a NaN and a number, the second argument
FACELLAVA_TARGET inline Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
FACELLAVA_TARGET inline Reg min(Reg a, Reg b) { return _mm256_min_ps(a, b); }
FACELLAVA_TARGET inline Reg round(Reg a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FACELLAVA_TARGET inline Reg power_of_two(Reg n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
FACELLAVA_TARGET inline float reduce_add(Reg v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FACELLAVA_TARGET inline float reduce_max(Reg v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#include "facellava/cpu/kernels.inl"

}  // namespace facellava::cpu::avx2
#undef FACELLAVA_TARGET
#endif

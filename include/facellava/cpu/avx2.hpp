// The kernels for AVX2 with FMA and F16C: 8 lanes.
#pragma once
#include <algorithm>
#include <cmath>

#include "facellava/core/quantise.hpp"
#include "facellava/cpu/isa.hpp"
#include "facellava/cpu/kernels.hpp"

#if FACELLAVA_X86
#include <immintrin.h>

#define FACELLAVA_TARGET __attribute__((target("avx2,fma,f16c")))
namespace facellava::cpu::avx2 {

using Reg = __m256;
inline constexpr int kLanes = 8;
inline constexpr int kTileM = 3, kTileN = 4, kGemvColumns = 4;

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
template <Format F>
FACELLAVA_TARGET inline Reg widen_half(__m128i v) {
  return F == Format::kBf16 ? widen_bf16(v) : widen_f16(v);
}
template <Format F>
FACELLAVA_TARGET inline Reg load_half(const void* p) {
  return widen_half<F>(load_halves(p));
}
template <Format F>
FACELLAVA_TARGET inline Reg load_half_first(const void* p, Index n) {
  return widen_half<F>(load_halves_first(p, n));
}
FACELLAVA_TARGET inline __m128i load_bytes(const std::byte* p) { return load_halves(p); }
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

// Four sums at once; the same lanes meet in the same order as in reduce_add.
FACELLAVA_TARGET inline __m128 reduce_four(const Reg* sums) {
  __m128 v[4];
  for (int i = 0; i < 4; ++i) v[i] = _mm_add_ps(_mm256_castps256_ps128(sums[i]), _mm256_extractf128_ps(sums[i], 1));
  const __m128 ab = _mm_add_ps(_mm_movelh_ps(v[0], v[1]), _mm_movehl_ps(v[1], v[0]));
  const __m128 cd = _mm_add_ps(_mm_movelh_ps(v[2], v[3]), _mm_movehl_ps(v[3], v[2]));
  return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}
FACELLAVA_TARGET inline void store_int8(float* y, __m128i q, Reg scale) {
  store(y, mul(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q))));
  store(y + 8, mul(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)))));
}
FACELLAVA_TARGET inline Reg code_of(__m256i index) {
  const Reg low = _mm256_permutevar8x32_ps(load(kNf4Code.data()), index);
  const Reg high = _mm256_permutevar8x32_ps(load(kNf4Code.data() + 8), index);
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
FACELLAVA_TARGET inline void store_code(float* y, __m128i index, Reg scale) {
  store(y, mul(scale, code_of(_mm256_cvtepu8_epi32(index))));
  store(y + 8, mul(scale, code_of(_mm256_cvtepu8_epi32(_mm_srli_si128(index, 8)))));
}

#include "facellava/cpu/kernels.inl"

// ---- int8 products: x rounded to int8 in blocks of 32, exact integer dots of a block, summed in fp32 by lanes

// One block of x: q [32] and its scale. amax / 127 and x · (127 / amax), to nearest even. What is not finite makes the
// scale so: it must not vanish in the rounding.
FACELLAVA_TARGET inline float round_block(std::byte* q, const float* x, Index n) {
  const float top = facellava::blocks::largest(x, n);
  const Reg inverse = splat(top > 0 ? 127 / top : 0);
  for (Index i = 0; i < 32; i += 8) {
    const Reg v = i >= n ? splat(0) : i + 8 <= n ? load(x + i) : load_first(x + i, n - i);
    const __m256i wide = _mm256_cvtps_epi32(mul(v, inverse));
    const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(q + i), _mm_packs_epi16(half, half));
  }
  return top / 127;
}

template <Format F>
struct IntegerDot {
  static constexpr int kRows = 4, kColumns = 1, kStep = 32, kRowBytes = int(block_bytes(F));
  static constexpr Index kBlock = 32;
  static constexpr bool kWidens = false;
  struct X {
    __m256i q;
    Reg scale;
  };
  using W = X;
  static constexpr Index step_bytes(Index rows) { return rows * 32 + (rows * 4 + 31) / 32 * 32; }
  FACELLAVA_TARGET static void pack(std::byte* step, Index row, Index rows, const float* x, Index n) {
    facellava::blocks::store(step + rows * 32 + row * 4, round_block(step + row * 32, x, n));
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index row, Index rows) {
    return {load_block(step + row * 32), splat(facellava::blocks::load<float>(step + rows * 32 + row * 4))};
  }
  FACELLAVA_TARGET static W load_w(const std::byte* w) {
    const Reg scale = widen_f16(_mm_set1_epi16(facellava::blocks::load<short>(w)));
    if constexpr (F == Format::kQ8) return {load_block(w + 2), scale};
    const __m128i v = load_bytes(w + 2);
    const __m256i q = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(v, 4), v), _mm256_set1_epi8(15));
    return {_mm256_sub_epi8(q, _mm256_set1_epi8(8)), scale};
  }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index) { return load_w(w); }
  // |w| and x with w's sign: no pair of products exceeds 16 bits
  FACELLAVA_TARGET static void add(Reg& sum, const X& x, const W& w) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w.q), _mm256_sign_epi8(x.q, w.q));
    const __m256i dot = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    sum = fma(_mm256_cvtepi32_ps(dot), mul(x.scale, w.scale), sum);
  }

 private:
  FACELLAVA_TARGET static __m256i load_block(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
};

inline const Kernels& kernels() {
  static constexpr Kernels table = [] {
    Kernels t = make_kernels();
    t.q8_product = multiplier<IntegerDot<Format::kQ8>>();
    t.q4_product = multiplier<IntegerDot<Format::kQ4>>();
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::avx2
#undef FACELLAVA_TARGET
#endif

// AVX-512 with bf16 products (vdpbf16ps: two products a lane and step, fp32 sums) and int8 products (vpdpbusd: four, in
// int32). Processors that have the first have the second.
#pragma once
#include "facellava/cpu/avx512.hpp"

#if FACELLAVA_X86

#define FACELLAVA_TARGET \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c")))
namespace facellava::cpu::avx512bf16 {

using avx512::fma, avx512::kAll, avx512::kGemvColumns, avx512::mul, avx512::Reg, avx512::reduce_add,
    avx512::reduce_four, avx512::splat, avx512::widen;

struct BrainDot {
  static constexpr int kRows = 6, kColumns = 4, kStep = 32, kRowBytes = 64;
  static constexpr Index kBlock = 32;
  static constexpr bool kWidens = false;
  using X = __m512bh;
  using W = __m512bh;
  static constexpr Index step_bytes(Index rows) { return rows * 64; }
  // To nearest, ties to even, as to_bf16; the hardware flushes denormals.
  FACELLAVA_TARGET static void pack(std::byte* step, Index row, Index, const float* x, Index n) {
    const Index low = std::min<Index>(n, 16);
    const __m512 a = _mm512_maskz_loadu_ps(avx512::first(low), x);
    const __m512 b = _mm512_maskz_loadu_ps(avx512::first(n - low), x + low);
    _mm512_storeu_si512(step + row * 64, (__m512i)_mm512_cvtne2ps_pbh(b, a));
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index row, Index) { return load_w(step + row * 64); }
  FACELLAVA_TARGET static W load_w(const std::byte* w) { return (W)_mm512_loadu_si512(w); }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index n) {
    return (W)_mm512_maskz_loadu_epi16(__mmask32((std::uint64_t(1) << n) - 1), w);
  }
  FACELLAVA_TARGET static void add(Reg& sum, X x, W w) { sum = _mm512_dpbf16_ps(sum, x, w); }
};

// Two blocks of 32 a step. x is kept as q + 128, unsigned; w brings −128 Σ w of each lane along.
template <Format F>
struct IntegerDot {
  static constexpr int kRows = 8, kColumns = 2, kStep = 64, kRowBytes = int(2 * block_bytes(F));
  static constexpr Index kBlock = 16;
  static constexpr bool kWidens = false;
  struct X {
    __m512i q;
    Reg scale;
  };
  struct W {
    __m512i q, correction;
    Reg scale;
  };
  static constexpr Index step_bytes(Index rows) { return rows * 128; }
  FACELLAVA_TARGET static void pack(std::byte* step, Index row, Index rows, const float* x, Index n) {
    std::byte* q = step + row * 64;
    float* scale = reinterpret_cast<float*>(step + rows * 64) + row * 16;
    for (Index b = 0; b < 2; ++b) {
      const float d = avx2::round_block(q + 32 * b, x + 32 * b, std::clamp<Index>(n - 32 * b, 0, 32));
      std::fill_n(scale + 8 * b, 8, d);
    }
    for (Index i = 0; i < 64; ++i) q[i] ^= std::byte(0x80);
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index row, Index rows) {
    return {_mm512_loadu_si512(step + row * 64),
            avx512::load(reinterpret_cast<const float*>(step + rows * 64) + row * 16)};
  }
  FACELLAVA_TARGET static W load_w(const std::byte* w) { return of(w, w + block_bytes(F), kAll); }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index n) {
    return n > 32 ? load_w(w) : of(w, w, __mmask16(0xff));
  }
  FACELLAVA_TARGET static void add(Reg& sum, const X& x, const W& w) {
    const __m512i dot = _mm512_dpbusd_epi32(w.correction, x.q, w.q);
    sum = fma(_mm512_maskz_cvtepi32_ps(kAll, dot), mul(x.scale, w.scale), sum);
  }

 private:
  // present: the lanes of the blocks that are there
  FACELLAVA_TARGET static W of(const std::byte* a, const std::byte* b, __mmask16 present) {
    const __m256i halves = _mm256_set_m128i(_mm_set1_epi16(facellava::blocks::load<short>(b)),
                                            _mm_set1_epi16(facellava::blocks::load<short>(a)));
    W w;
    w.scale = _mm512_maskz_cvtph_ps(present, halves);
    if constexpr (F == Format::kQ8)
      w.q = _mm512_maskz_inserti64x4(__mmask8(0xff), _mm512_castsi256_si512(load_block(a + 2)), load_block(b + 2), 1);
    else
      w.q = nibbles(avx512::load_bytes(a + 2), avx512::load_bytes(b + 2));
    w.correction = _mm512_sub_epi32(_mm512_setzero_si512(),
                                    _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(char(0x80)), w.q));
    return w;
  }
  FACELLAVA_TARGET static __m256i load_block(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  FACELLAVA_TARGET static __m512i nibbles(__m128i a, __m128i b) {
    const __m512i both = _mm512_maskz_permutexvar_epi64(__mmask8(0xff), _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                                        _mm512_castsi256_si512(_mm256_set_m128i(b, a)));
    const __m512i shift = _mm512_setr_epi64(0, 0, kFours, kFours, 0, 0, kFours, kFours);
    const __m512i q = _mm512_and_si512(_mm512_maskz_srlv_epi16(__mmask32(-1), both, shift), _mm512_set1_epi8(15));
    return _mm512_sub_epi8(q, _mm512_set1_epi8(8));
  }
  static constexpr long long kFours = 0x0004000400040004;
};

#include "facellava/cpu/product.inl"

// Like to_bf16, but the hardware flushes denormals.
FACELLAVA_TARGET inline void round_bf16(bf16* y, const float* x, Index n) {
  Index k = 0;
  for (; k + 16 <= n; k += 16) _mm256_storeu_si256((__m256i*)(y + k), (__m256i)_mm512_cvtneps_pbh(avx512::load(x + k)));
  if (k < n) {
    const auto rest = avx512::first(n - k);
    _mm256_mask_storeu_epi16(y + k, rest, (__m256i)_mm512_cvtneps_pbh(avx512::load_first(x + k, n - k)));
  }
}

inline const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels t = avx512::kernels();
    t.round_bf16 = round_bf16;
    t.bf16_product = multiplier<BrainDot>();
    t.q8_product = multiplier<IntegerDot<Format::kQ8>>();
    t.q4_product = multiplier<IntegerDot<Format::kQ4>>();
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::avx512bf16
#undef FACELLAVA_TARGET
#endif

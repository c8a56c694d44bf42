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

// Two blocks of 32 of w: int8 of q8, 0 … 15 of q4. Of a block that is not there the scale is 0.
struct Blocks {
  __m512i q;
  Reg scale;
};
template <Format F>
FACELLAVA_TARGET inline Blocks read_blocks(const std::byte* w, Index there) {
  if constexpr (F == Format::kQ8) {
    const std::byte* next = there > 1 ? w + block_bytes(F) : w;
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 2));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(next + 2));
    const __m256i scales = _mm256_set_m128i(_mm_set1_epi16(facellava::blocks::load<short>(next)),
                                            _mm_set1_epi16(facellava::blocks::load<short>(w)));
    return {_mm512_maskz_inserti64x4(__mmask8(0xff), _mm512_castsi256_si512(a), b, 1),
            _mm512_maskz_cvtph_ps(there > 1 ? kAll : __mmask16(0xff), scales)};
  } else {
    // words: the scale, then 8 of nibbles, twice
    constexpr char kWord[64] = {1,  0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,  0, 8,  0, 1,  0, 2,  0, 3,  0,
                                4,  0, 5,  0, 6,  0, 7,  0, 8,  0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15, 0,
                                16, 0, 17, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15, 0, 16, 0, 17, 0};
    constexpr long long kFours = 0x0004000400040004;
    const __m512i v = _mm512_maskz_loadu_epi16(there > 1 ? 0x3ffff : 0x1ff, w);
    const __m512i both = _mm512_maskz_permutexvar_epi16(__mmask32(-1), _mm512_loadu_si512(kWord), v);
    const __m512i shift = _mm512_setr_epi64(0, 0, kFours, kFours, 0, 0, kFours, kFours);
    const __m256i scales =
        _mm256_maskz_permutexvar_epi16(__mmask16(-1), _mm256_set_epi64x(0x0009000900090009, 0x0009000900090009, 0, 0),
                                       _mm512_maskz_extracti64x4_epi64(__mmask8(0xff), v, 0));
    return {_mm512_and_si512(_mm512_maskz_srlv_epi16(__mmask32(-1), both, shift), _mm512_set1_epi8(15)),
            _mm512_maskz_cvtph_ps(kAll, scales)};
  }
}
// Two blocks of x to int8.
FACELLAVA_TARGET inline void round_blocks(std::byte* q, float* scale, const float* x, Index n) {
  for (Index b = 0; b < 2; ++b)
    std::fill_n(scale + 8 * b, 8, avx2::round_block(q + 32 * b, x + 32 * b, std::clamp<Index>(n - 32 * b, 0, 32)));
}
FACELLAVA_TARGET inline __m512i dot(__m512i sum, __m512i unsigned_a, __m512i b) {
  return _mm512_dpbusd_epi32(sum, unsigned_a, b);
}
FACELLAVA_TARGET inline __m512i minus_dot(__m512i unsigned_a, __m512i b) {
  return _mm512_sub_epi32(_mm512_setzero_si512(), dot(_mm512_setzero_si512(), unsigned_a, b));
}

// Two blocks a step, integers exact. x is kept as q + 128, unsigned; w brings −128 Σ w of each lane along.
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
    round_blocks(q, reinterpret_cast<float*>(step + rows * 64) + row * 16, x, n);
    for (Index i = 0; i < 64; ++i) q[i] ^= std::byte(0x80);
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index row, Index rows) {
    return {_mm512_loadu_si512(step + row * 64),
            avx512::load(reinterpret_cast<const float*>(step + rows * 64) + row * 16)};
  }
  FACELLAVA_TARGET static W load_w(const std::byte* w) { return of(read_blocks<F>(w, 2)); }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index n) { return of(read_blocks<F>(w, n > 32 ? 2 : 1)); }
  FACELLAVA_TARGET static void add(Reg& sum, const X& x, const W& w) {
    sum = fma(_mm512_maskz_cvtepi32_ps(kAll, dot(w.correction, x.q, w.q)), mul(x.scale, w.scale), sum);
  }

 private:
  FACELLAVA_TARGET static W of(const Blocks& w) {
    const __m512i q = F == Format::kQ8 ? w.q : _mm512_sub_epi8(w.q, _mm512_set1_epi8(8));
    return {q, minus_dot(_mm512_set1_epi8(char(0x80)), q), w.scale};
  }
};

// The same of a single row of x, where preparing w is most of the work: w is kept as q + kMiddle, unsigned; x brings
// −kMiddle Σ x along.
template <Format F>
struct IntegerRow {
  static constexpr int kStep = 64, kRowBytes = int(2 * block_bytes(F));
  static constexpr Index kBlock = 16;
  static constexpr bool kWidens = false;
  struct X {
    __m512i q, correction;
    Reg scale;
  };
  using W = Blocks;
  static constexpr Index step_bytes(Index) { return 192; }
  FACELLAVA_TARGET static void pack(std::byte* step, Index, Index, const float* x, Index n) {
    round_blocks(step, reinterpret_cast<float*>(step + 128), x, n);
    constexpr char kMiddle = F == Format::kQ8 ? char(0x80) : 8;
    _mm512_storeu_si512(step + 64, minus_dot(_mm512_set1_epi8(kMiddle), _mm512_loadu_si512(step)));
  }
  FACELLAVA_TARGET static X load_x(const std::byte* step, Index, Index) {
    return {_mm512_loadu_si512(step), _mm512_loadu_si512(step + 64),
            avx512::load(reinterpret_cast<const float*>(step + 128))};
  }
  FACELLAVA_TARGET static W load_w(const std::byte* w) { return of(read_blocks<F>(w, 2)); }
  FACELLAVA_TARGET static W load_w_first(const std::byte* w, Index n) { return of(read_blocks<F>(w, n > 32 ? 2 : 1)); }
  FACELLAVA_TARGET static void add(Reg& sum, const X& x, const W& w) {
    sum = fma(_mm512_maskz_cvtepi32_ps(kAll, dot(x.correction, w.q, x.q)), mul(x.scale, w.scale), sum);
  }

 private:
  FACELLAVA_TARGET static W of(W w) {
    if (F == Format::kQ8) w.q = _mm512_xor_si512(w.q, _mm512_set1_epi8(char(0x80)));
    return w;
  }
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
    t.q8_product = multiplier<IntegerDot<Format::kQ8>, IntegerRow<Format::kQ8>>();
    t.q4_product = multiplier<IntegerDot<Format::kQ4>, IntegerRow<Format::kQ4>>();
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::avx512bf16
#undef FACELLAVA_TARGET
#endif

// bf16 products on AMX tiles (Intel, from Sapphire Rapids on): 16 × 16 sums take 16 pairs of k in one instruction.
// y is computed transposed: rows of w are tiles as they lie in memory, x is packed as the other operand.
// Everything but the instructions themselves is written over a Tiles, the eight tile registers: TileRegisters here, an
// emulation in tests/cpu. The target has no AVX, so that the emulation runs on any processor.
#pragma once
#include "facellava/cpu/avx512bf16.hpp"

#if FACELLAVA_X86

#define FACELLAVA_TARGET __attribute__((target("amx-tile,amx-bf16,amx-int8")))
namespace facellava::cpu::amx {

inline constexpr Index kSide = 16, kPairs = 16;              // rows of a tile; pairs of k that a row of w holds
inline constexpr Index kStep = 2 * kPairs, kStepBytes = 64;  // of a row of w
inline constexpr Index kTileBytes = kSide * kStepBytes;      // also of 16 × 16 sums
inline constexpr Index kBlock = 16;  // steps of k after which the next rows of x have their turn
inline constexpr Index kRowBlock = 96, kColumnsAtOnce = 2 * kSide;  // rows of x whose sums are kept; rows of w

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// Tiles 0 … 3 hold sums, 4 and 5 rows of w, 6 and 7 packed x.
struct TileRegisters {
  // columns: rows of x in a tile
  FACELLAVA_TARGET static void configure(Index columns) {
    TileConfig config;
    for (int t = 0; t < 8; ++t) {
      config.rows[t] = kSide;
      config.row_bytes[t] = t == 4 || t == 5 ? kStepBytes : std::uint16_t(4 * columns);
    }
    _tile_loadconfig(&config);
  }
  FACELLAVA_TARGET static void release() { _tile_release(); }
  template <int T>
  FACELLAVA_TARGET static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
  }
  template <int T>
  FACELLAVA_TARGET static void load(const void* rows, Index stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(T) : "memory");
  }
  template <int T>
  FACELLAVA_TARGET static void store(void* rows, Index stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(T) : "memory");
  }
  // sums += w x
  template <int Sums, int W, int X>
  FACELLAVA_TARGET static void add() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(W), "i"(X));
  }
  static void round(bf16* y, const float* x, Index n) { avx512bf16::round_bf16(y, x, n); }
  static void transpose(float* to, const float* from);
};

// 16 × 16.
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) inline void transpose(float* to, const float* from) {
  using avx512::kAll, avx512::Reg;
  Reg a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_ps(from + 16 * i);
  for (int i = 0; i < 16; i += 4) {  // 4 × 4 within quarters: b[i + c] holds column 4 q + c of rows i … i + 3
    const Reg p = _mm512_maskz_unpacklo_ps(kAll, a[i], a[i + 1]), q = _mm512_maskz_unpackhi_ps(kAll, a[i], a[i + 1]);
    const Reg r = _mm512_maskz_unpacklo_ps(kAll, a[i + 2], a[i + 3]);
    const Reg s = _mm512_maskz_unpackhi_ps(kAll, a[i + 2], a[i + 3]);
    b[i] = _mm512_maskz_shuffle_ps(kAll, p, r, 0x44);
    b[i + 1] = _mm512_maskz_shuffle_ps(kAll, p, r, 0xee);
    b[i + 2] = _mm512_maskz_shuffle_ps(kAll, q, s, 0x44);
    b[i + 3] = _mm512_maskz_shuffle_ps(kAll, q, s, 0xee);
  }
  for (int c = 0; c < 4; ++c) {  // quarters
    const Reg p = _mm512_maskz_shuffle_f32x4(kAll, b[c], b[4 + c], 0x88);
    const Reg q = _mm512_maskz_shuffle_f32x4(kAll, b[c], b[4 + c], 0xdd);
    const Reg r = _mm512_maskz_shuffle_f32x4(kAll, b[8 + c], b[12 + c], 0x88);
    const Reg s = _mm512_maskz_shuffle_f32x4(kAll, b[8 + c], b[12 + c], 0xdd);
    _mm512_storeu_ps(to + 16 * c, _mm512_maskz_shuffle_f32x4(kAll, p, r, 0x88));
    _mm512_storeu_ps(to + 16 * (4 + c), _mm512_maskz_shuffle_f32x4(kAll, q, s, 0x88));
    _mm512_storeu_ps(to + 16 * (8 + c), _mm512_maskz_shuffle_f32x4(kAll, p, r, 0xdd));
    _mm512_storeu_ps(to + 16 * (12 + c), _mm512_maskz_shuffle_f32x4(kAll, q, s, 0xdd));
  }
}
inline void TileRegisters::transpose(float* to, const float* from) { amx::transpose(to, from); }

// ---- x: panels of 16 rows (of one, where there is but one), step by step of k: [pair of k][row][2], zeros beyond.

constexpr Index rows_of_panel(Index m) { return m == 1 ? 1 : kSide; }
constexpr Index steps(Index k) { return (k + kStep - 1) / kStep; }
inline Index panels(Index m) { return (m + rows_of_panel(m) - 1) / rows_of_panel(m); }
inline Index step_bytes(Index m) { return rows_of_panel(m) * kStepBytes; }
inline Index panel_bytes(Index m, Index k) { return steps(k) * step_bytes(m); }

template <class Tiles>
inline void pack(std::byte* panel, const float* x, Index ldx, Index m, Index k, Index index) {
  const Index rows = rows_of_panel(m), first = index * rows;
  for (Index s = 0; s < steps(k); ++s, panel += step_bytes(m))
    for (Index r = 0; r < rows; ++r) {
      bf16 values[kStep] = {};
      if (first + r < m) Tiles::round(values, x + (first + r) * ldx + s * kStep, std::min(kStep, k - s * kStep));
      for (Index pair = 0; pair < kPairs; ++pair)
        std::memcpy(panel + (pair * rows + r) * 4, values + 2 * pair, 2 * sizeof(bf16));
    }
}

// ---- products

struct Work {
  std::byte w[kTileBytes];  // rows of w, where a tile reaches beyond them
  float turned[kSide * kSide];
  std::byte sums[kRowBlock / kSide * kColumnsAtOnce / kSide][kTileBytes];
};

template <class Tiles, int T>
FACELLAVA_TARGET inline void load_w(const Product& p, Index j, Index s, Work& work) {
  const std::byte* w = p.w + j * p.w_step + s * kStepBytes;
  if (j + kSide <= p.n && (s + 1) * kStep <= p.k) return Tiles::template load<T>(w, p.w_step);
  std::memset(work.w, 0, sizeof work.w);
  for (Index r = 0; r < std::min(kSide, p.n - j); ++r)
    std::memcpy(work.w + r * kStepBytes, w + r * p.w_step, std::size_t(2 * std::min(kStep, p.k - s * kStep)));
  Tiles::template load<T>(work.w, kStepBytes);
}

template <class Tiles, int T>
FACELLAVA_TARGET inline void begin(const std::byte* sums, Index first, Index columns) {
  first == 0 ? Tiles::template zero<T>() : Tiles::template load<T>(sums, 4 * columns);
}

// 16 J rows of w by I panels of x, steps [first, last). Between blocks the sums wait in `sums`.
template <class Tiles, int J, int I>
FACELLAVA_TARGET void tile(const Product& p, Index i, Index j, Index first, Index last, std::byte (*sums)[kTileBytes],
                           Work& work) {
  const Index columns = rows_of_panel(p.m), bytes = step_bytes(p.m);
  const std::byte* x = p.x + i / columns * panel_bytes(p.m, p.k) + first * bytes;
  const Index next = panel_bytes(p.m, p.k);
  begin<Tiles, 0>(sums[0], first, columns);
  if constexpr (I > 1) begin<Tiles, 1>(sums[1], first, columns);
  if constexpr (J > 1) begin<Tiles, 2>(sums[2], first, columns);
  if constexpr (J > 1 && I > 1) begin<Tiles, 3>(sums[3], first, columns);
  for (Index s = first; s < last; ++s, x += bytes) {
    load_w<Tiles, 4>(p, j, s, work);
    if constexpr (J > 1) load_w<Tiles, 5>(p, j + kSide, s, work);
    Tiles::template load<6>(x, 4 * columns);
    if constexpr (I > 1) Tiles::template load<7>(x + next, 4 * columns);
    Tiles::template add<0, 4, 6>();
    if constexpr (I > 1) Tiles::template add<1, 4, 7>();
    if constexpr (J > 1) Tiles::template add<2, 5, 6>();
    if constexpr (J > 1 && I > 1) Tiles::template add<3, 5, 7>();
    if (columns == 1)  // as fast as memory: the next rows of w are called into L2 meanwhile
      for (Index r = 0; r < J * kSide; ++r)
        _mm_prefetch(reinterpret_cast<const char*>(p.w + (j + J * kSide + r) * p.w_step + s * kStepBytes), _MM_HINT_T1);
  }
  Tiles::template store<0>(sums[0], 4 * columns);
  if constexpr (I > 1) Tiles::template store<1>(sums[1], 4 * columns);
  if constexpr (J > 1) Tiles::template store<2>(sums[2], 4 * columns);
  if constexpr (J > 1 && I > 1) Tiles::template store<3>(sums[3], 4 * columns);
}

// y from a tile of sums, [row of w][row of x].
template <class Tiles>
inline void finish(const Product& p, Index i, Index j, const std::byte* sums, Work& work) {
  if (j >= p.n || i >= p.m) return;
  const float* from = reinterpret_cast<const float*>(sums);
  if (p.m > 1) {
    Tiles::transpose(work.turned, from);
    from = work.turned;
  }
  const Index columns = std::min(kSide, p.n - j);
  for (Index r = 0; r < std::min(kSide, p.m - i); ++r, from += kSide) {
    float* y = p.y + (i + r) * p.ldy + j;
    const float* residual = p.residual ? p.residual + (i + r) * p.ldr + j : nullptr;
    for (Index c = 0; c < columns; ++c) {
      float v = from[c];
      if (p.bias) v += p.bias[j + c];
      if (residual) v += residual[c];
      y[c] = v;
    }
  }
}

template <class Tiles>
FACELLAVA_TARGET void run(const Product& p, std::byte* scratch) {
  Work& work = *reinterpret_cast<Work*>(scratch);
  const Index all = steps(p.k), block = p.m == 1 ? all : kBlock;
  Tiles::configure(rows_of_panel(p.m));
  for (Index j = 0; j < p.n; j += kColumnsAtOnce)
    for (Index i0 = 0; i0 < p.m; i0 += kRowBlock) {
      const Index end = std::min(p.m, i0 + kRowBlock);
      const bool both = j + kSide < p.n;
      for (Index s = 0; s < all; s += block) {
        const Index last = std::min(all, s + block);
        std::byte(*sums)[kTileBytes] = work.sums;
        for (Index i = i0; i < end; i += 2 * kSide, sums += 4) {
          const bool pair = i + kSide < end;
          if (both && pair) tile<Tiles, 2, 2>(p, i, j, s, last, sums, work);
          if (both && !pair) tile<Tiles, 2, 1>(p, i, j, s, last, sums, work);
          if (!both && pair) tile<Tiles, 1, 2>(p, i, j, s, last, sums, work);
          if (!both && !pair) tile<Tiles, 1, 1>(p, i, j, s, last, sums, work);
          if (last < all) continue;
          for (Index t = 0; t < 4; ++t)
            if ((t % 2 == 0 || pair) && (t < 2 || both))
              finish<Tiles>(p, i + t % 2 * kSide, j + t / 2 * kSide, sums[t], work);
        }
      }
    }
  Tiles::release();
}

template <class Tiles>
constexpr Multiplier multiplier() {
  return {panels, panel_bytes, pack<Tiles>, sizeof(Work), run<Tiles>, 2 * kColumnsAtOnce};
}

inline const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels t = avx512bf16::kernels();
    t.bf16_product = multiplier<TileRegisters>();
    return t;
  }();
  return table;
}

}  // namespace facellava::cpu::amx
#undef FACELLAVA_TARGET
#endif

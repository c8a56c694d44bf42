// Peak of AMX tiles (Intel, from Sapphire Rapids on), from registers. Linux hands the tiles out on request.
#pragma once
#include <array>

#include "peaks.hpp"

#if FACELLAVA_X86 && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

namespace facellava::bench {

#if FACELLAVA_X86 && defined(__linux__)
namespace detail {

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

inline bool has_amx(Unit unit) {
  constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool there = (d >> 24 & 1) && (d >> (unit == Unit::kBf16 ? 22 : 25) & 1);
  return there && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

// Four sums of 16 × 16, from 16 rows of 64 bytes.
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) inline double burst_amx(Unit unit) {
  const TileConfig config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  const Index steps = kSteps / 16;
  for (Index i = 0; i < steps; ++i) {
    if (unit == Unit::kBf16) {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    }
  }
  _tile_release();
  return double(steps) * 4 * 16 * 16 * (unit == Unit::kBf16 ? 32 : 64) * 2;
}
inline double burst_amx_bf16() { return burst_amx(Unit::kBf16); }
inline double burst_amx_int8() { return burst_amx(Unit::kInt8); }

}  // namespace detail

// Null where the machine has none.
inline detail::Burst find_amx_burst(Unit unit) {
  if (unit == Unit::kFp32 || !detail::has_amx(unit)) return nullptr;
  return unit == Unit::kBf16 ? detail::burst_amx_bf16 : detail::burst_amx_int8;
}
#else
inline detail::Burst find_amx_burst(Unit) { return nullptr; }
#endif

}  // namespace facellava::bench

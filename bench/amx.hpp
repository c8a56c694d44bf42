// Products on AMX tiles, from registers, for the peak.
#pragma once
#include "facellava/cpu/amx.hpp"

#if FACELLAVA_X86
namespace facellava::bench::detail {

// Operations of `steps` times four products: sums of 16 × 16 from 16 rows of 64 bytes.
template <bool kInteger>
__attribute__((target("amx-tile,amx-bf16,amx-int8"))) double burst_amx(Index steps) {
  cpu::amx::TileRegisters::configure(16);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (Index i = 0; i < steps; ++i) {
    if (kInteger) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_release();
  return double(steps) * 4 * 16 * 16 * (kInteger ? 64 : 32) * 2;
}

}  // namespace facellava::bench::detail
#endif

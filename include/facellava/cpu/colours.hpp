// Colours at the points of a grid over a picture: eight points at once with AVX2, and one by one.
#pragma once
#include <cstdint>
#include <limits>

#include "facellava/core/image_ops.hpp"
#include "facellava/cpu/isa.hpp"

namespace facellava::cpu::portable {

// Points [first, points) of a row of the grid.
inline void colours_from(float* y, Index first, Index points, Index row, const ColourGrid& g) {
  const float r = float(row);
  for (Index c = first; c < points; ++c) {
    const float x = float(c);
    const auto colour =
        facellava::detail::colour_at(g, g.x + x * g.across_x + r * g.down_x, g.y + x * g.across_y + r * g.down_y);
    for (std::size_t k = 0; k < 3; ++k) y[c * 3 + Index(k)] = (colour[k] - g.mean[k]) / g.range;
  }
}
inline void colours(float* y, Index points, Index row, const ColourGrid& g) { colours_from(y, 0, points, row, g); }

}  // namespace facellava::cpu::portable

#if FACELLAVA_X86
#include <immintrin.h>

#define FACELLAVA_TARGET __attribute__((target("avx2,fma,f16c")))
namespace facellava::cpu::avx2 {

// A point is taken here where the four bytes from each of its pixels on lie within their row of the picture.
FACELLAVA_TARGET inline void colours(float* y, Index points, Index row, const ColourGrid& g) {
  const std::int64_t farthest = std::int64_t(g.height) * (g.stride < 0 ? -g.stride : g.stride);
  if (farthest > std::numeric_limits<std::int32_t>::max()) return portable::colours(y, points, row, g);
  const float r = float(row);
  const __m256 down_x = _mm256_set1_ps(r * g.down_x), down_y = _mm256_set1_ps(r * g.down_y);
  const __m256i stride = _mm256_set1_epi32(int(g.stride)), bytes = _mm256_set1_epi32(g.bytes);
  const __m256i right = _mm256_set1_epi32(g.width - 1 - (3 + g.bytes) / g.bytes),
                bottom = _mm256_set1_epi32(g.height - 2);
  const __m256 one = _mm256_set1_ps(1), range = _mm256_set1_ps(g.range);
  const auto* base = reinterpret_cast<const int*>(g.data);
  Index c = 0;
  for (; c + 8 <= points; c += 8) {
    const __m256 at = _mm256_add_ps(_mm256_set1_ps(float(c)), _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256 x =
        _mm256_add_ps(_mm256_add_ps(_mm256_set1_ps(g.x), _mm256_mul_ps(at, _mm256_set1_ps(g.across_x))), down_x);
    const __m256 v =
        _mm256_add_ps(_mm256_add_ps(_mm256_set1_ps(g.y), _mm256_mul_ps(at, _mm256_set1_ps(g.across_y))), down_y);
    const __m256 left = _mm256_floor_ps(x), top = _mm256_floor_ps(v);
    const __m256i column = _mm256_cvttps_epi32(left), line = _mm256_cvttps_epi32(top);
    const __m256i negative = _mm256_or_si256(column, line);
    const __m256i beyond = _mm256_or_si256(_mm256_cmpgt_epi32(column, right), _mm256_cmpgt_epi32(line, bottom));
    if (_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_or_si256(negative, beyond)))) {
      portable::colours_from(y, c, c + 8, row, g);
      continue;
    }
    const __m256i above = _mm256_add_epi32(_mm256_mullo_epi32(line, stride), _mm256_mullo_epi32(column, bytes));
    const __m256i below = _mm256_add_epi32(above, stride);
    const __m256i corners[4] = {
        _mm256_i32gather_epi32(base, above, 1), _mm256_i32gather_epi32(base, _mm256_add_epi32(above, bytes), 1),
        _mm256_i32gather_epi32(base, below, 1), _mm256_i32gather_epi32(base, _mm256_add_epi32(below, bytes), 1)};
    const __m256 a = _mm256_sub_ps(x, left), b = _mm256_sub_ps(v, top);
    const __m256 na = _mm256_sub_ps(one, a), nb = _mm256_sub_ps(one, b);
    const __m256 shares[4] = {_mm256_mul_ps(nb, na), _mm256_mul_ps(nb, a), _mm256_mul_ps(b, na), _mm256_mul_ps(b, a)};
    alignas(32) float levels[3][8];
    for (std::size_t k = 0; k < 3; ++k) {
      const __m128i shift = _mm_cvtsi32_si128(8 * g.channel[k]);
      __m256 sum = _mm256_setzero_ps();
      for (int i = 0; i < 4; ++i) {
        const __m256i level = _mm256_and_si256(_mm256_srl_epi32(corners[i], shift), _mm256_set1_epi32(255));
        sum = _mm256_fmadd_ps(shares[i], _mm256_cvtepi32_ps(level), sum);
      }
      sum = _mm256_round_ps(sum, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
      _mm256_store_ps(levels[k], _mm256_div_ps(_mm256_sub_ps(sum, _mm256_set1_ps(g.mean[k])), range));
    }
    for (int i = 0; i < 8; ++i)
      for (int k = 0; k < 3; ++k) y[(c + i) * 3 + k] = levels[k][i];
  }
  portable::colours_from(y, c, points, row, g);
}

}  // namespace facellava::cpu::avx2
#undef FACELLAVA_TARGET
#endif

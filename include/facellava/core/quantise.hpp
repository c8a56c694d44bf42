// Rounds fp32 weights to the storage formats of core/format.hpp. Reading is there.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/format.hpp"

namespace facellava {

namespace blocks {

template <class T>
void store(std::byte* p, T x) {
  std::memcpy(p, &x, sizeof x);
}

// To the nearest integer, ties to even, for |x| < 2^22: what nearbyint gives, without its call.
inline float nearest_integer(float x) {
  constexpr float kShift = 0x1.8p23f;
  return (x + kShift) - kShift;
}

// 32 values; beyond n they are 0.
inline std::array<float, 32> padded_block(const float* x, Index n) {
  std::array<float, 32> v{};
  std::copy_n(x, std::min<Index>(n, 32), v.begin());
  return v;
}

// A block whose scale, its first two bytes, is NaN.
inline void poison(std::byte* out, Index bytes) {
  std::fill_n(out, bytes, std::byte{});
  store(out, to_f16(std::numeric_limits<float>::quiet_NaN()));
}

inline void pack_nibbles(std::byte* out, const std::array<int, 32>& q) {
  for (std::size_t i = 0; i < 16; ++i) out[i] = std::byte(q[i] | q[16 + i] << 4);
}

// The largest magnitude; NaN if there is one.
inline float largest(const float* x, Index n) {
  float top = 0;
  for (Index i = 0; i < n; ++i) top = std::abs(x[i]) > top || x[i] != x[i] ? std::abs(x[i]) : top;
  return top;
}

inline void quantise_q8(std::byte* out, const std::array<float, 32>& x) {
  const float top = largest(x.data(), 32);
  const f16 d = to_f16(top / 127);
  const float inverse = to_float(d) > 0 ? 1 / to_float(d) : 0;
  store(out, d);
  for (std::size_t i = 0; i < 32; ++i)
    store(out + 2 + i, std::int8_t(nearest_integer(std::clamp(x[i] * inverse, -127.f, 127.f))));
}

// q of a block under scale d and minimum m, and the squared error.
inline double fit(std::array<int, 32>& q, const std::array<float, 32>& x, float d, float m) {
  const float inverse = d != 0 ? 1 / d : 0;
  double error = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    q[i] = int(nearest_integer(std::clamp((x[i] - m) * inverse, 0.f, 15.f)));
    const double e = double(d) * q[i] + m - x[i];
    error += e * e;
  }
  return error;
}

// Of the scales that put the largest weight at −8, −7.5 … 7, each refined once by least squares, the best.
inline void quantise_q4(std::byte* out, const std::array<float, 32>& x) {
  const float top = *std::max_element(x.begin(), x.end(), [](float a, float b) { return std::abs(a) < std::abs(b); });
  f16 best{0};
  std::array<int, 32> q, best_q;
  best_q.fill(8);
  double least = -1;
  const auto attempt = [&](float scale) {
    const f16 d = to_f16(scale);
    const double error = fit(q, x, to_float(d), -8 * to_float(d));
    if (least >= 0 && error >= least) return;
    least = error;
    best = d;
    best_q = q;
  };
  for (const float level : {-8.f, -7.5f, -7.f, 7.f}) {
    attempt(top / level);
    double xq = 0, qq = 0;
    for (std::size_t i = 0; i < 32; ++i) {
      xq += double(x[i]) * (q[i] - 8);
      qq += double(q[i] - 8) * (q[i] - 8);
    }
    if (qq > 0) attempt(float(xq / qq));
  }
  store(out, best);
  pack_nibbles(out + 2, best_q);
}

inline void quantise_q4_offset(std::byte* out, const std::array<float, 32>& x) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const f16 d = to_f16((*high - *low) / 15), m = to_f16(*low);
  std::array<int, 32> q;
  fit(q, x, to_float(d), to_float(m));
  store(out, d);
  store(out + 2, m);
  pack_nibbles(out + 4, q);
}

// The nearest of ascending codes; the lower one on a tie.
template <std::size_t N>
int nearest(const std::array<float, N>& code, float x) {
  const auto above = std::lower_bound(code.begin(), code.end(), x);
  if (above == code.begin()) return 0;
  if (above == code.end()) return int(N) - 1;
  const int i = int(above - code.begin());
  return x - code[std::size_t(i - 1)] <= code[std::size_t(i)] - x ? i - 1 : i;
}

}  // namespace blocks

// One row of n values to row_bytes(f, n) bytes; every format but kNf4. A block with a value that is not finite becomes
// NaN as a whole.
inline void quantise_row(Format f, std::byte* out, const float* x, Index n) {
  for (Index k = 0; k < n; k += block_size(f), out += block_bytes(f)) {
    if (f == Format::kF32)
      blocks::store(out, x[k]);
    else if (f == Format::kF16)
      blocks::store(out, to_f16(x[k]));
    else if (f == Format::kBf16)
      blocks::store(out, to_bf16(x[k]));
    else if (const auto block = blocks::padded_block(x + k, n - k); !std::isfinite(blocks::largest(block.data(), 32)))
      blocks::poison(out, block_bytes(f));
    else if (f == Format::kQ8)
      blocks::quantise_q8(out, block);
    else if (f == Format::kQ4)
      blocks::quantise_q4(out, block);
    else
      blocks::quantise_q4_offset(out, block);
  }
}

// A matrix rounded to nf4, owned.
struct Nf4Matrix {
  std::vector<std::byte> packed;
  std::vector<std::uint8_t> absmax;
  std::vector<float> nested;
  float offset = 0;

  Nf4Scales scales() const { return {packed.data(), absmax.data(), nested.data(), offset}; }
};

// n values in row-major order. One that is not finite makes every scale NaN. An odd last byte has nibble 0 below.
inline Nf4Matrix quantise_nf4(const float* x, Index n) {
  Nf4Matrix m;
  const Index blocks = (n + kNf4Block - 1) / kNf4Block;
  m.packed.resize(std::size_t((n + 1) / 2));
  std::vector<float> absmax;
  double sum = 0;
  for (Index b = 0; b < blocks; ++b) {
    const Index first = b * kNf4Block, end = std::min(n, first + kNf4Block);
    const float top = blocks::largest(x + first, end - first);
    absmax.push_back(top);
    sum += top;
    const float inverse = top > 0 ? 1 / top : 0;
    for (Index i = first; i < end; ++i) {
      const int q = blocks::nearest(kNf4Code, x[i] * inverse);
      m.packed[std::size_t(i / 2)] |= std::byte(i % 2 == 0 ? q << 4 : q);
    }
  }
  m.offset = blocks ? float(sum / double(blocks)) : 0;
  for (Index b = 0; b < blocks; b += kNf4Nested) {
    const Index end = std::min(blocks, b + kNf4Nested);
    float top = 0;
    for (Index i = b; i < end; ++i) top = std::max(top, std::abs(absmax[std::size_t(i)] - m.offset));
    m.nested.push_back(top);
    const float inverse = top > 0 ? 1 / top : 0;
    for (Index i = b; i < end; ++i)
      m.absmax.push_back(std::uint8_t(blocks::nearest(kDynamicCode, (absmax[std::size_t(i)] - m.offset) * inverse)));
  }
  return m;
}

}  // namespace facellava

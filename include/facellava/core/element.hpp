// Element types. bf16 and f16 are storage: arithmetic widens them. Stat<T> is the type of statistics and accumulators.
#pragma once
#include <bit>
#include <cstdint>

namespace facellava {

struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};

constexpr float to_float(float x) { return x; }
constexpr float to_float(bf16 x) { return std::bit_cast<float>(std::uint32_t(x.bits) << 16); }
constexpr float to_float(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 1023u;
  if (exponent == 0) return (sign ? -1.f : 1.f) * float(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | (mantissa << 13));
}

// Round to nearest, ties to even; NaN stays NaN.
constexpr bf16 to_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {std::uint16_t(u >> 16 | 0x40u)};
  return {std::uint16_t((u + 0x7fffu + (u >> 16 & 1u)) >> 16)};
}

template <class T>
struct StatOf {
  using type = T;
};
template <>
struct StatOf<bf16> {
  using type = float;
};
template <>
struct StatOf<f16> {
  using type = float;
};
template <class T>
using Stat = typename StatOf<T>::type;

}  // namespace facellava

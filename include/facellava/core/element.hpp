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

// Likewise; beyond 65504 it becomes infinite.
constexpr f16 to_f16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {std::uint16_t(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {std::uint16_t(sign | 0x7c00u)};
  if (magnitude < 0x38800000u) {  // below 2^-14: a multiple of 2^-24; adding 2^23 of those units rounds
    const float shifted = std::bit_cast<float>(magnitude) * 0x1p24f + 0x1p23f;
    return {std::uint16_t(sign | (std::bit_cast<std::uint32_t>(shifted) & 0x7fffu))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return {std::uint16_t(sign | ((rounded - 0x38000000u) >> 13))};
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

// Storage formats of matrices, and the value of one element of each.
//   kF32, kF16, kBf16            one number an element
//   kQ8, kQ4, kQ4Offset          blocks of 32 along a row; byte for byte GGUF's Q8_0, Q4_0 and Q4_1
//     kQ8        f16 d, int8 q[32]                  w = d q                          8.5 bits a weight
//     kQ4        f16 d, 16 bytes of nibbles         w = d (q − 8)                    4.5
//     kQ4Offset  f16 d, f16 m, 16 bytes of nibbles  w = d q + m                      5
//                byte i holds weight i (low nibble) and weight 16 + i (high nibble)
//   kNf4                         blocks of 64 of the row-major matrix, as bitsandbytes' NF4 with double quantisation
//     byte i holds weight 2 i (high nibble) and 2 i + 1 (low); w = code[q] scale, scale = code8[absmax] nested + offset
// Rows of the block formats are padded to whole blocks. Sources: ggml's block structs; QLoRA (arXiv 2305.14314).
#pragma once
#include <array>
#include <cstring>
#include <string_view>

#include "facellava/core/element.hpp"
#include "facellava/core/view.hpp"

namespace facellava {

enum class Format { kF32, kF16, kBf16, kQ8, kQ4, kQ4Offset, kNf4 };
inline constexpr Format kFormats[] = {Format::kF32, Format::kF16,      Format::kBf16, Format::kQ8,
                                      Format::kQ4,  Format::kQ4Offset, Format::kNf4};

constexpr const char* format_name(Format f) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "q8", "q4", "q4_1", "nf4"};
  return kNames[int(f)];
}
constexpr bool is_block_format(Format f) { return f >= Format::kQ8; }
// Elements and bytes of the smallest piece that can be read alone.
constexpr Index block_size(Format f) {
  constexpr Index kSizes[] = {1, 1, 1, 32, 32, 32, 2};
  return kSizes[int(f)];
}
constexpr Index block_bytes(Format f) {
  constexpr Index kBytes[] = {4, 2, 2, 34, 18, 20, 1};
  return kBytes[int(f)];
}
// Bytes of a row, or distance between rows.
constexpr Index row_bytes(Format f, Index columns) {
  return (columns + block_size(f) - 1) / block_size(f) * block_bytes(f);
}

inline constexpr Index kNf4Block = 64;    // weights that share a scale
inline constexpr Index kNf4Nested = 256;  // scales that share a nested scale

inline constexpr std::array<float, 16> kNf4Code = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

// The 8-bit "dynamic" code of scales, ascending: for each of seven decades 10^-6 … 1 the midpoints of 2^i equal parts
// of [0.1, 1], with both signs; and 0 and 1. Rounded step by step in fp32, as bitsandbytes' table is.
inline constexpr std::array<float, 256> kDynamicCode = [] {
  std::array<float, 256> code{};
  double decade = 1e-6;
  Index above = 128;
  for (Index n = 1; n <= 64; n *= 2, decade *= 10) {
    const float step = (1.f - 0.1f) / float(n);
    const auto boundary = [&](Index j) {  // a fused multiply-add
      return float(2 * j < n + 1 ? double(0.1f) + double(step) * double(j) : 1 - double(step) * double(n - j));
    };
    for (Index j = 0; j < n; ++j, ++above) {
      const float mid = (boundary(j) + boundary(j + 1)) / 2 * float(decade);
      code[std::size_t(above)] = mid;
      code[std::size_t(254 - above)] = -mid;
    }
  }
  code[255] = 1;
  return code;
}();

// Scales of an nf4 matrix of n weights.
struct Nf4Scales {
  const std::byte* packed = nullptr;     // [n / 2], the matrix itself
  const std::uint8_t* absmax = nullptr;  // [ceil(n / 64)]
  const float* nested = nullptr;         // [ceil(n / 64 / 256)]
  float offset = 0;

  // Of a block of 64. Rounded after the product and after the sum: volatile keeps compilers from fusing the two.
  float scale(Index block) const {
    const volatile float product = kDynamicCode[absmax[block]] * nested[block / kNf4Nested];
    return product + offset;
  }
};

namespace blocks {
template <class T>
T load(const std::byte* p) {
  T x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
}  // namespace blocks

// Element j of a row.
inline float decode(Format f, const std::byte* row, Index j, const Nf4Scales* nf4 = nullptr) {
  const std::byte* block = row + j / block_size(f) * block_bytes(f);
  const Index i = j % block_size(f);
  const auto nibble = [&](Index header) {
    const int byte = std::to_integer<int>(block[header + i % 16]);
    return float(i < 16 ? byte & 15 : byte >> 4);
  };
  switch (f) {
    case Format::kF32: return blocks::load<float>(block);
    case Format::kF16: return to_float(blocks::load<f16>(block));
    case Format::kBf16: return to_float(blocks::load<bf16>(block));
    case Format::kQ8: return to_float(blocks::load<f16>(block)) * float(blocks::load<std::int8_t>(block + 2 + i));
    case Format::kQ4: return to_float(blocks::load<f16>(block)) * (nibble(2) - 8);
    case Format::kQ4Offset:
      return to_float(blocks::load<f16>(block)) * nibble(4) + to_float(blocks::load<f16>(block + 2));
    case Format::kNf4: break;
  }
  const int byte = std::to_integer<int>(*block);
  const Index flat = (block - nf4->packed) * 2;
  return kNf4Code[std::size_t(i == 0 ? byte >> 4 : byte & 15)] * nf4->scale(flat / kNf4Block);
}

}  // namespace facellava

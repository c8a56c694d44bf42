// Writes the protobuf of small SentencePiece models for tests, sound or broken.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"

namespace model_writer {

inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += char(value | 0x80);
  return out + char(value);
}
inline std::string number(int field, std::uint64_t value) { return varint(std::uint64_t(field) << 3) + varint(value); }
inline std::string bytes(int field, std::string_view value) {
  return varint(std::uint64_t(field) << 3 | 2) + varint(value.size()) + std::string(value);
}
inline std::string word(std::uint32_t value) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += char(value >> 8 * i);
  return out;
}
inline std::string real(int field, float value) {
  return varint(std::uint64_t(field) << 3 | 5) + word(std::bit_cast<std::uint32_t>(value));
}
inline std::string piece(std::string_view text, float score = 0, int type = 1) {
  return bytes(1, bytes(1, text) + real(2, score) + number(3, std::uint64_t(type)));
}
inline std::string specials() { return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3); }
inline std::string bpe(std::string_view more_fields = "") { return bytes(2, number(3, 2) + std::string(more_fields)); }

inline std::span<const std::byte> span(std::string_view text) { return std::as_bytes(std::span(text)); }

// What went wrong; "" if nothing did.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const facellava::Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace model_writer

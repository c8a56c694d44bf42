// UTF-8, one character at a time: overlong forms, surrogates and code points above U+10FFFF are invalid (RFC 3629).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace facellava::text {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD, stands for one byte that is no character
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";    // U+2581, SentencePiece's visible space

enum class Utf8 { kValid, kInvalid, kIncomplete };

struct Utf8Char {
  std::uint8_t bytes;  // kValid: 1 to 4. kInvalid: 1. kIncomplete: all that is left, the beginning of a valid character
  Utf8 state;
};

// The first character of a text that is not empty.
constexpr Utf8Char first_char(std::string_view text) {
  const auto byte = [&](std::size_t i) { return std::uint8_t(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {1, Utf8::kValid};
  if (lead < 0xC2 || lead > 0xF4) return {1, Utf8::kInvalid};
  const std::uint8_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (std::uint8_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, Utf8::kIncomplete};
    const std::uint8_t low = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const std::uint8_t high = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < low || byte(i) > high) return {1, Utf8::kInvalid};
  }
  return {length, Utf8::kValid};
}

// The code point of a valid character.
constexpr char32_t code_point(std::string_view c) {
  if (c.size() == 1) return char32_t(std::uint8_t(c[0]));
  char32_t code = char32_t(std::uint8_t(c[0])) & (0x7Fu >> c.size());
  for (std::size_t i = 1; i < c.size(); ++i) code = code << 6 | (std::uint8_t(c[i]) & 0x3Fu);
  return code;
}

constexpr bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Char c = first_char(text);
    if (c.state != Utf8::kValid) return false;
    text.remove_prefix(c.bytes);
  }
  return true;
}

}  // namespace facellava::text

// Writes SentencePiece's `tokenizer.model` of byte-pair pieces, as Llama's is: no normalisation, a space before the
// text, bytes for what has no piece. Source: as sentencepiece_model.hpp.
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "facellava/text/sentencepiece_model.hpp"

namespace facellava::text {

namespace protobuf {

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

}  // namespace protobuf

// The file's bytes; pieces[i] is token i.
inline std::string sentencepiece_bytes(std::span<const Piece> pieces) {
  using namespace protobuf;
  std::string out;
  for (const Piece& p : pieces) out += bytes(1, bytes(1, p.text) + real(2, p.score) + number(3, std::uint64_t(p.type)));
  constexpr int kModelType = 3, kByteFallback = 35, kAddDummyPrefix = 3, kRemoveExtraWhitespaces = 4;
  out += bytes(2, number(kModelType, SentencePieceModel::kBpe) + number(kByteFallback, 1));
  return out + bytes(3, number(kAddDummyPrefix, 1) + number(kRemoveExtraWhitespaces, 0));
}

}  // namespace facellava::text

// Writes the protobuf of small SentencePiece models for tests, sound or broken.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"
#include "facellava/text/sentencepiece_writer.hpp"

namespace model_writer {

using namespace facellava::text::protobuf;

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

// The pieces of a tokenizer: id to text, text to id. Owns its bytes; lookups allocate nothing.
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/text/sentencepiece_model.hpp"
#include "facellava/text/string_table.hpp"
#include "facellava/text/utf8.hpp"

namespace facellava::text {

class Vocabulary {
 public:
  // Copies the pieces. Error kFormat for an empty, doubled, overlong or non-UTF-8 piece, a score that is not finite, no
  // or two unknown pieces, and byte pieces that are not all 256 values (or none).
  Vocabulary(std::span<const Piece> pieces, std::string_view origin) : texts_(pieces.size()) {
    entries_.reserve(pieces.size());
    byte_ids_.fill(-1);
    for (const Piece& piece : pieces) add(piece, origin);
    if (unknown_ < 0) refuse(origin, "expected one unknown piece, found none");
    const auto bytes = 256 - std::count(byte_ids_.begin(), byte_ids_.end(), -1);
    if (bytes != 0 && bytes != 256) refuse(origin, "expected 0 or 256 byte pieces, found " + std::to_string(bytes));
  }

  int size() const { return int(entries_.size()); }
  std::string_view text(int id) const { return texts_[id]; }
  float score(int id) const { return entries_[std::size_t(id)].score; }
  PieceType type(int id) const { return entries_[std::size_t(id)].type; }

  // The id of a piece, -1 if there is none.
  int find(std::string_view text) const { return texts_.find(text); }

  // The id of a piece that text may be made of (normal or user-defined), -1 if there is none.
  int find_mergeable(std::string_view text) const {
    if (text.size() > longest_mergeable_) return -1;
    const int id = find(text);
    return id >= 0 && is_mergeable(type(id)) ? id : -1;
  }

  // Bytes of the longest user-defined piece that begins the text, 0 if none does.
  std::size_t user_defined_prefix(std::string_view text) const {
    for (std::size_t n = std::min(longest_user_defined_, text.size()); n > 0; --n)
      if (const int id = find(text.substr(0, n)); id >= 0 && type(id) == PieceType::kUserDefined) return n;
    return 0;
  }

  int unknown() const { return unknown_; }
  bool has_bytes() const { return byte_ids_[0] >= 0; }
  int byte_id(std::uint8_t byte) const { return byte_ids_[byte]; }
  char byte_value(int id) const { return char(byte_value(text(id))); }

  // Whether some piece goes over from a word into a following space mark. If none does, words merge independently.
  bool joins_words() const { return joins_words_; }

 private:
  struct Entry {
    float score;
    PieceType type;
  };

  static constexpr std::size_t kMostPieceBytes = 1024;  // bounds the work of lookups

  static bool is_mergeable(PieceType type) { return type == PieceType::kNormal || type == PieceType::kUserDefined; }

  // The value of a byte piece <0xHH>, -1 if the text is none.
  static int byte_value(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
    int value = 0;
    const auto [end, error] = std::from_chars(text.data() + 3, text.data() + 5, value, 16);
    return error == std::errc() && end == text.data() + 5 && value >= 0 ? value : -1;
  }

  [[noreturn]] static void refuse(std::string_view origin, const std::string& what) {
    throw Error(ErrorKind::kFormat, std::string(origin) + ": " + what);
  }

  void add(const Piece& piece, std::string_view origin) {
    const int id = size();
    const auto fail = [&](const std::string& what) { refuse(origin, "piece " + std::to_string(id) + ": " + what); };
    if (piece.text.empty()) fail("expected a text, found none");
    if (piece.text.size() > kMostPieceBytes)
      fail("expected at most 1024 bytes, found " + std::to_string(piece.text.size()));
    if (!is_utf8(piece.text)) fail("expected UTF-8, found other bytes");
    if (!std::isfinite(piece.score)) fail("expected a finite score, found " + std::to_string(piece.score));
    if (const int first = find(piece.text); first >= 0) fail("the same text as piece " + std::to_string(first));
    texts_.add(piece.text);
    entries_.push_back({piece.score, piece.type});
    if (is_mergeable(piece.type)) {
      longest_mergeable_ = std::max(longest_mergeable_, piece.text.size());
      std::size_t word = 0;
      while (piece.text.substr(word).starts_with(kSpaceMark)) word += kSpaceMark.size();
      joins_words_ = joins_words_ || piece.text.find(kSpaceMark, word) != std::string_view::npos;
    }
    if (piece.type == PieceType::kUserDefined)
      longest_user_defined_ = std::max(longest_user_defined_, piece.text.size());
    if (piece.type == PieceType::kUnknown) {
      if (unknown_ >= 0) fail("a second unknown piece, after piece " + std::to_string(unknown_));
      unknown_ = id;
    }
    if (piece.type == PieceType::kByte) {
      const int value = byte_value(piece.text);
      if (value < 0) fail("expected a byte piece like <0x0A>, found another text");
      if (byte_ids_[std::size_t(value)] >= 0)
        fail("the same byte as piece " + std::to_string(byte_ids_[std::size_t(value)]));
      byte_ids_[std::size_t(value)] = id;
    }
  }

  StringTable texts_;
  std::vector<Entry> entries_;
  std::array<std::int32_t, 256> byte_ids_;
  int unknown_ = -1;
  std::size_t longest_mergeable_ = 0, longest_user_defined_ = 0;
  bool joins_words_ = false;
};

}  // namespace facellava::text

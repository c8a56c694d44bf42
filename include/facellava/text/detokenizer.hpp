// Pieces to text, one id at a time: space marks become spaces, byte pieces join to characters (a byte that belongs to
// no character becomes U+FFFD), leading spaces go as the model says. Source: SentencePieceProcessor::Decode.
#pragma once
#include <string>
#include <string_view>

#include "facellava/text/sentencepiece_model.hpp"
#include "facellava/text/utf8.hpp"
#include "facellava/text/vocabulary.hpp"

namespace facellava::text {

enum class LeadingSpace { kKeep, kDropOne, kDropAll };

constexpr LeadingSpace leading_space(const SentencePieceModel& model) {
  if (model.remove_extra_whitespaces) return LeadingSpace::kDropAll;
  return model.add_dummy_prefix ? LeadingSpace::kDropOne : LeadingSpace::kKeep;
}

// The state inside one run of ids. Holds at most three bytes back, the beginning of a character.
class Detokenizer {
 public:
  explicit Detokenizer(LeadingSpace leading) : leading_(leading), at_start_(leading != LeadingSpace::kKeep) {}

  // Appends what is certain after this id, which must be in the vocabulary. Control pieces write nothing.
  void push(const Vocabulary& vocabulary, int id, std::string& out) {
    if (vocabulary.type(id) == PieceType::kByte) {
      pending_ += vocabulary.byte_value(id);
      write_pending(Rest::kWait, out);
      return;
    }
    write_pending(Rest::kReplace, out);
    if (vocabulary.type(id) != PieceType::kControl) write_piece(vocabulary.text(id), out);
  }

  // The same for a piece that is raw bytes: characters may go over from piece to piece.
  void push_bytes(std::string_view bytes, std::string& out) {
    pending_ += bytes;
    write_pending(Rest::kWait, out);
  }

  // Appends what was held back; the next push begins a new run.
  void finish(std::string& out) {
    write_pending(Rest::kReplace, out);
    at_start_ = leading_ != LeadingSpace::kKeep;
  }

 private:
  enum class Rest { kWait, kReplace };

  void write_pending(Rest rest, std::string& out) {
    std::string_view left = pending_;
    while (!left.empty()) {
      const Utf8Char c = first_char(left);
      if (c.state == Utf8::kIncomplete && rest == Rest::kWait) break;
      const bool valid = c.state == Utf8::kValid;
      out += valid ? left.substr(0, c.bytes) : kReplacement;
      left.remove_prefix(valid ? c.bytes : 1u);
      at_start_ = false;
    }
    pending_.erase(0, pending_.size() - left.size());
  }

  void write_piece(std::string_view piece, std::string& out) {
    if (at_start_ && piece.starts_with(kSpaceMark)) {
      piece.remove_prefix(kSpaceMark.size());
      at_start_ = leading_ == LeadingSpace::kDropAll;
    }
    if (!piece.empty()) at_start_ = false;
    for (std::size_t mark; (mark = piece.find(kSpaceMark)) != std::string_view::npos;) {
      out.append(piece.substr(0, mark)).append(1, ' ');
      piece.remove_prefix(mark + kSpaceMark.size());
    }
    out += piece;
  }

  LeadingSpace leading_;
  bool at_start_;  // a leading space would still be dropped
  std::string pending_;
};

}  // namespace facellava::text

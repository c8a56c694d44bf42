// A tokenizer of either kind, SentencePiece or byte-level BPE, behind one class.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "facellava/text/byte_level_tokenizer.hpp"
#include "facellava/text/detokenizer.hpp"
#include "facellava/text/sentencepiece_tokenizer.hpp"

namespace facellava::text {

// Immutable after construction: any number of threads may use one at once.
class Tokenizer {
 public:
  Tokenizer(SentencePieceTokenizer tokenizer) : kind_(std::move(tokenizer)) {}
  Tokenizer(ByteLevelTokenizer tokenizer) : kind_(std::move(tokenizer)) {}

  // Of a SentencePiece model. Errors as SentencePieceTokenizer.
  static Tokenizer from_file(const std::string& tokenizer_model, Legacy legacy) {
    return SentencePieceTokenizer::from_file(tokenizer_model, legacy);
  }
  static Tokenizer from_bytes(std::span<const std::byte> bytes, std::string_view origin, Legacy legacy) {
    return SentencePieceTokenizer::from_bytes(bytes, origin, legacy);
  }

  // Ids of the text, which may be any bytes. Error kCapacity if it is too long to be indexed.
  std::vector<int> encode(std::string_view text, Bos bos) const {
    return std::visit([&](const auto& t) { return t.encode(text, bos); }, kind_);
  }

  // Text of the ids; bytes that are no UTF-8 become U+FFFD. Error kShape for an id outside the vocabulary.
  std::string decode(std::span<const int> ids, Specials specials) const {
    if (const auto* t = sentencepiece()) return t->decode(ids, specials);
    std::string text;
    Detokenizer run = detokenizer();
    for (const int id : ids)
      if (specials == Specials::kKeep || !is_special(id)) push(run, id, text);
    run.finish(text);
    return text;
  }

  // For decoding id by id: what push and finish append, special tokens left out by the caller, is the decoded text.
  Detokenizer detokenizer() const {
    const auto* t = sentencepiece();
    return Detokenizer(t ? t->leading() : LeadingSpace::kKeep);
  }
  // Error kShape for an id outside the vocabulary.
  void push(Detokenizer& run, int id, std::string& out) const {
    check_index(id, size(), "token id");
    if (const auto* t = sentencepiece()) return run.push(t->vocabulary(), id, out);
    std::string bytes;
    std::get<ByteLevelTokenizer>(kind_).append_bytes(id, bytes);
    run.push_bytes(bytes, out);
  }

  // -1: there is none.
  int bos() const {
    return std::visit([](const auto& t) { return t.bos(); }, kind_);
  }
  int eos() const {
    return std::visit([](const auto& t) { return t.eos(); }, kind_);
  }
  int size() const {
    return std::visit([](const auto& t) { return t.size(); }, kind_);
  }

  // Whether the id is no text: bos, eos, unknown, a control token. Error kShape for an id outside the vocabulary.
  bool is_special(int id) const {
    check_index(id, size(), "token id");
    if (const auto* t = sentencepiece()) return t->is_special(id);
    const PieceType type = std::get<ByteLevelTokenizer>(kind_).type(id);
    return type == PieceType::kControl || type == PieceType::kUnknown;
  }

  // A piece as the model writes it: with space marks or in the alphabet of bytes. Error kShape likewise.
  std::string_view piece(int id) const {
    check_index(id, size(), "token id");
    if (const auto* t = sentencepiece()) return t->piece(id);
    return std::get<ByteLevelTokenizer>(kind_).text(id);
  }

  // Null if it is a byte-level one.
  const SentencePieceTokenizer* sentencepiece() const { return std::get_if<SentencePieceTokenizer>(&kind_); }

 private:
  std::variant<SentencePieceTokenizer, ByteLevelTokenizer> kind_;
};

}  // namespace facellava::text

// Reader of SentencePiece's `tokenizer.model`: a protobuf message (proto2, absent fields have defaults) of pieces, a
// trainer specification and a normaliser specification. Only the fields that encoding and decoding need are kept.
//   ModelProto: 1 pieces, 2 trainer_spec, 3 normalizer_spec, 5 denormalizer_spec
// Source: sentencepiece_model.proto of github.com/google/sentencepiece (field numbers and defaults).
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::text {

enum class PieceType : std::uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

struct Piece {
  std::string_view text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

// The views point into the bytes that were read.
struct SentencePieceModel {
  static constexpr std::uint64_t kBpe = 2;
  static constexpr std::size_t kMostBytes = std::size_t(1) << 26, kMostPieces = std::size_t(1) << 22;

  std::vector<Piece> pieces;
  std::uint64_t model_type = 1;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string_view bos_piece = "<s>", eos_piece = "</s>";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string_view charsmap;            // precompiled normalisation rules; empty: none
  std::string_view denormalizer_rules;  // the same for decoding
};

namespace detail {

// The fields of one protobuf message, in order. Every read is checked against the end of the message.
class ProtobufReader {
 public:
  ProtobufReader(std::string_view message, std::string_view origin, std::size_t offset)
      : message_(message), origin_(origin), offset_(offset) {}

  // Goes to the next field; false at the end.
  bool next() {
    if (at_ == message_.size()) return false;
    const std::uint64_t key = read_varint();
    field_ = key >> 3;
    wire_ = key & 7;
    if (field_ == 0) fail("a field number", "0");
    switch (wire_) {
      case kVarint: number_ = read_varint(); break;
      case kFixed64: read_bytes(8); break;
      case kLength: read_bytes(read_varint()); break;
      case kFixed32: read_bytes(4); break;
      default: fail("a wire type 0, 1, 2 or 5", std::to_string(wire_));
    }
    return true;
  }

  std::uint64_t field() const { return field_; }
  std::uint64_t number() const {
    demand(kVarint);
    return number_;
  }
  std::string_view bytes() const {
    demand(kLength);
    return payload_;
  }
  float real() const {
    demand(kFixed32);
    std::uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | std::uint8_t(payload_[std::size_t(i)]);
    return std::bit_cast<float>(bits);
  }
  ProtobufReader message() const {
    demand(kLength);
    return {payload_, origin_, offset_ + at_ - payload_.size()};
  }

  [[noreturn]] void fail(std::string_view expected, std::string_view found) const {
    throw Error(ErrorKind::kFormat, std::string(origin_) + ": not a SentencePiece model, at byte " +
                                        std::to_string(offset_ + at_) + " expected " + std::string(expected) +
                                        ", found " + std::string(found));
  }

 private:
  enum : std::uint64_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

  std::uint64_t read_varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == message_.size()) fail("a number", "the end of the message");
      const auto byte = std::uint8_t(message_[at_++]);
      value |= std::uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number of at most 10 bytes", "a longer one");
  }

  void read_bytes(std::uint64_t count) {
    const std::size_t left = message_.size() - at_;
    if (count > left) fail(std::to_string(count) + " bytes", std::to_string(left));
    payload_ = message_.substr(at_, std::size_t(count));
    at_ += std::size_t(count);
  }

  void demand(std::uint64_t wire) const {
    if (wire_ != wire)
      fail("wire type " + std::to_string(wire) + " in field " + std::to_string(field_), std::to_string(wire_));
  }

  std::string_view message_, origin_;
  std::size_t offset_;  // of the message in the file
  std::size_t at_ = 0;
  std::uint64_t field_ = 0, wire_ = 0, number_ = 0;
  std::string_view payload_;
};

inline Piece read_piece(ProtobufReader in) {
  Piece piece;
  while (in.next()) {
    if (in.field() == 1) piece.text = in.bytes();
    if (in.field() == 2) piece.score = in.real();
    if (in.field() == 3) {
      if (in.number() < 1 || in.number() > 6) in.fail("a piece type from 1 to 6", std::to_string(in.number()));
      piece.type = PieceType(in.number());
    }
  }
  return piece;
}

inline void read_trainer(ProtobufReader in, SentencePieceModel& model) {
  while (in.next()) {
    switch (in.field()) {
      case 3: model.model_type = in.number(); break;
      case 24: model.whitespace_as_suffix = in.number() != 0; break;
      case 35: model.byte_fallback = in.number() != 0; break;
      case 46: model.bos_piece = in.bytes(); break;
      case 47: model.eos_piece = in.bytes(); break;
      default: break;
    }
  }
}

inline void read_normalizer(ProtobufReader in, SentencePieceModel& model) {
  while (in.next()) {
    switch (in.field()) {
      case 2: model.charsmap = in.bytes(); break;
      case 3: model.add_dummy_prefix = in.number() != 0; break;
      case 4: model.remove_extra_whitespaces = in.number() != 0; break;
      case 5: model.escape_whitespaces = in.number() != 0; break;
      default: break;
    }
  }
}

}  // namespace detail

// Parses a model and refuses what this library does not do: other types than BPE, unused pieces, spaces as suffixes,
// rules for decoding. origin: the name that errors give. The result points into `bytes`. Error kFormat; kCapacity
// beyond 64 MiB.
inline SentencePieceModel parse_sentencepiece(std::span<const std::byte> bytes, std::string_view origin) {
  check_at_most(SentencePieceModel::kMostBytes, bytes.size(), std::string(origin) + ": bytes of a SentencePiece model");
  SentencePieceModel model;
  detail::ProtobufReader in({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, origin, 0);
  while (in.next()) {
    switch (in.field()) {
      case 1:
        model.pieces.push_back(detail::read_piece(in.message()));
        if (model.pieces.size() > SentencePieceModel::kMostPieces) in.fail("at most 4194304 pieces", "more");
        break;
      case 2: detail::read_trainer(in.message(), model); break;
      case 3: detail::read_normalizer(in.message(), model); break;
      case 5:
        for (auto rules = in.message(); rules.next();)
          if (rules.field() == 2) model.denormalizer_rules = rules.bytes();
        break;
      default: break;
    }
  }
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::kFormat, std::string(origin) + ": " + what);
  };
  if (model.pieces.empty()) refuse("expected pieces, found none");
  if (model.model_type != SentencePieceModel::kBpe)
    refuse("expected model type 2 (BPE), found " + std::to_string(model.model_type));
  if (model.whitespace_as_suffix) refuse("expected spaces before words, found the flag treat_whitespace_as_suffix");
  if (!model.denormalizer_rules.empty()) refuse("expected no denormaliser, found rules for one");
  for (std::size_t i = 0; i < model.pieces.size(); ++i)
    if (model.pieces[i].type == PieceType::kUnused) refuse("piece " + std::to_string(i) + " is unused: not supported");
  return model;
}

}  // namespace facellava::text

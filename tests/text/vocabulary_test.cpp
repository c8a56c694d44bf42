#include "facellava/text/vocabulary.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "text/model_writer.hpp"

using namespace facellava::text;

namespace {

const Piece kUnk{"<unk>", 0, PieceType::kUnknown};

std::string vocabulary_refusal(std::vector<Piece> pieces) {
  return model_writer::error_of([&] { Vocabulary(pieces, "m"); });
}

std::vector<std::string> byte_texts(const char* format) {
  std::vector<std::string> texts;
  for (int b = 0; b < 256; ++b) {
    char text[16];
    std::snprintf(text, sizeof text, format, unsigned(b));
    texts.emplace_back(text);
  }
  return texts;
}

}  // namespace

TEST_CASE("ids and texts, by exact match") {
  const std::vector<Piece> pieces{kUnk,
                                  {"a", -1},
                                  {"abcdefgh", -2},
                                  {"abcdefghi", -3},
                                  {"<x>", 0, PieceType::kUserDefined},
                                  {"<s>", 0, PieceType::kControl}};
  const Vocabulary v(pieces, "m");
  CHECK(v.size() == 6);
  for (int i = 0; i < 6; ++i) CHECK(v.find(v.text(i)) == i);
  for (const std::string& no :
       {std::string(), std::string("b"), std::string("abcdefg"), std::string("abcdefghij"), std::string(1000, 'a')})
    CHECK(v.find(no) == -1);
  CHECK(v.find_mergeable("a") == 1);
  CHECK(v.find_mergeable("<s>") == -1);
  CHECK(v.find_mergeable("<unk>") == -1);
  CHECK(v.user_defined_prefix("<x>y") == 3);
  CHECK(v.user_defined_prefix("a<x>") == 0);
  CHECK(v.unknown() == 0);
  CHECK_FALSE(v.has_bytes());
  const Vocabulary moved = Vocabulary(v);
  CHECK(moved.text(3) == "abcdefghi");
}

TEST_CASE("words are joined only by a piece with a space mark behind something else") {
  CHECK_FALSE(Vocabulary(std::vector<Piece>{kUnk, {"\u2581\u2581a"}, {"\u2581"}}, "m").joins_words());
  CHECK(Vocabulary(std::vector<Piece>{kUnk, {"a\u2581"}}, "m").joins_words());
  CHECK(Vocabulary(std::vector<Piece>{kUnk, {"\u2581a\u2581b"}}, "m").joins_words());
  CHECK_FALSE(Vocabulary(std::vector<Piece>{kUnk, {"a\u2581", 0, PieceType::kControl}}, "m").joins_words());
}

TEST_CASE("byte pieces: all 256 values in any order of digits, or none") {
  for (const char* format : {"<0x%02X>", "<0x%02x>"}) {
    const auto texts = byte_texts(format);
    std::vector<Piece> pieces{kUnk};
    for (const auto& t : texts) pieces.push_back({t, 0, PieceType::kByte});
    const Vocabulary v(pieces, "m");
    CHECK(v.has_bytes());
    for (int b = 0; b < 256; ++b) {
      CHECK(v.byte_id(std::uint8_t(b)) == b + 1);
      CHECK(std::uint8_t(v.byte_value(b + 1)) == b);
    }
    pieces.pop_back();
    CHECK(vocabulary_refusal(pieces).find("found 255") != std::string::npos);
  }
}

TEST_CASE("unsound vocabularies are refused") {
  CHECK(vocabulary_refusal({{"a"}}).find("one unknown piece, found none") != std::string::npos);
  CHECK(vocabulary_refusal({}).find("one unknown piece, found none") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {"x", 0, PieceType::kUnknown}}).find("second unknown") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {""}}).find("piece 1: expected a text") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {"a"}, {"a"}}).find("piece 2: the same text as piece 1") != std::string::npos);
  const std::string most(1024, 'a'), more(1025, 'a');
  CHECK(vocabulary_refusal({kUnk, {most}}) == "");
  CHECK(vocabulary_refusal({kUnk, {more}}).find("found 1025") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {"\xC3"}}).find("UTF-8") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {"a", std::numeric_limits<float>::quiet_NaN()}}).find("finite") != std::string::npos);
  CHECK(vocabulary_refusal({kUnk, {"a", -std::numeric_limits<float>::infinity()}}).find("finite") != std::string::npos);
  for (const char* bad : {"<0x1>", "<0xGG>", "<0x-1>", "<0x001>", "0x0A", "<0x+1>", "<0x0A|"})
    CHECK(vocabulary_refusal({kUnk, {bad, 0, PieceType::kByte}}).find("byte piece") != std::string::npos);
  CHECK(
      vocabulary_refusal({kUnk, {"<0x0A>", 0, PieceType::kByte}, {"<0x0a>", 0, PieceType::kByte}}).find("same byte") !=
      std::string::npos);
}

#include "facellava/text/detokenizer.hpp"

#include <doctest/doctest.h>

#include <span>

using namespace facellava::text;

namespace {

const Vocabulary& vocabulary() {
  static const Vocabulary v = [] {
    std::vector<std::string> texts;
    for (int b = 0; b < 256; ++b) {
      char text[8];
      std::snprintf(text, sizeof text, "<0x%02X>", unsigned(b));
      texts.emplace_back(text);
    }
    std::vector<Piece> pieces;
    for (const auto& t : texts) pieces.push_back({t, 0, PieceType::kByte});
    pieces.push_back({"<unk>", 0, PieceType::kUnknown});
    pieces.push_back({"<pad>", 0, PieceType::kControl});
    pieces.push_back({"\u2581"});
    pieces.push_back({"\u2581a\u2581b"});
    return Vocabulary(pieces, "m");
  }();
  return v;
}
constexpr int kPad = 257, kMark = 258, kWords = 259;

std::string decode(LeadingSpace leading, std::initializer_list<int> ids) {
  Detokenizer run(leading);
  std::string text;
  for (const int id : ids) run.push(vocabulary(), id, text);
  run.finish(text);
  return text;
}

}  // namespace

TEST_CASE("leading spaces") {
  CHECK(decode(LeadingSpace::kKeep, {kMark, kWords}) == "  a b");
  CHECK(decode(LeadingSpace::kDropOne, {kMark, kWords}) == " a b");
  CHECK(decode(LeadingSpace::kDropAll, {kMark, kWords, kWords}) == "a b a b");
  CHECK(decode(LeadingSpace::kDropAll, {kPad, kMark, kWords}) == "a b");
  CHECK(decode(LeadingSpace::kDropOne, {'x', kWords}) == "x a b");
  CHECK(decode(LeadingSpace::kDropOne, {0xC3, kWords}) == "\uFFFD a b");
}

TEST_CASE("bytes join to characters, lost ones become U+FFFD each, a control piece ends them") {
  CHECK(decode(LeadingSpace::kKeep, {0xC3, 0xA9, 0xF0, 0x9F, 0x98, 0x80}) == "\u00E9\U0001F600");
  CHECK(decode(LeadingSpace::kKeep, {0xE2, 0x82}) == "\uFFFD\uFFFD");
  CHECK(decode(LeadingSpace::kKeep, {0xE2, kPad, 0x96, 0x81}) == "\uFFFD\uFFFD\uFFFD");
  CHECK(decode(LeadingSpace::kKeep, {0xE2, 0x96, 0x81}) == "\u2581");
}

TEST_CASE("text comes as soon as a character is whole, and finish begins anew") {
  Detokenizer run(LeadingSpace::kDropOne);
  std::string text;
  for (const int id : {0xF0, 0x9F, 0x98}) run.push(vocabulary(), id, text);
  CHECK(text == "");
  run.push(vocabulary(), 0x80, text);
  CHECK(text == "\U0001F600");
  run.finish(text);
  run.push(vocabulary(), kWords, text);
  CHECK(text == "\U0001F600a b");
}

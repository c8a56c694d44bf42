#include "facellava/text/byte_level_tokenizer.hpp"

#include <doctest/doctest.h>

#include "facellava/text/tokenizer.hpp"
#include "io/scratch.hpp"
#include "text/model_writer.hpp"
#include "text/tokenizers.hpp"

using namespace facellava::text;
using facellava::test::mentions;
using model_writer::error_of;
using Ids = std::vector<int>;

namespace {

// "a", "b", "c", space, a control token, a user-defined one; ab, abc, cab by merges.
ByteLevelModel small() {
  ByteLevelModel m;
  m.tokens = {"a", "b", "c", "\u0120", "<s>", "<<", "ab", "abc", "\u0120a", "gone"};
  m.types = std::vector<PieceType>(m.tokens.size(), PieceType::kNormal);
  m.types[4] = PieceType::kControl;
  m.types[5] = PieceType::kUserDefined;
  m.types[9] = PieceType::kUnused;
  m.merges = {"a b", "ab c", "\u0120 a"};
  m.bos = m.eos = 4;
  return m;
}

std::string refused(const ByteLevelModel& m) {
  return error_of([&] { ByteLevelTokenizer(m, "m"); });
}
}  // namespace

TEST_CASE("pairs are joined in the order of the merges, the leftmost of equals first") {
  const ByteLevelTokenizer t(small(), "m");
  CHECK(t.encode("abc", Bos::kNo) == Ids{7});
  CHECK(t.encode("ababcc", Bos::kNo) == Ids{6, 7, 2});
  CHECK(t.encode(" ab", Bos::kNo) == Ids{3, 6});  // "a b" stands before "Ġ a"
  CHECK(t.encode(" aab", Bos::kNo) == Ids{8, 6});
  CHECK(t.encode("", Bos::kYes).empty());
}

TEST_CASE("special tokens are matched whole, the longest first; unused ones never") {
  ByteLevelModel m = small();
  m.tokens.push_back("<s><s>");
  m.types.push_back(PieceType::kControl);
  const ByteLevelTokenizer t(m, "m");
  CHECK(t.encode("a<s>b", Bos::kNo) == Ids{0, 4, 1});
  CHECK(t.encode("<s><s><s>", Bos::kNo) == Ids{10, 4});
  CHECK(t.encode("<<<s>", Bos::kNo) == Ids{5, 4});
  CHECK(t.encode("gone", Bos::kNo).empty());
}

TEST_CASE("bytes without a token are left out") {
  const ByteLevelTokenizer t(small(), "m");
  CHECK(t.encode("a\xFFz\xC3\xA9"
                 "b",
                 Bos::kNo) == Ids{0, 1});
}

TEST_CASE("a begin token where the model's texts have one") {
  ByteLevelModel m = small();
  m.begins_with_bos = true;
  CHECK(ByteLevelTokenizer(m, "m").encode("a", Bos::kYes) == Ids{4, 0});
  CHECK(ByteLevelTokenizer(m, "m").encode("a", Bos::kNo) == Ids{0});
  m.bos = -1;
  CHECK(ByteLevelTokenizer(m, "m").encode("a", Bos::kYes) == Ids{0});
}

TEST_CASE("Llama 3 takes a word that is a token before it merges") {
  ByteLevelModel m = small();
  m.tokens.push_back("cab");
  m.types.push_back(PieceType::kNormal);
  CHECK(ByteLevelTokenizer(m, "m").encode("cab", Bos::kNo) == Ids{2, 6});
  m.pre = PreTokenizer::kLlamaBpe;
  CHECK(ByteLevelTokenizer(m, "m").encode("cab", Bos::kNo) == Ids{10});
}

TEST_CASE("the text of ids: letters of the alphabet are bytes, special tokens are themselves") {
  const Tokenizer t = ByteLevelTokenizer(small(), "m");
  CHECK(t.decode(Ids{8, 4, 7, 5, 9}, Specials::kKeep) == " a<s>abc<<");
  CHECK(t.decode(Ids{8, 4, 7, 5, 9}, Specials::kSkip) == " aabc<<");
  CHECK(t.piece(8) == "\u0120a");
  CHECK(t.is_special(4));
  CHECK_FALSE(t.is_special(5));
  CHECK(t.sentencepiece() == nullptr);
  CHECK_THROWS_AS(t.decode(Ids{10}, Specials::kKeep), facellava::Error);
  CHECK_THROWS_AS(t.piece(-1), facellava::Error);
  CHECK_THROWS_AS(t.is_special(10), facellava::Error);
}

TEST_CASE("characters over several tokens, and bytes that are none") {
  ByteLevelModel m;
  const std::string first = detail::byte_letter(0xC3), second = detail::byte_letter(0xA9);
  m.tokens = {first, second};
  m.types = {PieceType::kNormal, PieceType::kNormal};
  const Tokenizer t = ByteLevelTokenizer(m, "m");
  CHECK(t.encode("\u00E9", Bos::kNo) == Ids{0, 1});
  CHECK(t.decode(Ids{0, 1, 1, 0}, Specials::kKeep) == "\u00E9\uFFFD\uFFFD");
}

TEST_CASE("every byte has a letter of its own and comes back") {
  ByteLevelModel m;
  std::vector<std::string> letters;
  for (int b = 0; b < 256; ++b) letters.push_back(detail::byte_letter(std::uint8_t(b)));
  m.tokens.assign(letters.begin(), letters.end());
  m.types.assign(256, PieceType::kNormal);
  const ByteLevelTokenizer t(m, "m");
  for (int b = 0; b < 256; ++b) {
    std::string bytes;
    t.append_bytes(b, bytes);
    CHECK(bytes == std::string(1, char(b)));
    CHECK(t.encode(bytes, Bos::kNo) == Ids{b});
  }
}

TEST_CASE("one long word costs n log n") {
  const ByteLevelTokenizer t(small(), "m");
  std::string word;
  for (int i = 0; i < 300000; ++i) word += i % 3 == 2 ? 'c' : i % 3 == 1 ? 'b' : 'a';
  CHECK(t.encode(word, Bos::kNo) == Ids(100000, 7));
}

TEST_CASE("models that make no sense") {
  const auto with = [](auto&& change) {
    ByteLevelModel m = small();
    change(m);
    return refused(m);
  };
  CHECK(refused(ByteLevelModel()) == "m: expected tokens, found none");
  CHECK(mentions(with([](auto& m) { m.types.pop_back(); }), "types of tokens: expected 10, found 9"));
  CHECK(mentions(with([](auto& m) { m.tokens[2] = ""; }), "token 2: expected a text"));
  CHECK(mentions(with([](auto& m) { m.tokens[2] = "\xFF"; }), "token 2: expected UTF-8"));
  CHECK(mentions(with([](auto& m) { m.tokens[2] = "b"; }), "token 2: the same text as token 1"));
  const std::string endless(2000, 'x');
  CHECK(mentions(with([&](auto& m) { m.tokens[2] = endless; }), "token 2: expected at most 1024 bytes, found 2000"));
  CHECK(mentions(with([](auto& m) { m.types[2] = PieceType::kByte; }), "token 2: expected no byte tokens"));
  for (const char* merge : {"", "a", "ab", " a", "a z", "z a", "b a"})
    CHECK(mentions(with([&](auto& m) { m.merges[1] = merge; }), "merge 1: "));
  CHECK(mentions(with([](auto& m) { m.merges.push_back("a b"); }), "merge 3: the same pair"));
  CHECK(mentions(with([](auto& m) { m.bos = 10; }), "below 10, found 10"));
  CHECK(mentions(with([](auto& m) { m.eos = -2; }), "below 10, found -2"));
}

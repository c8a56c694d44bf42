#include "facellava/text/normalizer.hpp"

#include <doctest/doctest.h>

#include "text/model_writer.hpp"

using namespace facellava::text;
using model_writer::word;

namespace {

// A charsmap with the rules "a" -> "xy", "ab" -> "": one trie of two blocks, as the format describes it.
std::string small_charsmap(std::uint32_t first_value = 0) {
  std::vector<std::uint32_t> units(512);
  const auto link = [&](std::size_t from, std::size_t to, std::uint32_t flags) {
    units[from] |= std::uint32_t(from ^ to) << 10 | flags;
  };
  link(0, 1, 0);                                      // the root's children: 1 ^ byte
  const std::size_t a = 1 ^ 'a', children = 256 + 7;  // the children of "a": 263 ^ byte
  units[a] = 'a';
  link(a, children, 1u << 8);
  units[children] = 0x80000000u | first_value;
  const std::size_t ab = children ^ 'b';
  units[ab] = 'b';
  link(ab, 300, 1u << 8);
  units[300] = 0x80000000u | 3;
  std::string blob = word(std::uint32_t(units.size() * 4));
  for (const std::uint32_t u : units) blob += word(u);
  return blob + std::string("xy\0\0", 4);
}

std::string charsmap_refusal(const std::string& blob) {
  return model_writer::error_of([&] { Charsmap(blob, "m"); });
}

std::string normalize(const SentencePieceModel& model, std::string_view text, std::vector<Piece> more = {}) {
  more.push_back({"<unk>", 0, PieceType::kUnknown});
  return Normalizer(model, "m").normalize(text, Vocabulary(more, "m"));
}

}  // namespace

TEST_CASE("the longest rule wins") {
  const Charsmap rules(small_charsmap(), "m");
  CHECK(rules.longest("ac").bytes == 1);
  CHECK(rules.longest("ac").text == "xy");
  CHECK(rules.longest("abc").bytes == 2);
  CHECK(rules.longest("abc").text.empty());
  for (const char* none : {"", "b", "xa", "\xFF"}) CHECK(rules.longest(none).bytes == 0);
  CHECK(Charsmap().longest("a").bytes == 0);
}

TEST_CASE("charsmaps that point outside are refused") {
  const std::string good = small_charsmap();
  CHECK(charsmap_refusal(good) == "");
  CHECK(charsmap_refusal("abcd").find("found 4 bytes") != std::string::npos);
  CHECK(charsmap_refusal(word(1024) + std::string(1024, '\0')).find("at most 1024 bytes") != std::string::npos);
  CHECK(charsmap_refusal(word(0) + std::string(9, '\0')).find("whole kilobytes") != std::string::npos);
  CHECK(charsmap_refusal(word(0xFFFFFC00u) + std::string(9, '\0')).find("found 4294966272") != std::string::npos);
  CHECK(charsmap_refusal(word(1023) + std::string(2000, '\0')).find("whole kilobytes") != std::string::npos);
  CHECK(charsmap_refusal(good.substr(0, good.size() - 2) + "xy").find("zero at the end") != std::string::npos);
  CHECK(charsmap_refusal(small_charsmap(4)).find("points outside") != std::string::npos);
  std::string far = good;
  far.replace(4 + 4 * 9, 4, word(0x7FFFFC00u));
  CHECK(charsmap_refusal(far).find("unit 9 points outside") != std::string::npos);
  std::string no_value = good;
  no_value.replace(4 + 4 * 300, 4, word(0));
  CHECK(charsmap_refusal(no_value).find("promises a value") != std::string::npos);
}

TEST_CASE("spaces and the dummy prefix follow the flags") {
  SentencePieceModel keep;
  keep.remove_extra_whitespaces = false;
  CHECK(normalize(keep, "") == "");
  CHECK(normalize(keep, " ") == "\u2581\u2581");
  CHECK(normalize(keep, " a  b ") == "\u2581\u2581a\u2581\u2581b\u2581");
  SentencePieceModel bare = keep;
  bare.add_dummy_prefix = false;
  bare.escape_whitespaces = false;
  CHECK(normalize(bare, " a  b ") == " a  b ");
  const SentencePieceModel trim;
  CHECK(normalize(trim, "  ") == "");
  CHECK(normalize(trim, " a  b ") == "\u2581a\u2581b");
  CHECK(normalize(trim, "a\tb") == "\u2581a\tb");
}

TEST_CASE("rules apply, but not inside user-defined pieces") {
  const std::string rules = small_charsmap();
  SentencePieceModel model;
  model.charsmap = rules;
  CHECK(normalize(model, "abacab") == "\u2581xyc");
  CHECK(normalize(model, "bab<a>a", {{"<a>", 0, PieceType::kUserDefined}}) == "\u2581b<a>xy");
}

TEST_CASE("each byte that is no UTF-8 becomes U+FFFD") {
  SentencePieceModel model;
  model.add_dummy_prefix = false;
  CHECK(normalize(model,
                  "a\xFF"
                  "b\xC3") == "a\uFFFDb\uFFFD");
  CHECK(normalize(model, "\xF0\x9F\x98") == "\uFFFD\uFFFD\uFFFD");
}

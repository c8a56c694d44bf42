#include "facellava/text/byte_pair.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <utility>

using namespace facellava::text;

namespace {

using Symbols = std::vector<std::pair<std::string, int>>;

Symbols merge(const Vocabulary& vocabulary, std::string_view text) {
  Symbols out;
  BytePairMerger(vocabulary).run(text, [&](std::string_view s, int id) { out.emplace_back(s, id); });
  return out;
}

// The definition: look at all pairs, join the best, begin again.
Symbols merge_slowly(const Vocabulary& vocabulary, const std::string& text) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  while (true) {
    int best = -1;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const int id = vocabulary.find_mergeable(symbols[i] + symbols[i + 1]);
      const auto score = [&](int at) {
        return vocabulary.score(vocabulary.find(symbols[std::size_t(at)] + symbols[std::size_t(at) + 1]));
      };
      if (id >= 0 && (best < 0 || vocabulary.score(id) > score(best))) best = int(i);
    }
    if (best < 0) break;
    symbols[std::size_t(best)] += symbols[std::size_t(best) + 1];
    symbols.erase(symbols.begin() + best + 1);
  }
  Symbols out;
  for (const std::string& s : symbols) out.emplace_back(s, vocabulary.find(s));
  return out;
}

}  // namespace

TEST_CASE("equal to the definition for random vocabularies with many ties") {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> texts{"a", "b"};
    while (texts.size() < 30) {
      std::string text;
      for (std::size_t n = 2 + random() % 5; n > 0; --n) text += "abc"[random() % 3];
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
    }
    std::vector<Piece> pieces{{"<unk>", 0, PieceType::kUnknown}};
    for (const auto& t : texts) pieces.push_back({t, -float(random() % 4)});
    const Vocabulary vocabulary(pieces, "m");
    std::string text;
    for (int i = 0; i < 40; ++i, text += "abc"[random() % 3])
      CHECK(merge(vocabulary, text) == merge_slowly(vocabulary, text));
  }
}

TEST_CASE("user-defined pieces are whole and join nothing; unknown characters stay alone") {
  const std::vector<Piece> pieces{{"<unk>", 0, PieceType::kUnknown},   {"a"},   {"aa"}, {"ab"}, {"xab"},
                                  {"ab!", 0, PieceType::kUserDefined}, {"ab!a"}};
  const Vocabulary v(pieces, "m");
  CHECK(merge(v, "aab!a") == Symbols{{"a", 1}, {"ab!", 5}, {"a", 1}});
  CHECK(merge(v, "") == Symbols{});
  CHECK(merge(v,
              "\u00E9\xFF"
              "ab") == Symbols{{"\u00E9", -1}, {"\xFF", -1}, {"ab", 3}});
}

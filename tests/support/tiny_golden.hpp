// What a session of the tiny Face-LLaVA says against the official code, from pixels and ids to logits and greedy
// tokens.
#pragma once
#include <doctest/doctest.h>

#include "support/tiny_model.hpp"

namespace facellava::test {

// One padded golden tensor against the unpadded rows of every request; every 16th position of long cases.
inline void compare(const TinyCase& c, const Keeper& kept, const std::string& mine, const std::string& theirs,
                    Index width, const std::vector<Index>& columns, double demand) {
  const std::string name = c.golden.has(theirs) ? theirs : theirs + ".every16";
  if (!c.golden.has(name)) return;
  const Index step = name == theirs ? 1 : 16, length = c.golden.shape(name)[1], n = Index(columns.size());
  const auto golden = c.golden.floats(name);
  std::vector<float> a, b;
  for (std::size_t r = 0; r < c.requests.size(); ++r) {
    const auto& values = kept.at(r, mine);
    REQUIRE(Index(values.size()) == Index(c.rows[r].size()) * width);
    for (std::size_t i = 0; i < c.rows[r].size(); ++i) {
      if (c.rows[r][i] % step != 0) continue;
      for (Index k = 0; k < n; ++k) {
        a.push_back(values[i * std::size_t(width) + std::size_t(columns[std::size_t(k)])]);
        b.push_back(golden[std::size_t((Index(r) * length + c.rows[r][i] / step) * n + k)]);
      }
    }
  }
  REQUIRE(!a.empty());
  CAPTURE(name);
  CHECK(relative_to_max(a, b, Index(a.size())) < demand);
}

inline std::vector<Index> all_columns(Index n) {
  std::vector<Index> c(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) c[std::size_t(i)] = i;
  return c;
}

// inputs_embeds 2e-5, hidden states and logits 1e-4 of the largest value (noise floors 1e-6 and 7e-6), greedy ids
// equal, the first `tokens` of them.
inline void check_case(const TinyCase& c, run::AnySession& session, std::size_t tokens = 1000) {
  Keeper kept;
  const auto sequences = session.prefill(c.requests, 32, &kept);
  compare(c, kept, "inputs_embeds", "inputs_embeds", kTinyWidth, all_columns(kTinyWidth), 2e-5);
  compare(c, kept, "hidden_final", "hidden_final", kTinyWidth, all_columns(kTinyWidth), 1e-4);
  compare(c, kept, "logits", "logits.columns", kTinyVocabulary, c.meta["logits_columns"].get<std::vector<Index>>(),
          1e-4);

  const auto last = c.golden.floats("logits.last");
  std::vector<float> mine;
  for (Index r = 0; r < session.logits().rows(); ++r)
    mine.insert(mine.end(), session.logits().row(r), session.logits().row(r) + kTinyVocabulary);
  REQUIRE(mine.size() == last.size());
  CHECK(relative_to_max(mine, last, Index(last.size())) < 1e-4);

  if (!c.golden.has("generated_ids")) return;
  auto want = c.golden.integers("generated_ids");
  want.resize(std::min(want.size(), tokens));
  const auto got = run::generate(session, sequences, {.max_new_tokens = int(want.size())}, 4096);
  CHECK(std::vector<std::int64_t>(got[0].ids.begin(), got[0].ids.end()) == want);
}

}  // namespace facellava::test

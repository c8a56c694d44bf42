// What an answer says, read back from its words: to check answers against labels, and a model's answers too.
#pragma once
#include <charconv>

#include "labels.hpp"

namespace synthetic_faces {

struct Reading {
  std::vector<int> aus;  // numbers of the action units that are named
  std::optional<Emotion> emotion;
  std::optional<int> years;
  std::optional<bool> yes, fake;
};

namespace detail {

inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Where a whole word begins, in either case of its first letter; npos if nowhere.
inline std::size_t find_word(std::string_view text, std::string_view word) {
  for (std::size_t i = 0; i + word.size() <= text.size(); ++i) {
    const bool first = text[i] == word[0] || text[i] == word[0] - 'a' + 'A';
    if (first && text.substr(i + 1, word.size() - 1) == word.substr(1) && (i == 0 || !is_letter(text[i - 1])) &&
        (i + word.size() == text.size() || !is_letter(text[i + word.size()])))
      return i;
  }
  return std::string_view::npos;
}

}  // namespace detail

inline Reading read_answer(std::string_view text) {
  Reading r;
  for (std::size_t i = text.find("AU"); i != text.npos; i = text.find("AU", i + 2)) {
    int number = 0;
    const auto [end, status] = std::from_chars(text.data() + i + 2, text.data() + text.size(), number);
    if (status == std::errc()) r.aus.push_back(number);
  }
  std::size_t first = text.npos;
  for (std::size_t e = 0; e < kEmotions; ++e) {
    const std::size_t at = detail::find_word(text, kEmotionNames[e]);
    if (at >= first) continue;
    first = at;
    r.emotion = Emotion(e);
  }
  if (const auto at = text.find(" years"); at != text.npos) {
    std::size_t begin = at;
    while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
    int years = 0;
    if (std::from_chars(text.data() + begin, text.data() + at, years).ec == std::errc()) r.years = years;
  }
  if (text.starts_with("Yes")) r.yes = true;
  if (text.starts_with("No,")) r.yes = false;
  if (detail::find_word(text, "fake") != text.npos)
    r.fake = true;
  else if (detail::find_word(text, "real") != text.npos)
    r.fake = false;
  return r;
}

}  // namespace synthetic_faces

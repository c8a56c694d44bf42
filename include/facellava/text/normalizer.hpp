// SentencePiece's normaliser: optional replacement rules (`precompiled_charsmap`), spaces, the dummy prefix.
//
// The charsmap is u32 bytes of the trie | the trie | NUL-terminated replacements. The trie is a double array (Darts): a
// unit of 32 bits has a label (bits 0-7), "a value follows" (bit 8), an offset (bits 10-30, times 256 if bit 9 is set);
// a unit with bit 31 set is a value, the position of a replacement.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/text/sentencepiece_model.hpp"
#include "facellava/text/utf8.hpp"
#include "facellava/text/vocabulary.hpp"

namespace facellava::text {

class Charsmap {
 public:
  struct Match {
    std::size_t bytes = 0;  // of the text that the replacement stands for; 0: no rule begins here
    std::string_view text;
  };

  Charsmap() = default;

  // Error kFormat if the parts do not fit or any unit of the trie points outside: afterwards no search can leave it.
  Charsmap(std::string_view blob, std::string_view origin) {
    const auto check = [&](bool fine, const std::string& what) {
      if (!fine) throw Error(ErrorKind::kFormat, std::string(origin) + ": precompiled_charsmap: " + what);
    };
    check(blob.size() > 4, "expected a size and a trie, found " + std::to_string(blob.size()) + " bytes");
    const std::size_t trie_bytes = word(blob, 0), left = blob.size() - 4;
    check(trie_bytes > 0 && trie_bytes % kBlockBytes == 0,
          "expected a trie of whole kilobytes, found " + std::to_string(trie_bytes) + " bytes");
    check(trie_bytes < left,
          "expected a trie of at most " + std::to_string(left) + " bytes, found " + std::to_string(trie_bytes));
    strings_ = blob.substr(4 + trie_bytes);
    check(strings_.back() == '\0', "expected a zero at the end of the replacements");
    trie_.reserve(trie_bytes / 4);
    for (std::size_t at = 0; at < trie_bytes; at += 4) trie_.push_back(word(blob, 4 + at));
    for (std::size_t i = 0; i < trie_.size(); ++i) {
      const bool inside = is_value(trie_[i]) ? value(trie_[i]) < strings_.size() : child(i) < trie_.size();
      check(inside, "unit " + std::to_string(i) + " points outside");
      check(is_value(trie_[i]) || !has_value(trie_[i]) || is_value(trie_[child(i)]),
            "unit " + std::to_string(i) + " promises a value that is none");
    }
  }

  bool empty() const { return trie_.empty(); }

  // The longest rule at the beginning of the text.
  Match longest(std::string_view text) const {
    Match best;
    if (trie_.empty()) return best;
    std::size_t node = child(0);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::size_t unit = node ^ std::uint8_t(text[i]);
      if ((trie_[unit] & kLabel) != std::uint8_t(text[i])) break;
      node = child(unit);
      if (has_value(trie_[unit])) best = {i + 1, strings_.data() + value(trie_[node])};
    }
    return best;
  }

 private:
  static constexpr std::size_t kBlockBytes = 1024;  // 256 units: node ^ byte stays in the node's block
  static constexpr std::uint32_t kLabel = 0x800000FFu;

  static std::uint32_t word(std::string_view bytes, std::size_t at) {
    std::uint32_t w = 0;
    for (std::size_t i = 4; i-- > 0;) w = w << 8 | std::uint8_t(bytes[at + i]);
    return w;
  }
  static bool is_value(std::uint32_t unit) { return unit >> 31; }
  static bool has_value(std::uint32_t unit) { return unit >> 8 & 1; }
  static std::size_t value(std::uint32_t unit) { return unit & 0x7FFFFFFFu; }
  std::size_t child(std::size_t i) const { return i ^ std::size_t(trie_[i] >> 10) << ((trie_[i] & 512u) >> 6); }

  std::vector<std::uint32_t> trie_;
  std::string strings_;
};

class Normalizer {
 public:
  Normalizer(const SentencePieceModel& model, std::string_view origin)
      : prefix_(model.add_dummy_prefix),
        trim_(model.remove_extra_whitespaces),
        space_(model.escape_whitespaces ? kSpaceMark : " ") {
    if (!model.charsmap.empty()) rules_ = Charsmap(model.charsmap, origin);
  }

  // Normalised text; a byte that is no UTF-8 becomes U+FFFD, user-defined pieces stay as they are.
  // Error kCapacity beyond 64 MiB.
  std::string normalize(std::string_view text, const Vocabulary& vocabulary) const {
    std::string out;
    if (trim_) {
      while (!text.empty()) {
        const Charsmap::Match next = step(text, vocabulary);
        if (next.text != " ") break;
        text.remove_prefix(next.bytes);
      }
    }
    if (text.empty()) return out;
    out.reserve(text.size() + text.size() / 2 + space_.size());
    if (prefix_) out += space_;
    bool after_space = trim_;
    while (!text.empty()) {
      Charsmap::Match next = step(text, vocabulary);
      text.remove_prefix(next.bytes);
      if (after_space) next.text.remove_prefix(std::min(next.text.find_first_not_of(' '), next.text.size()));
      for (const char c : next.text) {
        if (c == ' ') {
          out += space_;
        } else {
          out += c;
        }
      }
      if (!next.text.empty()) after_space = trim_ && next.text.back() == ' ';
      check_at_most(kMostBytes, out.size(), "bytes of a normalised text");
    }
    if (trim_)
      while (out.ends_with(space_)) out.resize(out.size() - space_.size());
    return out;
  }

 private:
  static constexpr std::size_t kMostBytes = std::size_t(1) << 26;

  // What the beginning of the text becomes, and how much of it.
  Charsmap::Match step(std::string_view text, const Vocabulary& vocabulary) const {
    if (const std::size_t n = vocabulary.user_defined_prefix(text); n > 0) return {n, text.substr(0, n)};
    if (const Charsmap::Match rule = rules_.longest(text); rule.bytes > 0) return rule;
    const Utf8Char c = first_char(text);
    if (c.state != Utf8::kValid) return {1, kReplacement};
    return {c.bytes, text.substr(0, c.bytes)};
  }

  bool prefix_, trim_;
  std::string_view space_;
  Charsmap rules_;
};

}  // namespace facellava::text

// Learns the byte-pair pieces of a small vocabulary from text: the most frequent pair of neighbours becomes a piece,
// again and again. Words are what stands between spaces; within one, letters, digits and other signs do not join, and
// no two digits do. Equal counts: the smaller pair of texts first, so that the same text gives the same pieces.
// Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (arXiv 1508.07909).
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/text/sentencepiece_writer.hpp"
#include "facellava/text/utf8.hpp"

namespace facellava::text {

class PieceLearner {
 public:
  void add(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
      std::string word = std::string(kSpaceMark) + std::string(text.substr(at, end - at));
      if (end > at) ++words_[std::move(word)];
      at = end + 1;
    }
  }

  // The file of a vocabulary of `size` tokens: unknown, begin, end, 256 bytes, learnt pieces, single characters.
  // Errors: kArgument (too small for the characters, or the text has not as many pieces).
  std::string learn(std::size_t size) const {
    std::vector<Word> words = split();
    std::map<std::string, long> characters;
    for (const Word& w : words)
      for (const std::string& c : w.parts) characters[c] += w.count;
    const std::size_t fixed = 3 + 256 + characters.size();
    if (size < fixed)
      throw Error(ErrorKind::kArgument, "a vocabulary of this text: expected at least " + std::to_string(fixed) +
                                            " tokens, found " + std::to_string(size));
    std::vector<std::string> joined;
    while (joined.size() < size - fixed) {
      const auto pair = most_frequent(words);
      if (pair.first.empty())
        throw Error(ErrorKind::kArgument, "a vocabulary of this text: expected at most " +
                                              std::to_string(fixed + joined.size()) + " tokens, found " +
                                              std::to_string(size));
      for (Word& w : words) join(w, pair);
      joined.push_back(pair.first + pair.second);
    }
    return write(joined, characters);
  }

 private:
  struct Word {
    std::vector<std::string> parts;
    long count;
  };
  using Pair = std::pair<std::string, std::string>;

  std::vector<Word> split() const {
    std::vector<Word> words;
    for (const auto& [word, count] : words_) {
      words.push_back({{}, count});
      for (std::size_t at = 0; at < word.size();) {
        const std::size_t n = first_char(std::string_view(word).substr(at)).bytes;
        words.back().parts.push_back(word.substr(at, n));
        at += n;
      }
    }
    return words;
  }
  enum class Class { kSpace, kLetter, kDigit, kOther };
  static Class class_of(char c) {
    if (c >= '0' && c <= '9') return Class::kDigit;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? Class::kLetter : Class::kOther;
  }
  static bool may_join(const std::string& a, const std::string& b) {
    const Class last = a.ends_with(kSpaceMark) ? Class::kSpace : class_of(a.back());
    return last == Class::kSpace ? class_of(b[0]) == Class::kLetter : last == class_of(b[0]) && last != Class::kDigit;
  }
  static Pair most_frequent(const std::vector<Word>& words) {
    std::map<Pair, long> counts;
    for (const Word& w : words)
      for (std::size_t i = 0; i + 1 < w.parts.size(); ++i)
        if (may_join(w.parts[i], w.parts[i + 1])) counts[{w.parts[i], w.parts[i + 1]}] += w.count;
    Pair best;
    long most = 0;
    for (const auto& [pair, count] : counts)
      if (count > most) {
        most = count;
        best = pair;
      }
    return best;
  }
  static void join(Word& w, const Pair& pair) {
    for (std::size_t i = 0; i + 1 < w.parts.size(); ++i)
      if (w.parts[i] == pair.first && w.parts[i + 1] == pair.second) {
        w.parts[i] += w.parts[i + 1];
        w.parts.erase(w.parts.begin() + std::ptrdiff_t(i) + 1);
      }
  }
  // As SentencePiece orders them: a piece that was learnt earlier joins first; characters by frequency.
  static std::string write(const std::vector<std::string>& joined, const std::map<std::string, long>& characters) {
    std::vector<std::string> bytes;
    for (int b = 0; b < 256; ++b) {
      constexpr char kHex[] = "0123456789ABCDEF";
      bytes.push_back(std::string("<0x") + kHex[b / 16] + kHex[b % 16] + ">");
    }
    std::vector<Piece> pieces{
        {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
    for (const std::string& b : bytes) pieces.push_back({b, 0, PieceType::kByte});
    float score = 0;
    for (const std::string& p : joined) pieces.push_back({p, -score++, PieceType::kNormal});
    std::vector<std::pair<long, std::string_view>> singles;
    for (const auto& [c, count] : characters) singles.emplace_back(-count, c);
    std::sort(singles.begin(), singles.end());
    for (const auto& [count, c] : singles) pieces.push_back({c, -score++, PieceType::kNormal});
    return sentencepiece_bytes(pieces);
  }

  std::map<std::string, long> words_;
};

}  // namespace facellava::text

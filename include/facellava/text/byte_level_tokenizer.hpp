// Byte-level BPE tokenizer (GPT-2's kind), as GGUF files carry it: text is split at special tokens, then into words
// (pre_tokenizer.hpp); the bytes of a word are joined pair by pair, the pair that stands first in the list of merges
// first, the leftmost of equals. Tokens are written in an alphabet of 256 printable characters that stand for bytes.
// Source: the GPT-2 encoder; llama.cpp for which tokens are matched in text and which print nothing.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/text/pre_tokenizer.hpp"
#include "facellava/text/sentencepiece_model.hpp"
#include "facellava/text/string_table.hpp"
#include "facellava/text/tokenizer_options.hpp"

namespace facellava::text {

// What a file says. The views need to last only while a tokenizer is made of it.
struct ByteLevelModel {
  std::vector<std::string_view> tokens;  // normal ones in the alphabet of bytes
  std::vector<PieceType> types;          // one a token
  std::vector<std::string_view> merges;  // "left right"
  PreTokenizer pre = PreTokenizer::kGpt2;
  bool begins_with_bos = false;
  int bos = -1, eos = -1;  // -1: none
};

namespace detail {

// The character that stands for a byte: itself where it is printable Latin-1, else one from U+0100 on.
inline constexpr std::array<char32_t, 256> kByteAlphabet = [] {
  std::array<char32_t, 256> alphabet{};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool prints = (b > 0x20 && b < 0x7F) || (b > 0xA0 && b != 0xAD);
    alphabet[b] = prints ? b : next++;
  }
  return alphabet;
}();
inline constexpr std::array<std::int16_t, 0x144> kAlphabetBytes = [] {
  std::array<std::int16_t, 0x144> bytes{};
  bytes.fill(-1);
  for (std::size_t b = 0; b < 256; ++b) bytes[kByteAlphabet[b]] = std::int16_t(b);
  return bytes;
}();

inline std::string byte_letter(std::uint8_t byte) {
  const char32_t c = kByteAlphabet[byte];
  if (c < 0x80) return {char(c)};
  return {char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
}

}  // namespace detail

// Immutable after construction: any number of threads may use one at once.
class ByteLevelTokenizer {
 public:
  static constexpr std::size_t kMostTokens = std::size_t(1) << 22, kMostTokenBytes = 1024;

  // Copies what it needs. origin: the name that errors give. Error kFormat for tokens that are empty, overlong, not
  // UTF-8 or there twice, types that do not fit, merges of unknown tokens, ids outside the vocabulary.
  ByteLevelTokenizer(const ByteLevelModel& model, std::string_view origin)
      : texts_(checked_size(model, origin)),
        types_(model.types),
        pre_(model.pre),
        begins_with_bos_(model.begins_with_bos && model.bos >= 0),
        bos_(model.bos),
        eos_(model.eos) {
    for (std::size_t i = 0; i < model.tokens.size(); ++i) add(model.tokens[i], model.types[i], origin);
    for (const int id : {bos_, eos_})
      if (id < -1 || id >= size())
        refuse(origin, "expected special tokens below " + std::to_string(size()) + ", found " + std::to_string(id));
    std::sort(special_lengths_.rbegin(), special_lengths_.rend());
    special_lengths_.erase(std::unique(special_lengths_.begin(), special_lengths_.end()), special_lengths_.end());
    for (int b = 0; b < 256; ++b) {
      const int id = texts_.find(detail::byte_letter(std::uint8_t(b)));
      byte_ids_[std::size_t(b)] = id >= 0 && type(id) == PieceType::kNormal ? id : -1;
    }
    merges_.reserve(model.merges.size());
    for (const std::string_view merge : model.merges) add_merge(merge, origin);
  }

  // Ids of the text, which may be any bytes; bytes that the vocabulary has no token for are left out, as the models'
  // own tokenizers do. Error kCapacity if it is too long to be indexed.
  std::vector<int> encode(std::string_view text, Bos bos) const {
    check_at_most(std::numeric_limits<std::int32_t>::max() / 2, text.size(), "bytes of a text");
    std::vector<int> ids;
    if (bos == Bos::kYes && begins_with_bos_) ids.push_back(bos_);
    Merger merger(*this);
    while (true) {
      const auto [at, special] = find_special(text);
      WordSplitter words(pre_, text.substr(0, at));
      for (std::string_view word; !(word = words.next()).empty();) encode_word(word, merger, ids);
      if (special < 0) return ids;
      ids.push_back(special);
      text.remove_prefix(at + texts_[special].size());
    }
  }

  // Appends the bytes that a token stands for: none for unused ones. The id must be in the vocabulary.
  void append_bytes(int id, std::string& out) const {
    if (type(id) == PieceType::kUnused) return;
    std::string_view rest = texts_[id];
    if (type(id) != PieceType::kNormal) {
      out += rest;
      return;
    }
    while (!rest.empty()) {
      const std::string_view c = rest.substr(0, first_char(rest).bytes);
      const char32_t code = code_point(c);
      const int byte = code < detail::kAlphabetBytes.size() ? detail::kAlphabetBytes[code] : -1;
      if (byte >= 0)
        out += char(byte);
      else
        out += c;  // no letter of the alphabet: it stands for itself
      rest.remove_prefix(c.size());
    }
  }

  int bos() const { return bos_; }
  int eos() const { return eos_; }
  int size() const { return texts_.size(); }
  PieceType type(int id) const { return types_[std::size_t(id)]; }
  std::string_view text(int id) const { return texts_[id]; }

 private:
  struct Merge {
    int rank, id;
  };
  struct Found {
    std::size_t at;
    int special;  // -1: none, `at` is the end of the text
  };

  // The joining of one word's bytes. Reusable from word to word.
  class Merger {
   public:
    explicit Merger(const ByteLevelTokenizer& tokenizer) : tokenizer_(tokenizer) {}

    // Appends the ids of a word.
    void run(std::string_view word, std::vector<int>& ids) {
      symbols_.clear();
      queue_.clear();
      for (const char c : word)
        if (const int id = tokenizer_.byte_ids_[std::uint8_t(c)]; id >= 0) {
          const int i = int(symbols_.size());
          symbols_.push_back({id, i - 1, i + 1});
        }
      if (symbols_.empty()) return;
      symbols_.back().next = -1;
      for (int i = 1; i < int(symbols_.size()); ++i) offer(i - 1, i);
      while (!queue_.empty()) {
        const Pair pair = queue_.front();
        std::pop_heap(queue_.begin(), queue_.end());
        queue_.pop_back();
        join(pair);
      }
      for (int i = 0; i >= 0; i = at(i).next) ids.push_back(at(i).id);
    }

   private:
    struct Symbol {
      int id, previous, next;  // id -1: joined to its left neighbour
    };
    struct Pair {
      int rank, left, right, left_id, right_id, id;  // ids as they were when the pair was offered
      bool operator<(const Pair& o) const { return rank > o.rank || (rank == o.rank && left > o.left); }
    };

    Symbol& at(int i) { return symbols_[std::size_t(i)]; }

    void offer(int left, int right) {
      if (left < 0 || right < 0) return;
      const auto merge = tokenizer_.merges_.find(key(at(left).id, at(right).id));
      if (merge == tokenizer_.merges_.end()) return;
      queue_.push_back({merge->second.rank, left, right, at(left).id, at(right).id, merge->second.id});
      std::push_heap(queue_.begin(), queue_.end());
    }
    void join(const Pair& pair) {
      Symbol &left = at(pair.left), &right = at(pair.right);
      if (left.id != pair.left_id || right.id != pair.right_id || left.next != pair.right) return;
      left.id = pair.id;
      left.next = right.next;
      if (right.next >= 0) at(right.next).previous = pair.left;
      right.id = -1;
      offer(left.previous, pair.left);
      offer(pair.left, left.next);
    }

    const ByteLevelTokenizer& tokenizer_;
    std::vector<Symbol> symbols_;
    std::vector<Pair> queue_;
  };

  static std::uint64_t key(int left, int right) {
    return std::uint64_t(std::uint32_t(left)) << 32 | std::uint32_t(right);
  }

  [[noreturn]] static void refuse(std::string_view origin, const std::string& what) {
    throw Error(ErrorKind::kFormat, std::string(origin) + ": " + what);
  }

  static std::size_t checked_size(const ByteLevelModel& model, std::string_view origin) {
    const std::string who(origin);
    if (model.tokens.empty()) refuse(origin, "expected tokens, found none");
    check_at_most(kMostTokens, model.tokens.size(), who + ": tokens", ErrorKind::kFormat);
    check_at_most(kMostTokens, model.merges.size(), who + ": merges", ErrorKind::kFormat);
    check_equal(model.tokens.size(), model.types.size(), who + ": types of tokens", ErrorKind::kFormat);
    return model.tokens.size();
  }

  void add(std::string_view token, PieceType type, std::string_view origin) {
    const auto fail = [&](const std::string& what) { refuse(origin, "token " + std::to_string(size()) + ": " + what); };
    if (token.empty()) fail("expected a text, found none");
    if (token.size() > kMostTokenBytes) fail("expected at most 1024 bytes, found " + std::to_string(token.size()));
    if (!is_utf8(token)) fail("expected UTF-8, found other bytes");
    if (type == PieceType::kByte) fail("expected no byte tokens in a byte-level tokenizer, found one");
    if (const int first = texts_.find(token); first >= 0) fail("the same text as token " + std::to_string(first));
    texts_.add(token);
    if (type == PieceType::kNormal || type == PieceType::kUnused) return;
    special_lengths_.push_back(token.size());
    if (special_begins_.find(token.front()) == std::string::npos) special_begins_ += token.front();
  }

  void add_merge(std::string_view merge, std::string_view origin) {
    const int rank = int(merges_.size());
    const auto fail = [&](const std::string& what) { refuse(origin, "merge " + std::to_string(rank) + ": " + what); };
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || merge.size() > 2 * kMostTokenBytes + 1)
      fail("expected two tokens with a space between");
    const std::string left(merge.substr(0, space)), right(merge.substr(space + 1));
    const int ids[] = {texts_.find(left), texts_.find(right), texts_.find(left + right)};
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0) fail("expected tokens of the vocabulary, found others");
    if (!merges_.emplace(key(ids[0], ids[1]), Merge{rank, ids[2]}).second) fail("the same pair as an earlier one");
  }

  // The first token in the text that is matched as a whole; of several at one place the longest.
  Found find_special(std::string_view text) const {
    for (std::size_t at = 0; (at = text.find_first_of(special_begins_, at)) != std::string_view::npos; ++at)
      for (const std::size_t length : special_lengths_) {
        if (length > text.size() - at) continue;
        const int id = texts_.find(text.substr(at, length));
        if (id >= 0 && type(id) != PieceType::kNormal && type(id) != PieceType::kUnused) return {at, id};
      }
    return {text.size(), -1};
  }

  void encode_word(std::string_view word, Merger& merger, std::vector<int>& ids) const {
    if (pre_ == PreTokenizer::kLlamaBpe && word.size() <= kMostTokenBytes / 2) {  // Llama 3: whole words before merges
      std::string letters;
      for (const char c : word) letters += detail::byte_letter(std::uint8_t(c));
      if (const int id = texts_.find(letters); id >= 0 && type(id) == PieceType::kNormal) {
        ids.push_back(id);
        return;
      }
    }
    merger.run(word, ids);
  }

  StringTable texts_;
  std::vector<PieceType> types_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::array<std::int32_t, 256> byte_ids_;
  std::string special_begins_;                // first bytes of the tokens that are matched as a whole
  std::vector<std::size_t> special_lengths_;  // their lengths, longest first
  PreTokenizer pre_;
  bool begins_with_bos_;
  int bos_, eos_;
};

}  // namespace facellava::text

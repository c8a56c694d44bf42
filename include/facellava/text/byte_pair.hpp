// Byte pair encoding of one stretch of normalised text: beginning with its characters, the adjacent pair whose piece
// has the highest score is joined (the leftmost of equals) until no pair is a piece. O(n log n). Source: SentencePiece.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "facellava/text/utf8.hpp"
#include "facellava/text/vocabulary.hpp"

namespace facellava::text {

// Reusable from stretch to stretch; not for two threads at once.
class BytePairMerger {
 public:
  explicit BytePairMerger(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  // Calls write(text, id) for every symbol that is left, in order; id is -1 where a character is no piece.
  template <class Write>
  void run(std::string_view stretch, Write&& write) {
    split(stretch);
    for (int i = 1; i < int(symbols_.size()); ++i) offer(i - 1, i);
    while (!queue_.empty()) {
      const Pair pair = queue_.front();
      std::pop_heap(queue_.begin(), queue_.end());
      queue_.pop_back();
      join(pair);
    }
    for (int i = symbols_.empty() ? -1 : 0; i >= 0; i = at(i).next)
      write(std::string_view(at(i).text, at(i).bytes), at(i).id);
  }

 private:
  struct Symbol {
    const char* text;
    std::uint32_t bytes;  // 0: joined to its left neighbour
    std::int32_t id, previous, next;
    bool frozen;  // a user-defined piece, never joined
  };
  struct Pair {
    float score;
    std::int32_t left, right, id;
    std::uint32_t bytes;  // of both, when they were offered
    bool operator<(const Pair& o) const { return score < o.score || (score == o.score && left > o.left); }
  };

  Symbol& at(int i) { return symbols_[std::size_t(i)]; }

  void split(std::string_view stretch) {
    symbols_.clear();
    queue_.clear();
    while (!stretch.empty()) {
      const std::size_t whole = vocabulary_.user_defined_prefix(stretch);
      const std::size_t bytes = whole > 0 ? whole : first_char(stretch).bytes;
      const int i = int(symbols_.size());
      symbols_.push_back(
          {stretch.data(), std::uint32_t(bytes), vocabulary_.find(stretch.substr(0, bytes)), i - 1, i + 1, whole > 0});
      stretch.remove_prefix(bytes);
    }
    if (!symbols_.empty()) symbols_.back().next = -1;
  }

  void offer(int left, int right) {
    if (left < 0 || right < 0 || at(left).frozen || at(right).frozen) return;
    const std::uint32_t bytes = at(left).bytes + at(right).bytes;
    const int id = vocabulary_.find_mergeable({at(left).text, bytes});
    if (id < 0) return;
    queue_.push_back({vocabulary_.score(id), left, right, id, bytes});
    std::push_heap(queue_.begin(), queue_.end());
  }

  void join(const Pair& pair) {
    Symbol &left = at(pair.left), &right = at(pair.right);
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != pair.bytes) return;
    left.bytes = pair.bytes;
    left.id = pair.id;
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = pair.left;
    right.bytes = 0;
    offer(left.previous, pair.left);
    offer(pair.left, left.next);
  }

  const Vocabulary& vocabulary_;
  std::vector<Symbol> symbols_;
  std::vector<Pair> queue_;
};

}  // namespace facellava::text

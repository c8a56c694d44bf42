// Hands out rows of the KV slab in intervals and takes them back. A fork shares its parent's intervals.
#pragma once
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "facellava/core/sequence.hpp"
#include "facellava/core/view.hpp"

namespace facellava::run {

class KvAllocator {
 public:
  explicit KvAllocator(Index rows) : free_{{0, int(rows)}} {
    if (rows < 0) throw Error(ErrorKind::kArgument, "rows of the KV cache: found " + std::to_string(rows));
    check_at_most(std::numeric_limits<int>::max(), rows, "rows of the KV cache");
  }

  // An interval of `wanted` rows, or of the most that are free together if that is at least `needed`; free again when
  // its last owner is gone. The allocator must outlive it.
  std::shared_ptr<const KvRange> take(int needed, int wanted) {
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end() && (best == free_.end() || best->count < wanted); ++it)
      if (best == free_.end() || it->count > best->count) best = it;
    if (best == free_.end() || best->count < needed) {
      Index all = 0;
      for (const KvRange& r : free_) all += r.count;
      throw Error(ErrorKind::kCapacity, "the KV cache has " + std::to_string(all) + " free rows (at most " +
                                            std::to_string(best == free_.end() ? 0 : best->count) +
                                            " together), asked for " + std::to_string(needed));
    }
    const int rows = std::min(wanted, best->count);
    auto got = std::shared_ptr<const KvRange>(new KvRange{best->first, rows}, [this](const KvRange* r) {
      give_back(*r);
      delete r;
    });
    best->first += rows;
    best->count -= rows;
    if (best->count == 0) free_.erase(best);
    return got;
  }

 private:
  void give_back(const KvRange& r) {
    auto it =
        std::lower_bound(free_.begin(), free_.end(), r.first, [](const KvRange& f, int v) { return f.first < v; });
    it = free_.insert(it, r);
    if (const auto next = it + 1; next != free_.end() && it->first + it->count == next->first) {
      it->count += next->count;
      free_.erase(next);
    }
    if (it != free_.begin() && (it - 1)->first + (it - 1)->count == it->first) {
      (it - 1)->count += it->count;
      free_.erase(it);
    }
  }
  std::vector<KvRange> free_;  // ascending, apart
};

// The keys of one sequence: shared intervals, of which the last may be written by this sequence alone.
class KvRows {
 public:
  int length() const { return length_; }

  // Makes room for n more rows; a new interval, where one is needed, has `reserve` rows if so many are free.
  void grow(KvAllocator& from, int n, int reserve) {
    const int room = owned_ ? parts_.back().interval->count - parts_.back().used : 0;
    if (n <= room) return;
    parts_.push_back({from.take(n, std::max(n, reserve)), 0});
    owned_ = true;
  }
  // The slab row of the next token.
  int push() {
    Part& p = parts_.back();
    ++length_;
    return p.interval->first + p.used++;
  }
  // The first `rows` keys, as ranges.
  void ranges(int rows, std::vector<KvRange>& out) const {
    for (const Part& p : parts_) {
      const int n = std::min(rows, p.used);
      if (n > 0) out.push_back({p.interval->first, n});
      rows -= n;
    }
  }
  KvRows fork() const {
    KvRows o = *this;
    o.owned_ = false;
    return o;
  }

 private:
  struct Part {
    std::shared_ptr<const KvRange> interval;
    int used;
  };
  std::vector<Part> parts_;
  int length_ = 0;
  bool owned_ = false;  // the last interval has no other writer
};

}  // namespace facellava::run

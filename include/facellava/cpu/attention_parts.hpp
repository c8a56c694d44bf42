// Sequences by the keys that they share: parts of a batch whose gradients of keys and values are apart.
#pragma once
#include <algorithm>
#include <numeric>
#include <vector>

#include "facellava/core/sequence.hpp"
#include "facellava/core/view.hpp"

namespace facellava::cpu {

class AttentionParts {
 public:
  template <class T>
  using Array = View<const T, Host, kDyn>;

  // keys: rows of the slab. Errors: kShape (a key beyond it).
  AttentionParts(Array<Sequence> sequences, Array<KvRange> ranges, Index keys)
      : joined_(std::size_t(sequences.rows())) {
    std::iota(joined_.begin(), joined_.end(), Index(0));
    std::vector<Index> owner(std::size_t(keys), -1);
    for (Index s = 0; s < sequences.rows(); ++s)
      for (int n = 0; n < sequences(s).ranges_count; ++n) {
        const KvRange range = ranges(sequences(s).ranges_first + n);
        for (Index j = 0; j < range.count; ++j) {
          const Index key = range.first + j * sequences(s).stride;
          check_index(key, keys, "attention_backward: key row");
          Index& of = owner[std::size_t(key)];
          if (of < 0)
            of = s;
          else
            join(of, s);
        }
      }
    std::vector<Index> part(joined_.size(), -1);
    for (Index s = 0; s < sequences.rows(); ++s) {
      Index& p = part[std::size_t(first_of(s))];
      if (p < 0) {
        p = Index(parts_.size());
        parts_.emplace_back();
      }
      parts_[std::size_t(p)].push_back(s);
    }
  }

  Index count() const { return Index(parts_.size()); }
  const std::vector<Index>& sequences(Index part) const { return parts_[std::size_t(part)]; }  // ascending

 private:
  // The first sequence that is joined with s.
  Index first_of(Index s) {
    while (joined_[std::size_t(s)] != s) s = joined_[std::size_t(s)] = joined_[std::size_t(joined_[std::size_t(s)])];
    return s;
  }
  void join(Index a, Index b) {
    a = first_of(a);
    b = first_of(b);
    joined_[std::size_t(std::max(a, b))] = std::min(a, b);
  }

  std::vector<Index> joined_;  // a sequence before it of the same part, or itself
  std::vector<std::vector<Index>> parts_;
};

}  // namespace facellava::cpu

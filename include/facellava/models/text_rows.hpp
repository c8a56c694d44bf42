// The rows of a decoder in training.
#pragma once
#include <span>
#include <vector>

#include "facellava/layers/layout.hpp"

namespace facellava {

// Builds the layout of a batch for training on the host: keys and values are those of the batch itself.
class TextRows {
 public:
  // A sequence of `prefix` rows and behind it answers, which see the prefix and themselves but not each other: one
  // picture, several questions. Answers alone, or a prefix alone, are sequences too.
  void add(int prefix, std::span<const int> answers = {}) {
    const int first = count();
    sequences_.push_back({first, prefix, int(ranges_.size()), 1});
    ranges_.push_back({first, prefix});
    append(0, prefix);
    for (int n : answers) {
      sequences_.push_back({count(), n, int(ranges_.size()), 2});
      ranges_.push_back({first, prefix});
      ranges_.push_back({count(), n});
      append(prefix, n);
    }
  }
  int count() const { return int(slots_.size()); }
  Layout<Host> layout() const { return {view(sequences_), view(ranges_), view(positions_), view(slots_)}; }

 private:
  template <class T>
  static View<const T, Host, kDyn> view(const std::vector<T>& v) {
    return View<const T, Host, kDyn>(v.data(), Index(v.size()));
  }
  void append(int position, int n) {
    for (int i = 0; i < n; ++i) {
      positions_.push_back(position + i);
      slots_.push_back(count());
    }
  }
  std::vector<Sequence> sequences_;
  std::vector<KvRange> ranges_;
  std::vector<int> positions_, slots_;
};

}  // namespace facellava

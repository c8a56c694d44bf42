// A batch as rows of the decoder: unpadded, one sample behind the other, every slot as the rows of its picture or
// frame. A packed sample is its prefix, then its segments: each sees the prefix and itself (core/sequence.hpp), with
// positions that go on where the prefix ends.
#pragma once
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/sequence.hpp"
#include "facellava/train/sample.hpp"

namespace facellava::train {

// Rows [first, first + count) hold a frame's visual tokens.
struct VisualRows {
  std::size_t sample, medium;  // samples[sample].request.media[medium]
  int frame, first, count;
};

struct BatchRows {
  std::vector<int> ids;        // [rows]; text::kMediaSlot: a visual token
  std::vector<int> positions;  // [rows], from 0 in every sample
  std::vector<int> targets;    // [rows]: the id that a row is to predict, the next of its sequence, or text::kIgnored
  std::vector<Sequence> sequences;
  std::vector<KvRange> ranges;
  std::vector<VisualRows> visual;
  int supervised = 0;  // rows with a target
};

namespace detail {

class BatchBuilder {
 public:
  explicit BatchBuilder(BatchRows& out) : out_(out) {}

  void add(const Sample& s, std::size_t number) {
    const int first = here();
    append(s.request.ids, s.labels, int(s.rows_of_slot), 0);
    const KvRange prefix{first, here() - first};
    sequence(prefix.first, {&prefix, 1});
    place_media(s, number, first);
    for (const Segment& segment : s.segments) {
      const int begin = here();
      append(segment.ids, segment.labels, 0, prefix.count);
      const KvRange keys[] = {prefix, {begin, here() - begin}};
      sequence(begin, keys);
    }
  }

 private:
  int here() const { return int(out_.ids.size()); }

  // The last row has nothing to predict: what follows it is another sequence's.
  void append(std::span<const int> ids, std::span<const int> labels, int rows_of_slot, int position) {
    check_equal(ids.size(), labels.size(), "labels of a sample's ids", ErrorKind::kArgument);
    const std::size_t begin = out_.ids.size();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i > 0) out_.targets.push_back(labels[i]);
      const int rows = ids[i] == text::kMediaSlot ? rows_of_slot : 1;
      if (rows < 1) throw Error(ErrorKind::kArgument, "sample: expected rows for its slots, found none");
      for (int r = 0; r < rows; ++r) {
        out_.ids.push_back(ids[i]);
        out_.positions.push_back(position++);
        if (r + 1 < rows) out_.targets.push_back(text::kIgnored);
      }
    }
    if (out_.ids.size() > begin) out_.targets.push_back(text::kIgnored);
  }

  void sequence(int first, std::span<const KvRange> keys) {
    out_.sequences.push_back({first, here() - first, int(out_.ranges.size()), int(keys.size())});
    out_.ranges.insert(out_.ranges.end(), keys.begin(), keys.end());
  }

  void place_media(const Sample& s, std::size_t number, int row) {
    std::vector<VisualRows> frames;
    for (std::size_t m = 0; m < s.request.media.size(); ++m) {
      const int n = s.request.media[m].kind == text::Medium::kVideo ? text::kVideoFrames : 1;
      for (int f = 0; f < n; ++f) frames.push_back({number, m, f, 0, int(s.rows_of_slot)});
    }
    std::size_t next = 0;
    for (const int id : s.request.ids) {
      if (id == text::kMediaSlot && next < frames.size()) {
        frames[next].first = row;
        out_.visual.push_back(frames[next++]);
      }
      row += id == text::kMediaSlot ? int(s.rows_of_slot) : 1;
    }
  }

  BatchRows& out_;
};

}  // namespace detail

// The samples of a step. Error kArgument if there is nothing to learn in any of them; kCapacity beyond the integers.
inline BatchRows batch_rows(std::span<const Sample> samples) {
  Index rows = 0;
  for (const Sample& s : samples) rows += rows_of(s);
  check_at_most(std::numeric_limits<int>::max(), rows, "rows of a batch");
  BatchRows out;
  detail::BatchBuilder builder(out);
  for (std::size_t i = 0; i < samples.size(); ++i) builder.add(samples[i], i);
  out.supervised = text::supervised(out.targets);
  if (out.supervised > 0) return out;
  std::string who;
  for (const Sample& s : samples) who.append(who.empty() ? "" : ", ").append(std::to_string(s.index));
  throw Error(ErrorKind::kArgument, "batch of the samples " + who + ": expected something to learn, found none");
}

}  // namespace facellava::train

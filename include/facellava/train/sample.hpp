// What training takes: one prompt with its media and labels, or several that share how they begin.
#pragma once
#include <cstddef>
#include <vector>

#include "facellava/core/view.hpp"
#include "facellava/run/request.hpp"
#include "facellava/text/label_mask.hpp"

namespace facellava::train {

// A question and its answers behind a prefix that others share.
struct Segment {
  std::size_t index;             // of the sample in the data set
  std::vector<int> ids, labels;  // labels: see text::LabelledText
};

struct Sample {
  std::size_t index = 0;    // in the data set
  run::Request request;     // ids: of the whole, or of the prefix where there are segments
  std::vector<int> labels;  // of these ids
  Index rows_of_slot = 0;   // tokens that a picture or frame becomes
  std::vector<Segment> segments;
  std::vector<float> targets;  // of heads, one behind the other (train/labels.hpp)
};

// Rows of the decoder: every slot becomes rows_of_slot of them.
inline Index rows_of(const Sample& s) {
  Index rows = 0;
  for (const int id : s.request.ids) rows += id == text::kMediaSlot ? s.rows_of_slot : 1;
  for (const Segment& segment : s.segments) rows += Index(segment.ids.size());
  return rows;
}

inline int supervised(const Sample& s) {
  int n = text::supervised(s.labels);
  for (const Segment& segment : s.segments) n += text::supervised(segment.labels);
  return n;
}

}  // namespace facellava::train

// Several questions about one picture as one sample: what comes up to and with the picture once, as a prefix, then each
// question and its answers as a segment that sees the prefix and itself. A segment's ids are those behind the last slot
// of the sample as it is alone (the tokenizer splits at slots), so packing changes no token; where samples do not share
// a prefix, or something is learned within it, they stay apart.
#pragma once
#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "facellava/train/data_set.hpp"
#include "facellava/train/sampler.hpp"

namespace facellava::train {

// Ids up to and with the last slot.
inline std::size_t prefix_of(const std::vector<int>& ids) {
  return std::size_t(std::find(ids.rbegin(), ids.rend(), text::kMediaSlot).base() - ids.begin());
}

// Whether the text of a sample can be split there: it has media, something behind them, and nothing to learn before.
inline bool splits(const Sample& s) {
  const std::size_t prefix = prefix_of(s.request.ids);
  if (prefix == 0 || prefix == s.request.ids.size() || !s.segments.empty()) return false;
  return std::all_of(s.labels.begin(), s.labels.begin() + std::ptrdiff_t(prefix) + 1,
                     [](int label) { return label == text::kIgnored; });
}

// Whether two samples about the same media have the same ids up to them.
inline bool share_prefix(const Sample& a, const Sample& b) {
  const std::size_t prefix = prefix_of(a.request.ids);
  return splits(a) && splits(b) && prefix == prefix_of(b.request.ids) &&
         std::equal(a.request.ids.begin(), a.request.ids.begin() + std::ptrdiff_t(prefix), b.request.ids.begin());
}

// One sample of several that share their prefix, each with the first; the media are the first's.
inline Sample pack(std::span<const Sample> samples) {
  if (samples.empty()) throw Error(ErrorKind::kArgument, "pack: expected samples, found none");
  Sample out = samples[0];
  if (samples.size() == 1) return out;
  const auto prefix = std::ptrdiff_t(prefix_of(out.request.ids));
  for (const Sample& s : samples) {
    if (!share_prefix(samples[0], s))
      throw Error(ErrorKind::kArgument, "pack: expected samples that begin alike, found others");
    out.segments.push_back(
        {s.index, {s.request.ids.begin() + prefix, s.request.ids.end()}, {s.labels.begin() + prefix, s.labels.end()}});
  }
  out.request.ids.resize(std::size_t(prefix));
  out.labels.resize(std::size_t(prefix));
  return out;
}

struct PackLimits {
  std::size_t samples = std::numeric_limits<std::size_t>::max();
  Index rows = std::numeric_limits<Index>::max();
};

// Cuts an order of samples into runs of neighbours that can be packed within the limits; a sample that cannot be packed
// is a run of its own. Errors: as DataSet::encode.
inline std::vector<Indices> packed_runs(const DataSet& data, std::span<const std::size_t> order,
                                        const PackLimits& most) {
  std::vector<Indices> runs;
  Sample first;
  Index rows = 0;
  for (const std::size_t i : order) {
    Sample s = data.encode(i);
    const auto behind = Index(s.request.ids.size() - prefix_of(s.request.ids));
    const bool joins = !runs.empty() && runs.back().size() < most.samples && rows + behind <= most.rows &&
                       same_media(data[first.index], data[i]) && share_prefix(first, s) &&
                       (data.options().heads.empty() || data[first.index].labels == data[i].labels);
    if (joins) {
      runs.back().push_back(i);
      rows += behind;
      continue;
    }
    runs.push_back({i});
    rows = rows_of(s);
    first = std::move(s);
  }
  return runs;
}

// The samples of a run as one, without its media. Errors: as DataSet::encode and pack.
inline Sample encode_packed(const DataSet& data, std::span<const std::size_t> run) {
  std::vector<Sample> samples;
  for (const std::size_t i : run) samples.push_back(data.encode(i));
  return pack(samples);
}

}  // namespace facellava::train

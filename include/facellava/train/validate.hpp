// A whole training file checked before any compute is spent, and which samples may then be trained on.
#pragma once
#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "facellava/io/convert.hpp"
#include "facellava/train/data_set.hpp"

namespace facellava::train {

struct DataReport {
  std::size_t records = 0, bad_records = 0;
  std::vector<Fault> faults;              // errors and warnings, in the order of the file
  std::size_t left_off = 0;               // faults beyond the limit
  std::vector<std::size_t> good_samples;  // those without errors, by number

  bool good() const { return bad_records == 0; }
};

struct ValidateOptions {
  std::size_t most_faults = 1000;                                        // kept; all are counted
  int threads = 0;                                                       // 0: one a core
  std::function<void(std::size_t done, std::size_t all)> progress = {};  // samples
};

namespace detail {

// The faults of samples [first, end), media one at a time on each thread; what one sample shares with the next is
// looked at once.
inline std::vector<std::vector<Fault>> faults_of(const DataSet& data, std::size_t first, std::size_t end, int threads) {
  std::vector<std::vector<Fault>> all(end - first);
  io::in_shares(Index(all.size()), threads, [&](Index begin, Index stop) {
    const Record* seen = nullptr;
    for (auto i = std::size_t(begin); i < std::size_t(stop); ++i) {
      all[i] = data.check(first + i, seen);
      seen = all[i].empty() ? &data[first + i] : nullptr;
    }
  });
  return all;
}

}  // namespace detail

// Checks every sample as loading it would, and notes all faults. An id given twice is a warning: nothing depends on
// ids.
inline DataReport validate(const DataSet& data, const ValidateOptions& o = {}) {
  DataReport report;
  report.records = data.records();
  std::unordered_map<std::string, std::size_t> ids;
  const auto note = [&](Fault f) {
    if (report.faults.size() < o.most_faults)
      report.faults.push_back(std::move(f));
    else
      ++report.left_off;
  };
  constexpr std::size_t kTogether = 1024;  // samples between two words about progress, at most
  std::vector<std::vector<Fault>> found;
  std::size_t last_bad = data.records(), last_record = data.records();
  for (std::size_t i = 0; i < data.size(); ++i) {
    if (i % kTogether == 0) found = detail::faults_of(data, i, std::min(i + kTogether, data.size()), o.threads);
    const Record& r = data[i];
    if (r.record != last_record && !r.id.empty()) {
      const auto [first, fresh] = ids.emplace(r.id, r.record);
      if (!fresh)
        note({r.record, r.id, "id", "an id of its own", "that of record " + std::to_string(first->second),
              Severity::kWarning});
    }
    last_record = r.record;
    std::vector<Fault>& faults = found[i % kTogether];
    if (faults.empty()) report.good_samples.push_back(i);
    if (!faults.empty() && r.record != last_bad) {
      ++report.bad_records;
      last_bad = r.record;
    }
    for (Fault& f : faults) note(std::move(f));
    if (o.progress) o.progress(i + 1, data.size());
  }
  return report;
}

// How many records with faults may be left out of a run: up to the larger of both.
struct SkipPolicy {
  std::size_t records = 0;
  double part = 0;  // of all records, 0..1
};

// The samples to train on. Error kFormat, with the first fault, if more are faulty than the policy lets be left out, or
// none is good.
inline std::vector<std::size_t> admitted_samples(const DataReport& report, const SkipPolicy& policy = {}) {
  if (!(policy.part >= 0 && policy.part <= 1))
    throw Error(ErrorKind::kArgument,
                "skipped records: expected a part from 0 to 1, found " + std::to_string(policy.part));
  const auto most = std::max(policy.records, std::size_t(policy.part * double(report.records)));
  if (report.bad_records <= most && !report.good_samples.empty()) return report.good_samples;
  const auto first = std::find_if(report.faults.begin(), report.faults.end(),
                                  [](const Fault& f) { return f.severity == Severity::kError; });
  throw Error(ErrorKind::kFormat, "training data: expected at most " + std::to_string(most) + " faulty of " +
                                      std::to_string(report.records) + " records, found " +
                                      std::to_string(report.bad_records) +
                                      (first == report.faults.end() ? "" : "; the first: " + first->text()));
}

}  // namespace facellava::train

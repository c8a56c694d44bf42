// From sample numbers to batches, in two halves: reading files, which a thread of its own may do ahead, and looking at
// what was read. What a frozen tower says of a medium is computed once and kept.
#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "facellava/train/any_model.hpp"
#include "facellava/train/packing.hpp"

namespace facellava::train {

// The samples of a batch as read.
struct ReadBatch {
  std::vector<Sample> samples;                    // with their media, but for what is known
  std::vector<std::vector<Batch::Medium>> known;  // of each sample the media, where they were looked at before
};

class Batcher {
 public:
  // The data set and the model must outlive it. bytes: of features that are kept at most; the same bits with and
  // without.
  Batcher(const DataSet& data, AnyModel& model, std::size_t bytes) : data_(data), model_(model), most_bytes_(bytes) {}

  // packs: the samples that go through as one, with what they share once (train/packing.hpp). May run while another
  // thread is in finish. Errors: as DataSet::load and pack.
  ReadBatch read(std::span<const Indices> packs) const {
    ReadBatch out;
    for (const Indices& pack : packs) {
      out.samples.push_back(encode_packed(data_, pack));
      out.known.push_back(known_media(out.samples.back().index));
      if (out.known.back().empty()) data_.load_media(out.samples.back());
    }
    return out;
  }
  // Errors: as batch_rows.
  Batch finish(ReadBatch read) {
    Batch b;
    for (std::size_t i = 0; i < read.samples.size(); ++i)
      b.media.push_back(media_of(read.samples[i], std::move(read.known[i])));
    for (Sample& s : read.samples) b.targets.push_back(std::move(s.targets));
    if (data_.options().conversations == Conversations::kRead) b.rows = batch_rows(read.samples);
    return b;
  }

  // Of samples that are not packed. Errors: as read and finish.
  Batch make(std::span<const std::size_t> indices) {
    std::vector<Indices> packs;
    for (const std::size_t i : indices) packs.push_back({i});
    return finish(read(packs));
  }

 private:
  std::vector<Batch::Medium> known_media(std::size_t sample) const {
    const std::lock_guard lock(mutex_);
    const auto kept = kept_.find(sample);
    return kept == kept_.end() ? std::vector<Batch::Medium>() : kept->second;
  }
  // Leaves the kinds of its media in the sample, without their pixels.
  std::vector<Batch::Medium> media_of(Sample& s, std::vector<Batch::Medium> media) {
    if (media.empty()) {
      const auto& paths = data_[s.index].media;
      bool frozen = true;
      for (std::size_t m = 0; m < s.request.media.size(); ++m) {
        run::MediumInput& in = s.request.media[m];
        const bool trained = model_.parameters().trains(tower_part(in.kind));
        media.push_back({in.kind, trained ? Features() : look(paths[m], in), std::move(in.points), {}});
        if (trained) media.back().pixels = std::move(in.pixels);
        frozen = frozen && !trained;
      }
      const std::lock_guard lock(mutex_);
      if (frozen && bytes_ <= most_bytes_) kept_.emplace(s.index, media);
    }
    s.request.media.clear();
    for (const Batch::Medium& m : media) s.request.media.push_back({m.kind, {}, {}});
    return media;
  }
  Features look(const std::string& path, const run::MediumInput& m) {
    if (const auto seen = seen_.find(path); seen != seen_.end()) return seen->second;
    Features f = model_.encode(m);
    const std::size_t size = f->size() * sizeof(float);
    if (bytes_ + size > most_bytes_) {
      bytes_ = most_bytes_ + 1;  // full: what is kept now stays
      return f;
    }
    bytes_ += size;
    seen_.emplace(path, f);
    return f;
  }

  const DataSet& data_;
  AnyModel& model_;
  std::size_t most_bytes_, bytes_ = 0;
  std::map<std::string, Features> seen_;                    // by the path of a medium
  mutable std::mutex mutex_;                                // of what follows
  std::map<std::size_t, std::vector<Batch::Medium>> kept_;  // by the first sample of a pack
};

}  // namespace facellava::train

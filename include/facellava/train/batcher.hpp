// From sample numbers to batches: what towers, which are frozen, say of a medium is computed once and kept.
#pragma once
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "facellava/train/any_model.hpp"
#include "facellava/train/data_set.hpp"

namespace facellava::train {

class Batcher {
 public:
  // The data set and the model must outlive it. bytes: of features that are kept at most; the same bits with and
  // without.
  Batcher(const DataSet& data, AnyModel& model, std::size_t bytes) : data_(data), model_(model), most_bytes_(bytes) {}

  // Errors: as DataSet::load and batch_rows.
  Batch make(std::span<const std::size_t> indices) {
    Batch b;
    std::vector<Sample> samples;
    for (const std::size_t i : indices) {
      samples.push_back(data_.encode(i));
      b.media.push_back(media_of(samples.back()));
    }
    b.rows = batch_rows(samples);
    return b;
  }

 private:
  // Leaves the kinds of its media in the sample, without their pixels.
  std::vector<Batch::Medium> media_of(Sample& s) {
    std::vector<Batch::Medium> media;
    if (const auto kept = kept_.find(s.index); kept != kept_.end()) {
      media = kept->second;
    } else {
      data_.load_media(s);
      const auto& paths = data_[s.index].media;
      for (std::size_t m = 0; m < s.request.media.size(); ++m)
        media.push_back({s.request.media[m].kind, look(paths[m], s.request.media[m]), s.request.media[m].points});
      if (bytes_ <= most_bytes_) kept_.emplace(s.index, media);
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
  std::map<std::size_t, std::vector<Batch::Medium>> kept_;  // by sample
};

}  // namespace facellava::train

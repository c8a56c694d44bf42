// The memory that a run of training takes, before any weight is read: what training carves, run on arenas that only
// count, for the batches of the run.
#pragma once
#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/largest_ops.hpp"
#include "facellava/run/memory_plan.hpp"
#include "facellava/train/data_set.hpp"

namespace facellava::train {

// A batch by its sizes. frames: of images with landmarks and without, of videos likewise.
struct BatchShape {
  Index rows = 0, supervised = 0, positions = 0;  // positions: rows of its longest sample
  std::array<Index, 4> frames = {};
  friend auto operator<=>(const BatchShape&, const BatchShape&) = default;
};

// What one of its samples, or of its packs of records with the media of r, adds.
inline BatchShape shape_of(const Sample& s, const Record& r, const FaceLlavaConfig& c) {
  BatchShape shape{rows_of(s), supervised(s), rows_of(s)};
  const bool video = r.kind == text::Medium::kVideo, plain = r.landmarks.empty() || c.landmarks == Landmarks::kAbsent;
  shape.frames[std::size_t(video) * 2 + plain] = Index(r.media.size()) * (video ? c.video : c.image).block.frames;
  return shape;
}
inline void add(BatchShape& to, const BatchShape& sample) {
  to.rows += sample.rows;
  to.supervised += sample.supervised;
  to.positions = std::max(to.positions, sample.positions);
  for (std::size_t i = 0; i < to.frames.size(); ++i) to.frames[i] += sample.frames[i];
}

// What a run is to do, by its sizes.
struct TrainingWork {
  std::set<BatchShape> batches;
  std::array<std::size_t, 2> media = {};  // different images and videos
  std::size_t feature_cache = 0;          // bytes at most
};

struct MemoryPlan {
  std::vector<run::WeightBytes> weights;  // frozen ones, and vectors that training reads as fp32
  std::size_t values = 0, rounded = 0, gradients = 0, moments = 0;  // of what is trained; rounded: copies in bf16
  // Workspaces, each as large as the batch that needs most of it.
  std::size_t decoder = 0, vision = 0, towers = 0, adapters = 0, heads = 0, scratch = 0;
  std::size_t features = 0, batch = 0;  // of the cache; of a batch, put together

  // Bytes that training asks ParameterOptions::memory for, frozen weights that it converts among them.
  std::size_t model_bytes() const {
    std::size_t n = values + rounded + gradients + moments + decoder + vision + towers + adapters + heads;
    for (const run::WeightBytes& w : weights) n += w.held == run::Held::kConverted ? w.bytes : 0;
    return n;
  }
  std::size_t total() const {
    std::size_t n = model_bytes() + scratch + features + batch;
    for (const run::WeightBytes& w : weights) n += w.held == run::Held::kMapped ? w.bytes : 0;
    return n;
  }
  // What adds up to total().
  std::vector<run::MemoryLine> lines() const {
    std::vector<run::MemoryLine> out;
    for (const run::WeightBytes& w : weights) out.push_back({"weights, " + run::MemoryPlan::describe(w), w.bytes});
    for (const run::MemoryLine& l : {run::MemoryLine{"trained values, f32", values},
                                     {"trained matrices, rounded to bf16", rounded},
                                     {"gradients", gradients},
                                     {"moments of the optimiser", moments},
                                     {"activations of the decoder, and loss", decoder},
                                     {"activations of projector and landmark modules", vision},
                                     {"activations of a tower", towers},
                                     {"products of adapters", adapters},
                                     {"features and losses of heads", heads},
                                     {"features of towers, kept", features},
                                     {"features or pixels of a batch", batch},
                                     {"scratch of the device", scratch}})
      if (l.bytes > 0) out.push_back(l);
    return out;
  }
  std::string text() const {
    std::vector<run::MemoryLine> all = lines();
    all.push_back({"total", total()});
    std::string out;
    for (const run::MemoryLine& l : all) {
      std::array<char, 128> line{};
      std::snprintf(line.data(), line.size(), "  %-54s%12.2f MiB\n", l.what.c_str(), double(l.bytes) / (1 << 20));
      out += line.data();
    }
    return out;
  }
};

// Throws kCapacity with the plan's lines if it needs more than the limit. what: whose limit it is.
inline void check_fits(const MemoryPlan& plan, std::size_t limit, const std::string& what) {
  if (plan.total() > limit)
    throw Error(ErrorKind::kCapacity, what + ": expected to need at most " + std::to_string(limit) +
                                          " bytes, but the plan needs " + std::to_string(plan.total()) + ":\n" +
                                          plan.text());
}

}  // namespace facellava::train

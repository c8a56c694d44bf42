// A session as the rest of a program sees it: the interface that names no configuration.
#pragma once
#include <span>
#include <vector>

#include "facellava/core/leaf.hpp"
#include "facellava/models/config.hpp"
#include "facellava/run/memory_plan.hpp"

namespace facellava::run {

using SequenceId = int;

struct SessionOptions {
  Index kv_rows = 0;       // rows of keys and values: all tokens, visual ones too, that may live at one time
  Index positions = 4096;  // the longest sequence: the model's context
  Index chunk = 512;       // rows that go through the decoder at a time; changes memory, not results
  Services services = {};  // memory_limit: of the weights, where the session knows them, and the session together
};

// Tokens that a picture or video becomes.
constexpr Index visual_rows(const TowerConfig& t) { return Index(t.block.frames) * t.features(); }
constexpr Index visual_rows(const FaceLlavaConfig& c, const MediumInput& m) {
  return visual_rows(m.kind == text::Medium::kImage ? c.image : c.video);
}
// Rows of the KV cache that a request takes before its answer.
constexpr Index rows_of(const FaceLlavaConfig& c, const RequestShape& r) {
  return r.text + r.images * visual_rows(c.image) + r.videos * visual_rows(c.video);
}
inline Index rows_of(const FaceLlavaConfig& c, const Request& r) { return rows_of(c, shape_of(r)); }
// Rows of the KV cache that a workload takes, answers and candidates included.
inline Index rows_of(const FaceLlavaConfig& c, const Workload& w) {
  Index rows = 0;
  for (const RequestShape& r : w.requests) rows += rows_of(c, r) + w.reserve;
  for (Index n : w.scored) rows += n;
  return rows;
}

// Whether the weights of FRLP and FRGCA are there: published checkpoints come without.
enum class LandmarkModules { kMissing, kLoaded };
struct LoadedParts {
  LandmarkModules landmarks = LandmarkModules::kLoaded;
  bool image_tower = true, video_tower = true;
  std::vector<WeightBytes> weights = {};   // for the plans of sessions
  std::span<const NamedLeaf> leaves = {};  // to name a weight that is not finite
};

class AnySession {
 public:
  virtual ~AnySession() = default;
  virtual int vocabulary() const = 0;

  // Starts one sequence a request, each with room for `reserve` more tokens, and leaves the logits of its last row in
  // logits(). A batch has landmarks for all its media or for none. Errors leave the sequences as they were; logits()
  // may have no rows after one.
  virtual std::vector<SequenceId> prefill(std::span<const Request>, int reserve, Observer* = nullptr) = 0;
  // A sequence that shares everything so far and goes its own way.
  virtual SequenceId fork(SequenceId) = 0;
  virtual void erase(SequenceId) = 0;
  virtual int length(SequenceId) const = 0;
  // Appends tokens to each sequence, at least one; logits() has a row for each, in this order: of its last token.
  virtual void append(std::span<const SequenceId>, std::span<const std::vector<int>> tokens) = 0;
  virtual View<const float, Host, kDyn, kDyn> logits() const = 0;
  // Log-probability of each continuation's tokens after the prefix, all in one batch. The prefix stays as it is.
  // first: the logits that prefill or append left for the prefix.
  virtual std::vector<std::vector<float>> log_probs(SequenceId prefix, View<const float, Host, kDyn> first,
                                                    std::span<const std::vector<int>> continuations) = 0;
};

}  // namespace facellava::run

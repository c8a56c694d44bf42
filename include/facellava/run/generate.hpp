// From prefilled sequences to answers, and to probabilities of given answers.
#pragma once
#include <algorithm>
#include <functional>
#include <stop_token>

#include "facellava/run/any_session.hpp"
#include "facellava/run/sampler.hpp"

namespace facellava::run {

struct GenerateOptions {
  int max_new_tokens = 1024;
  Sampling sampling = {};
  std::vector<int> ends = {2};  // tokens that end an answer
};

enum class Finish { kEos, kLength, kContext, kStopped };
struct Generation {
  std::vector<int> ids;  // the end token, if it came, is the last
  Finish finish = Finish::kLength;
};

// Called with the number of a sequence and its new token.
using OnToken = std::function<void(std::size_t, int)>;

// Continues sequences that prefill or append has just left, until each has ended; they stay in the session. A stop is
// honoured before the next token. positions: the context of the model.
inline std::vector<Generation> generate(AnySession& session, std::span<const SequenceId> sequences,
                                        const GenerateOptions& options, Index positions, const OnToken& on_token = {},
                                        std::stop_token stop = {}) {
  check_sampling(options.sampling);
  check_equal(sequences.size(), session.logits().rows(), "generate: rows of logits for the sequences",
              ErrorKind::kArgument);
  std::vector<Generation> out(sequences.size());
  std::vector<Sampler> samplers(sequences.size(), Sampler(options.sampling));
  std::vector<std::size_t> alive(sequences.size());
  std::iota(alive.begin(), alive.end(), 0);
  while (!alive.empty()) {
    std::vector<std::size_t> next;
    std::vector<SequenceId> ids;
    std::vector<std::vector<int>> tokens;
    for (std::size_t row = 0; row < alive.size(); ++row) {
      const std::size_t i = alive[row];
      Generation& g = out[i];
      if (int(g.ids.size()) >= options.max_new_tokens) continue;
      if (stop.stop_requested()) {
        g.finish = Finish::kStopped;
        continue;
      }
      const int token = samplers[i].pick({session.logits().row(Index(row)), std::size_t(session.vocabulary())});
      g.ids.push_back(token);
      if (on_token) on_token(i, token);
      if (std::find(options.ends.begin(), options.ends.end(), token) != options.ends.end()) {
        g.finish = Finish::kEos;
      } else if (session.length(sequences[i]) >= positions) {
        g.finish = Finish::kContext;
      } else if (int(g.ids.size()) < options.max_new_tokens) {
        next.push_back(i);
        ids.push_back(sequences[i]);
        tokens.push_back({token});
      }
    }
    alive = std::move(next);
    if (!alive.empty()) session.append(ids, tokens);
  }
  return out;
}

struct LabelScore {
  float log_probability;  // of the label's tokens after the prefix
  float probability;      // among the labels that were given
};

// How probable each label is as the continuation of a sequence: all in one batched pass.
// first: the row of logits that prefill or append left for it.
inline std::vector<LabelScore> score_labels(AnySession& session, SequenceId prefix, View<const float, Host, kDyn> first,
                                            std::span<const std::vector<int>> labels) {
  std::vector<LabelScore> out;
  for (const auto& row : session.log_probs(prefix, first, labels)) {
    float sum = 0;
    for (float v : row) sum += v;
    out.push_back({sum, 0});
  }
  float top = -INFINITY, total = 0;
  for (const LabelScore& s : out) top = std::max(top, s.log_probability);
  for (LabelScore& s : out) total += s.probability = std::exp(s.log_probability - top);
  for (LabelScore& s : out) s.probability /= total;
  return out;
}

}  // namespace facellava::run

// Choosing the next token: greedy, or temperature, then top-k, then top-p, in the order of Hugging Face's warpers.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/rng.hpp"

namespace facellava::run {

struct Sampling {
  float temperature = 0;  // 0: greedy, the first maximum
  int top_k = 0;          // 0: all
  float top_p = 1;
  std::uint64_t seed = 0;
};

inline void check_sampling(const Sampling& s) {
  if (!(s.temperature >= 0) || std::isinf(s.temperature))
    throw Error(ErrorKind::kArgument, "temperature: expected 0 or more, found " + std::to_string(s.temperature));
  if (s.top_k < 0) throw Error(ErrorKind::kArgument, "top-k: expected 0 or more, found " + std::to_string(s.top_k));
  if (!(s.top_p > 0 && s.top_p <= 1))
    throw Error(ErrorKind::kArgument, "top-p: expected a number above 0, at most 1, found " + std::to_string(s.top_p));
}

struct Candidate {
  int id;
  double probability;
};

// What is left to draw from, most probable first; equal ones by id.
inline std::vector<Candidate> candidates(std::span<const float> logits, const Sampling& s) {
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (s.top_k > 0 && std::size_t(s.top_k) < order.size()) {
    std::partial_sort(order.begin(), order.begin() + s.top_k, order.end(), before);
    order.resize(std::size_t(s.top_k));
  } else {
    std::sort(order.begin(), order.end(), before);
  }
  std::vector<Candidate> out;
  double sum = 0;
  for (int id : order) {
    out.push_back({id, std::exp((double(logits[id]) - double(logits[order[0]])) / double(s.temperature))});
    sum += out.back().probability;
  }
  std::size_t kept = 0;
  double mass = 0;
  do mass += out[kept++].probability;
  while (kept < out.size() && mass < double(s.top_p) * sum);
  out.resize(kept);
  for (Candidate& c : out) c.probability /= mass;
  return out;
}

// One stream of choices: its random numbers depend on the seed alone.
class Sampler {
 public:
  explicit Sampler(const Sampling& s) : sampling_(s), rng_(s.seed) { check_sampling(s); }
  int pick(std::span<const float> logits) {
    if (sampling_.temperature == 0) return int(std::max_element(logits.begin(), logits.end()) - logits.begin());
    const auto left = candidates(logits, sampling_);
    double u = rng_.uniform();
    for (const Candidate& c : left)
      if ((u -= c.probability) < 0) return c.id;
    return left.back().id;
  }

 private:
  Sampling sampling_;
  Rng rng_;
};

}  // namespace facellava::run

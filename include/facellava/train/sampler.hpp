// In which order samples are trained on. Everything follows from a seed and the number of the epoch, not from threads,
// time or platform: a run goes on from (epoch, step) alone.
//   modality lengths  the released code's LengthGroupedSampler (group_by_modality_length): samples with media and
//                     without apart, those of similar length together. Source: LLaVA's trainer.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/rng.hpp"

namespace facellava::train {

using Indices = std::vector<std::size_t>;
using Permutation = std::function<Indices(std::size_t n)>;  // of 0 .. n − 1

// Uniform below n, which must be positive.
inline std::uint64_t below(Rng& rng, std::uint64_t n) {
  const std::uint64_t surplus = (0 - n) % n;  // so many of the 2^64 numbers would favour the small results
  std::uint64_t x = rng.next();
  while (x < surplus) x = rng.next();
  return x % n;
}

// A random order of 0 .. n − 1 (Fisher and Yates).
inline Indices permutation(Rng& rng, std::size_t n) {
  Indices order(n);
  std::iota(order.begin(), order.end(), std::size_t(0));
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[std::size_t(below(rng, i))]);
  return order;
}

namespace detail {

// Deals a chunk to `parts` lists of equal size and about equal total length; one after another where they cannot be.
inline std::vector<Indices> deal(const Indices& chunk, std::span<const int> lengths, std::size_t parts) {
  std::vector<Indices> dealt(parts);
  if (chunk.size() % parts != 0) {
    for (std::size_t i = 0; i < chunk.size(); ++i) dealt[i % parts].push_back(chunk[i]);
    return dealt;
  }
  const std::size_t full = chunk.size() / parts;
  std::vector<std::int64_t> totals(parts, 0);
  for (const std::size_t index : chunk) {
    const auto least = std::size_t(std::min_element(totals.begin(), totals.end()) - totals.begin());
    dealt[least].push_back(index);
    totals[least] += lengths[index];
    if (dealt[least].size() == full) totals[least] = std::numeric_limits<std::int64_t>::max();
  }
  return dealt;
}

inline std::vector<Indices> chunks_of(const Indices& all, std::size_t size) {
  std::vector<Indices> chunks;
  for (std::size_t at = 0; at < all.size(); at += size)
    chunks.emplace_back(all.begin() + std::ptrdiff_t(at),
                        all.begin() + std::ptrdiff_t(std::min(all.size(), at + size)));
  return chunks;
}

// Positions in `lengths` (all positive), random but for neighbours of similar length.
inline Indices group_by_length(std::span<const int> lengths, std::size_t batch, std::size_t parts,
                               const Permutation& draw) {
  Indices order;
  for (Indices& chunk : chunks_of(draw(lengths.size()), batch * parts)) {
    std::stable_sort(chunk.begin(), chunk.end(), [&](auto a, auto b) { return lengths[a] > lengths[b]; });
    for (const Indices& part : deal(chunk, lengths, parts)) order.insert(order.end(), part.begin(), part.end());
  }
  return order;
}

}  // namespace detail

// The order of an epoch. lengths: positive with media, negative for text alone, never 0. batch · parts samples make a
// step of the released code on `parts` devices; draw gives its random orders in turn. Errors: kArgument.
inline Indices group_by_modality_length(std::span<const int> lengths, std::size_t batch, std::size_t parts,
                                        const Permutation& draw) {
  if (batch < 1 || parts < 1) throw Error(ErrorKind::kArgument, "batches: expected at least 1 sample, found 0");
  Indices where[2];  // with media, without
  std::vector<int> sizes[2];
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] == 0)
      throw Error(ErrorKind::kArgument,
                  "batches: expected a length other than 0, found it for sample " + std::to_string(i));
    where[lengths[i] < 0].push_back(i);
    sizes[lengths[i] < 0].push_back(std::abs(lengths[i]));
  }
  Indices order;
  if (where[0].empty() || where[1].empty()) return detail::group_by_length(sizes[where[0].empty()], batch, parts, draw);
  std::vector<Indices> chunks;
  for (int text = 0; text < 2; ++text) {
    Indices grouped = detail::group_by_length(sizes[text], batch, parts, draw);
    for (std::size_t& i : grouped) i = where[text][i];
    auto more = detail::chunks_of(grouped, batch * parts);
    order.insert(order.end(), more.back().begin(), more.back().end());  // the last of each, full or not, ends the epoch
    more.pop_back();
    chunks.insert(chunks.end(), more.begin(), more.end());
  }
  std::sort(order.begin(), order.end());
  Indices whole;
  for (const std::size_t i : draw(chunks.size())) whole.insert(whole.end(), chunks[i].begin(), chunks[i].end());
  whole.insert(whole.end(), order.begin(), order.end());
  return whole;
}

enum class Order { kAsGiven, kShuffled, kModalityLength };

struct SamplerOptions {
  Order order = Order::kShuffled;
  std::size_t batch = 1;  // samples of a step
  std::uint64_t seed = 0;
};

// The steps of one epoch: the samples of each, the last with what is left. lengths: one a sample (modality_length),
// used by kModalityLength alone. Errors: kArgument (no samples, an empty batch, a length of 0).
inline std::vector<Indices> epoch_batches(std::span<const int> lengths, const SamplerOptions& o, std::uint64_t epoch) {
  if (lengths.empty() || o.batch < 1)
    throw Error(ErrorKind::kArgument, "batches: expected samples and at least 1 of them in a batch, found " +
                                          std::to_string(lengths.size()) + " in batches of " + std::to_string(o.batch));
  Rng rng(Rng(o.seed).next() + epoch);
  const Permutation draw = [&](std::size_t n) { return permutation(rng, n); };
  Indices order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  if (o.order == Order::kShuffled) order = draw(order.size());
  if (o.order == Order::kModalityLength) order = group_by_modality_length(lengths, o.batch, 1, draw);
  return detail::chunks_of(order, o.batch);
}

// Batches that somebody wrote down. Errors: kArgument (none, an empty one, a sample that is not there).
inline void check_batches(std::span<const Indices> batches, std::size_t samples) {
  if (batches.empty()) throw Error(ErrorKind::kArgument, "batches: expected at least one, found none");
  for (std::size_t step = 0; step < batches.size(); ++step) {
    const std::string where = "batches, step " + std::to_string(step);
    if (batches[step].empty()) throw Error(ErrorKind::kArgument, where + ": expected samples, found none");
    for (const std::size_t i : batches[step])
      if (i >= samples)
        throw Error(ErrorKind::kArgument,
                    where + ": expected samples below " + std::to_string(samples) + ", found " + std::to_string(i));
  }
}

}  // namespace facellava::train

// One step of a run: gradients of its batches, clipped, and an optimiser's step.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

#include "facellava/train/any_model.hpp"
#include "facellava/train/schedule.hpp"

namespace facellava::train {

struct StepOptions {
  Rate rate = {};
  OptimizerOptions optimizer = {};
  double max_grad_norm = 1;  // 0: no clipping
};

struct StepResult {
  double loss = 0;                 // of its batches the mean
  Losses parts;                    // of tokens the mean over its batches, of heads over the step's labels
  double rate = 0, grad_norm = 0;  // before clipping
  Index rows = 0, supervised = 0;
};

namespace detail {

// Sums over labels, which are yet to be divided by their number.
inline void add(Losses& to, const Losses& batch, std::size_t batches) {
  to.tokens += batch.tokens / double(batches);
  to.heads.resize(batch.heads.size());
  for (std::size_t i = 0; i < batch.heads.size(); ++i) {
    const HeadLoss& h = batch.heads[i];
    to.heads[i].name = h.name;
    to.heads[i].kind = h.kind;
    to.heads[i].loss += h.loss * double(h.labels);
    to.heads[i].score += h.score * double(h.labels);
    to.heads[i].labels += h.labels;
  }
}

}  // namespace detail

// The gradients of step t (from 0), the mean of those of its batches, and their loss.
inline StepResult accumulate(AnyModel& model, std::span<const Batch> batches, long t) {
  if (batches.empty()) throw Error(ErrorKind::kArgument, "a step: expected at least one batch, found none");
  StepResult r;
  model.zero_gradients();
  for (std::size_t i = 0; i < batches.size(); ++i) {
    model.parameters().set_dropout(std::uint64_t(t) << 16 | i, true);
    r.loss += model.backward(batches[i], 1 / double(batches.size())) / double(batches.size());
    detail::add(r.parts, model.losses(), batches.size());
    r.rows += Index(batches[i].rows.ids.size());
    r.supervised += batches[i].rows.supervised;
  }
  for (HeadLoss& h : r.parts.heads)
    for (double* sum : {&h.loss, &h.score}) *sum /= double(std::max(Index(1), h.labels));
  r.grad_norm = model.gradient_norm();
  return r;
}

// Error kNonFinite, which names the first layer or gradient at fault; the parameters are then as they were.
inline StepResult step(AnyModel& model, std::span<const Batch> batches, const StepOptions& o, long t) {
  StepResult r = accumulate(model, batches, t);
  r.rate = o.rate.at(t);
  model.update(o.optimizer, r.rate, clip_factor(r.grad_norm, o.max_grad_norm), int(t) + 1);
  return r;
}

}  // namespace facellava::train

// A run: the steps that a RunConfig says, with metrics and checkpoints; it goes on bitwise where it stopped.
#pragma once
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "facellava/train/batcher.hpp"
#include "facellava/train/export.hpp"
#include "facellava/train/memory_plan.hpp"
#include "facellava/train/prefetch.hpp"
#include "facellava/train/run_identity.hpp"

namespace facellava::train {

// Samples in the order of `order`, each alone or, where `most` is above 1, packed with its neighbours.
inline std::vector<Indices> packs_of(const DataSet& data, std::span<const std::size_t> order, std::size_t most) {
  if (most > 1) return packed_runs(data, order, {.samples = most});
  std::vector<Indices> alone;
  for (const std::size_t i : order) alone.push_back({i});
  return alone;
}

// The samples of every step, from the configuration and the seed alone: batches of packs.
class StepPlan {
 public:
  // samples: those to train on. Errors: kArgument (batches of samples that are not there); as packed_runs.
  StepPlan(const RunConfig& c, const DataSet& data, std::span<const std::size_t> samples) : config_(c) {
    if (!c.batches.empty()) {
      check_batches(c.batches, data.size());
      for (const Indices& step : c.batches) {
        given_.emplace_back();
        for (const Indices& batch : detail::chunks_of(step, std::size_t(c.batch_size)))
          given_.back().push_back(packs_of(data, batch, std::size_t(c.pack)));
      }
      steps_ = c.step.rate.steps;
      return;
    }
    packs_ = packs_of(data, samples, std::size_t(c.pack));
    for (const Indices& pack : packs_) {
      lengths_.push_back(0);
      for (const std::size_t i : pack) lengths_.back() += modality_length(data[i]);
    }
    const std::size_t of_step = std::size_t(c.batch_size) * std::size_t(c.accumulate);
    per_epoch_ = long((packs_.size() + of_step - 1) / of_step);
    steps_ = c.step.rate.steps > 0 ? c.step.rate.steps : per_epoch_ * c.epochs;
  }
  long steps() const { return steps_; }
  double epoch(long t) const { return per_epoch_ > 0 ? double(t) / double(per_epoch_) : 0; }

  // The batches of step t, from 0.
  std::vector<std::vector<Indices>> at(long t) {
    if (!given_.empty()) return given_[std::size_t(t)];
    if (const long e = t / per_epoch_; e != epoch_) {
      order_ = epoch_batches(lengths_, config_.sampler, std::uint64_t(e));
      epoch_ = e;
    }
    const std::size_t n = std::size_t(config_.accumulate), first = std::size_t(t % per_epoch_) * n;
    std::vector<std::vector<Indices>> batches;
    for (std::size_t i = first; i < std::min(order_.size(), first + n); ++i) {
      batches.emplace_back();
      for (const std::size_t pack : order_[i]) batches.back().push_back(packs_[pack]);
    }
    return batches;
  }

 private:
  const RunConfig& config_;
  std::vector<std::vector<std::vector<Indices>>> given_;  // of each step, where the configuration says so
  std::vector<Indices> packs_;
  std::vector<int> lengths_;
  long steps_ = 0, per_epoch_ = 0, epoch_ = -1;
  std::vector<Indices> order_;
};

// What a run does, by its sizes: what its memory is planned for. Errors: as StepPlan and encode_packed.
inline TrainingWork work_of(const RunConfig& c, const DataSet& data, const std::vector<std::size_t>& samples) {
  StepPlan plan(c, data, samples);
  TrainingWork work;
  work.feature_cache = std::size_t(c.feature_cache_mib * 1048576);
  std::map<Indices, BatchShape> shapes;
  std::set<std::string> media[2];
  const auto shape_of_pack = [&](const Indices& pack) {
    const auto [at, fresh] = shapes.try_emplace(pack);
    const Record& r = data[pack[0]];
    if (fresh) at->second = shape_of(encode_packed(data, pack), r, data.options().model);
    if (fresh) media[r.kind == text::Medium::kVideo].insert(r.media.begin(), r.media.end());
    return at->second;
  };
  for (long t = 0; t < plan.steps(); ++t)
    for (const std::vector<Indices>& packs : plan.at(t)) {
      BatchShape batch;
      for (const Indices& pack : packs) add(batch, shape_of_pack(pack));
      work.batches.insert(batch);
    }
  work.media = {media[0].size(), media[1].size()};
  return work;
}

struct StepReport {
  long step = 0, steps = 0;  // done, and of the run
  double epoch = 0, seconds = 0;
  StepResult result;
};

// As a line of metrics.jsonl.
inline nlohmann::json metrics_of(const StepReport& r) {
  nlohmann::json out{{"step", r.step},
                     {"epoch", r.epoch},
                     {"loss", r.result.loss},
                     {"learning_rate", r.result.rate},
                     {"grad_norm", r.result.grad_norm},
                     {"tokens", r.result.rows},
                     {"supervised_tokens", r.result.supervised},
                     {"seconds", r.seconds},
                     {"tokens_per_second", r.seconds > 0 ? double(r.result.rows) / r.seconds : 0.0}};
  if (r.result.parts.heads.empty()) return out;
  out["token_loss"] = r.result.parts.tokens;
  for (const HeadLoss& h : r.result.parts.heads) {
    nlohmann::json& head = out["heads"][h.name] = {{"labels", h.labels}};
    if (h.labels > 0)
      head.update({{"loss", h.loss}, {h.kind == HeadKind::kRegression ? "error" : "accuracy", h.score}});
  }
  return out;
}

struct RunHooks {
  std::function<void(const StepReport&)> after_step = {};
  std::function<bool()> stop = {};  // asked after every step: save and leave
};

enum class Begin { kNew, kResume };
enum class Ended { kDone, kStopped };

// The output folder; what is in it stays. Errors: kFile (it cannot be made), kArgument (a new run where one was begun;
// a model that the run's own would replace).
inline void prepare_output(const RunConfig& c, Begin begin) {
  detail::make_folder(c.output);
  std::error_code none;
  if (std::filesystem::equivalent(detail::in_folder(c.output, "model"), c.model, none))
    throw Error(ErrorKind::kArgument, c.output + ": the run would write its model over the one that it begins with, " +
                                          c.model + "; choose another output folder");
  if (begin == Begin::kNew && !Checkpoints(detail::in_folder(c.output, "checkpoints"), 1).steps().empty())
    throw Error(ErrorKind::kArgument, c.output + ": a run was begun here; resume it, or choose another output folder");
}

class Run {
 public:
  // All must outlive the run. Errors: as prepare_output, Checkpoints::load and StepPlan.
  Run(const RunConfig& config, const DataSet& data, const std::vector<std::size_t>& samples, AnyModel& model,
      Begin begin)
      : config_(config),
        model_(model),
        batcher_(data, model, std::size_t(config.feature_cache_mib * 1048576)),
        plan_(config, data, samples),
        checkpoints_(at("checkpoints"), config.keep) {
    step_options_ = config.step;
    step_options_.rate.steps = plan_.steps();
    check_rate(step_options_.rate);
    identity_ = run_identity(config, model);
    prepare_output(config, begin);
    if (begin == Begin::kResume) done_ = checkpoints_.load(identity_, model.parameters());
    write("run.json", config.effective.dump(2) + "\n");
    write("metrics.jsonl", kept_metrics());
  }

  long done() const { return done_; }
  long steps() const { return plan_.steps(); }
  std::vector<Batch> batches(long t) { return finish(read(plan_, t)); }

  // To the end, where the model is exported, or until hooks.stop. A checkpoint is saved at either. Errors leave the
  // checkpoints that are there.
  Ended go(const RunHooks& hooks) {
    std::ofstream metrics(at("metrics.jsonl"), std::ios::app);
    auto ahead = read_ahead();
    while (done_ < steps()) {
      const auto start = std::chrono::steady_clock::now();
      StepReport r{done_ + 1, steps(), plan_.epoch(done_ + 1), 0, {}};
      r.result = step(model_, ahead ? finish(*ahead->next()) : batches(done_), step_options_, done_);
      r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      ++done_;
      metrics << metrics_of(r).dump() << '\n' << std::flush;
      if (!metrics) throw io::system_error(at("metrics.jsonl"), "write the file");
      if (hooks.after_step) hooks.after_step(r);
      const bool stop = hooks.stop && hooks.stop() && done_ < steps();
      if (stop || done_ == steps() || (config_.save_every > 0 && done_ % config_.save_every == 0)) save();
      if (stop) return Ended::kStopped;
    }
    export_all();
    return Ended::kDone;
  }

 private:
  std::string at(const std::string& file) const { return detail::in_folder(config_.output, file); }
  void write(const std::string& file, const std::string& text) const {
    io::write_file_atomically(at(file), std::as_bytes(std::span(text)));
  }
  void save() { checkpoints_.save({done_, identity_}, model_.parameters()); }

  using ReadStep = std::vector<ReadBatch>;
  ReadStep read(StepPlan& plan, long t) const {
    ReadStep all;
    for (const std::vector<Indices>& packs : plan.at(t)) all.push_back(batcher_.read(packs));
    return all;
  }
  std::vector<Batch> finish(ReadStep read) {
    std::vector<Batch> all;
    for (ReadBatch& b : read) all.push_back(batcher_.finish(std::move(b)));
    return all;
  }
  // Reads the steps to come on a thread of its own, with a plan of its own.
  std::unique_ptr<Prefetch<ReadStep>> read_ahead() const {
    if (config_.prefetch == 0) return {};
    auto make = [this, plan = plan_, t = done_]() mutable -> std::optional<ReadStep> {
      if (t == plan.steps()) return {};
      return read(plan, t++);
    };
    return std::make_unique<Prefetch<ReadStep>>(std::move(make), std::size_t(config_.prefetch));
  }

  // The lines of the steps that are done.
  std::string kept_metrics() const {
    std::ifstream file(at("metrics.jsonl"));
    std::string kept, line;
    for (long n = 0; n < done_ && std::getline(file, line); ++n) kept += line + "\n";
    return kept;
  }
  void export_all() {
    if (config_.stage == Stage::kLora) {
      detail::make_folder(at("adapter"));
      write_adapter(at("adapter"), model_.parameters(), config_.model);
    }
    if (!config_.parameters.heads.empty()) write_heads(at("heads.safetensors"), model_.parameters(), config_.effective);
    if (config_.export_files.empty()) return;
    constexpr std::string_view kFormats[] = {"f32", "f16", "bf16"};
    const auto format = std::find(std::begin(kFormats), std::end(kFormats), config_.export_format);
    export_model(at("model"), model_, config_.model,
                 {.format = Format(format - std::begin(kFormats)), .files = config_.export_files});
  }

  const RunConfig& config_;
  AnyModel& model_;
  Batcher batcher_;
  StepPlan plan_;
  Checkpoints checkpoints_;
  StepOptions step_options_;
  nlohmann::json identity_;
  long done_ = 0;
};

}  // namespace facellava::train

// A run: the steps that a RunConfig says, with metrics and checkpoints; it goes on bitwise where it stopped.
#pragma once
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "facellava/train/batcher.hpp"
#include "facellava/train/export.hpp"
#include "facellava/train/memory_plan.hpp"
#include "facellava/train/run_config.hpp"

namespace facellava::train {

inline std::vector<int> modality_lengths(const DataSet& data, std::span<const std::size_t> samples) {
  std::vector<int> all;
  for (const std::size_t i : samples) all.push_back(modality_length(data[i]));
  return all;
}

// The samples of every step, from the configuration and the seed alone.
class StepPlan {
 public:
  // samples: those to train on; lengths: modality_length of each.
  StepPlan(const RunConfig& c, std::vector<std::size_t> samples, std::vector<int> lengths)
      : config_(c), samples_(std::move(samples)), lengths_(std::move(lengths)) {
    if (!c.batches.empty()) {
      steps_ = c.step.rate.steps;
      return;
    }
    const std::size_t of_step = std::size_t(c.batch_size) * std::size_t(c.accumulate);
    per_epoch_ = long((samples_.size() + of_step - 1) / of_step);
    steps_ = c.step.rate.steps > 0 ? c.step.rate.steps : per_epoch_ * c.epochs;
  }
  long steps() const { return steps_; }
  double epoch(long t) const { return per_epoch_ > 0 ? double(t) / double(per_epoch_) : 0; }

  // The batches of step t, from 0.
  std::vector<Indices> at(long t) {
    const auto size = std::size_t(config_.batch_size);
    if (!config_.batches.empty()) return detail::chunks_of(config_.batches[std::size_t(t)], size);
    if (const long e = t / per_epoch_; e != epoch_) {
      order_ = epoch_batches(lengths_, config_.sampler, std::uint64_t(e));
      for (Indices& batch : order_)
        for (std::size_t& i : batch) i = samples_[i];
      epoch_ = e;
    }
    const std::size_t n = std::size_t(config_.accumulate), first = std::size_t(t % per_epoch_) * n;
    return {order_.begin() + std::ptrdiff_t(first),
            order_.begin() + std::ptrdiff_t(std::min(order_.size(), first + n))};
  }

 private:
  const RunConfig& config_;
  std::vector<std::size_t> samples_;
  std::vector<int> lengths_;
  long steps_ = 0, per_epoch_ = 0, epoch_ = -1;
  std::vector<Indices> order_;
};

// What a run does, by its sizes: what its memory is planned for. Errors: as DataSet::encode.
inline TrainingWork work_of(const RunConfig& c, const DataSet& data, const std::vector<std::size_t>& samples) {
  StepPlan plan(c, samples, modality_lengths(data, samples));
  if (!c.batches.empty()) check_batches(c.batches, data.size());
  TrainingWork work;
  work.feature_cache = std::size_t(c.feature_cache_mib * 1048576);
  std::map<std::size_t, BatchShape> shapes;
  std::set<std::string> media[2];
  const auto shape_of_sample = [&](std::size_t i) {
    const auto [at, fresh] = shapes.try_emplace(i);
    if (fresh) at->second = shape_of(data.encode(i), data[i], data.options().model);
    const bool video = data[i].kind == text::Medium::kVideo;
    if (fresh) media[video].insert(data[i].media.begin(), data[i].media.end());
    return at->second;
  };
  for (long t = 0; t < plan.steps(); ++t)
    for (const Indices& indices : plan.at(t)) {
      BatchShape batch;
      for (const std::size_t i : indices) add(batch, shape_of_sample(i));
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
  return {{"step", r.step},
          {"epoch", r.epoch},
          {"loss", r.result.loss},
          {"learning_rate", r.result.rate},
          {"grad_norm", r.result.grad_norm},
          {"tokens", r.result.rows},
          {"supervised_tokens", r.result.supervised},
          {"seconds", r.seconds},
          {"tokens_per_second", r.seconds > 0 ? double(r.result.rows) / r.seconds : 0.0}};
}

struct RunHooks {
  std::function<void(const StepReport&)> after_step = {};
  std::function<bool()> stop = {};  // asked after every step: save and leave
};

enum class Begin { kNew, kResume };
enum class Ended { kDone, kStopped };

// The output folder, with run.json, which has every field. Errors: kFile (it cannot be written), kArgument (a new run
// where one was begun; a model that the run's own would replace).
inline void prepare_output(const RunConfig& c, Begin begin) {
  detail::make_folder(c.output);
  std::error_code none;
  if (std::filesystem::equivalent(detail::in_folder(c.output, "model"), c.model, none))
    throw Error(ErrorKind::kArgument, c.output + ": the run would write its model over the one that it begins with, " +
                                          c.model + "; choose another output folder");
  if (begin == Begin::kNew && !Checkpoints(detail::in_folder(c.output, "checkpoints"), 1).steps().empty())
    throw Error(ErrorKind::kArgument, c.output + ": a run was begun here; resume it, or choose another output folder");
  const std::string text = c.effective.dump(2) + "\n";
  io::write_file_atomically(detail::in_folder(c.output, "run.json"), std::as_bytes(std::span(text)));
}

class Run {
 public:
  // All must outlive the run. Errors: as prepare_output and Checkpoints::load; kArgument (batches of samples that are
  // not there).
  Run(const RunConfig& config, const DataSet& data, const std::vector<std::size_t>& samples, AnyModel& model,
      Begin begin)
      : config_(config),
        model_(model),
        batcher_(data, model, std::size_t(config.feature_cache_mib * 1048576)),
        plan_(config, samples, modality_lengths(data, samples)),
        checkpoints_(at("checkpoints"), config.keep) {
    step_options_ = config.step;
    step_options_.rate.steps = plan_.steps();
    check_rate(step_options_.rate);
    if (!config.batches.empty()) check_batches(config.batches, data.size());
    identity_ = identity();
    if (begin == Begin::kResume) done_ = checkpoints_.load(identity_, model.parameters());
    prepare_output(config, begin);
    write("metrics.jsonl", kept_metrics());
  }

  long done() const { return done_; }
  long steps() const { return plan_.steps(); }
  std::vector<Batch> batches(long t) {
    std::vector<Batch> all;
    for (const Indices& indices : plan_.at(t)) all.push_back(batcher_.make(indices));
    return all;
  }

  // To the end, where the model is exported, or until hooks.stop. A checkpoint is saved at either. Errors leave the
  // checkpoints that are there.
  Ended go(const RunHooks& hooks) {
    std::ofstream metrics(at("metrics.jsonl"), std::ios::app);
    while (done_ < steps()) {
      const auto start = std::chrono::steady_clock::now();
      StepReport r{done_ + 1, steps(), plan_.epoch(done_ + 1), 0, {}};
      r.result = step(model_, batches(done_), step_options_, done_);
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

  // What must be the same for a run to go on: all that changes results.
  nlohmann::json identity() const {
    nlohmann::json same = config_.effective;
    for (const char* key : {"output", "save_every", "keep", "export", "export_format", "feature_cache_mib",
                            "memory_limit_mib", "recompute", "loss_chunk"})
      same.erase(key);
    const io::MappedFile file(config_.data, io::Load::kMap);
    same["data checksum"] = detail::hexadecimal(detail::checksum(file.bytes()));
    return same;
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

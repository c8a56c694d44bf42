// Five steps of the released code's training on the tiny model (goldens/train_step), ours beside them.
#pragma once
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "facellava/train/batcher.hpp"
#include "facellava/train/step.hpp"
#include "support/golden.hpp"
#include "train/data_files.hpp"
#include "train/trained_model.hpp"

namespace facellava::test {

inline nlohmann::json released(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(golden_path("train_step/" + name + ".json")));
}

// The ten samples of data.json, on the goldens' own files; clips as the released code decoded them.
inline train::DataSet released_data() {
  Json records = Json::parse(std::ifstream(golden_path("train_step/data.json")));
  const auto here = [](const Json& path) {
    const std::string p = path;
    return golden_path(p.substr(p.find("goldens/") + 8));
  };
  for (Json& r : records) {
    if (r.contains("image")) r["image"] = here(r["image"]);
    if (r.contains("video")) r["video"] = kClip;
    r["landmarks_2d"] = here(r["landmarks_2d"]);
  }
  return data_set(records);
}

inline train::StepOptions released_options(const nlohmann::json& meta) {
  train::StepOptions o;
  o.rate = {train::Schedule::kCosine, meta["official_arguments"]["learning_rate"], 0.03, 5};
  return o;
}

// Runs the five steps. first: called with the gradients of the first, before its update.
inline void run_released(train::AnyModel& model, const nlohmann::json& meta, const std::function<void()>& first = {}) {
  const train::DataSet data = released_data();
  train::Batcher batcher(data, model, std::size_t(1) << 30);
  const train::StepOptions options = released_options(meta);
  for (long t = 0; t < 5; ++t) {
    INFO("step " << t);
    const auto indices = meta["batches_as_sample_indices"][std::size_t(t)].get<std::vector<std::size_t>>();
    const std::vector<train::Batch> batches{batcher.make(indices)};
    if (t == 0 && first) {
      train::accumulate(model, batches, t);
      first();
    }
    const auto& want = meta["steps"][std::size_t(t)];
    const train::StepResult r = train::step(model, batches, options, t);
    CHECK(r.rate == doctest::Approx(want["lr"].get<double>()).epsilon(1e-12));
    CHECK(std::abs(r.loss - want["loss_fp64"].get<double>()) < 2e-5);  // noise floor: 2.3e-6
    CHECK(r.grad_norm == doctest::Approx(want["grad_norm_fp64"].get<double>()).epsilon(1e-4));
  }
}

}  // namespace facellava::test

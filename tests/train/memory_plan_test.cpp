// The plan of a run against what training really asks for.
#include "facellava/train/run.hpp"
#include "support/counting_memory.hpp"
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

run::ModelFolder planned_folder() { return run::ModelFolder({golden_path("model_tiny/ckpt_bin_fp16"), "", "", 4}); }

// Two steps: two pictures; a picture and a clip.
train::RunConfig planned_run() {
  train::RunConfig c;
  c.batches = {{5, 6}, {0, 4}};
  c.step.rate = {train::Schedule::kConstant, 1e-3, 0, 2};
  c.feature_cache_mib = 64;
  return c;
}

train::ParameterOptions planned_adapters(double dropout) {
  train::ParameterOptions p{.trained = {run::Part::kLandmarks, run::Part::kProjector}};
  p.lora.push_back({.rank = 4, .dropout = dropout});
  return p;
}

void compare_with_run(train::ParameterOptions p, const train::ModelOptions& o) {
  const train::RunConfig c = planned_run();
  const train::DataSet data = released_data();
  const run::ModelFolder folder = planned_folder();
  CountingMemory memory, scratch;
  p.memory = &memory;
  const cpu::Options device{.threads = 2, .memory = &scratch};
  const train::TrainingWork work = train::work_of(c, data, {});
  const train::MemoryPlan plan = tiny_plan(folder, p, o, work, device);
  CHECK(memory.calls() == 0);
  CHECK(scratch.calls() == 0);
  const auto model = tiny_in_training(folder, p, o, device);
  train::StepOptions step = c.step;
  if (p.moments == 1) step.optimizer = {.kind = train::Optimizer::kSgd, .momentum = 0.9};
  train::Batcher batcher(data, *model, work.feature_cache);
  for (long t = 0; t < 2; ++t) {
    const std::vector<train::Batch> batches{batcher.make(c.batches[std::size_t(t)])};
    train::step(*model, batches, step, t);
  }
  CAPTURE(plan.text());
  // Never less than what is taken; a little more: of scratch each thread is planned to do the largest piece of all.
  CHECK(memory.peak() <= plan.model_bytes());
  CHECK(scratch.peak() <= plan.scratch);
  CHECK(double(plan.model_bytes()) < 1.01 * double(memory.peak()));
  CHECK(double(plan.model_bytes() + plan.scratch) < 1.05 * double(memory.peak() + scratch.peak()));
}

}  // namespace

TEST_CASE("the plan of training is its measured peak: stages, precisions, formats, adapters, recompute on and off") {
  using enum run::Part;
  for (Keep keep : {Keep::kInputs, Keep::kAll})
    for (const train::ParameterOptions& p :
         {train::ParameterOptions{.trained = {kLandmarks}},
          train::ParameterOptions{.trained = {kLandmarks}, .frozen = Format::kQ8},
          train::ParameterOptions{.trained = {kLandmarks, kProjector, kDecoder}},
          train::ParameterOptions{
              .trained = {kLandmarks, kProjector, kDecoder}, .precision = train::Precision::kBf16, .moments = 1},
          train::ParameterOptions{.trained = {kLandmarks, kProjector, kDecoder, kImageTower, kVideoTower}},
          planned_adapters(0), planned_adapters(0.1)}) {
      CAPTURE(int(keep));
      CAPTURE(p.trained.size());
      compare_with_run(p, {keep, 7});
    }
}

TEST_CASE("the plan counts what is trained, what is kept of towers, and what recompute saves") {
  using enum run::Part;
  train::ParameterOptions p{.trained = {kLandmarks, kProjector, kDecoder}};
  const train::TrainingWork work = train::work_of(planned_run(), released_data(), {});
  CHECK(work.batches.size() == 2);
  CHECK(work.media == std::array<std::size_t, 2>{2, 1});
  const auto plan = [&](Keep keep) { return tiny_plan(planned_folder(), p, {keep, 256}, work, {.threads = 1}); };
  const train::MemoryPlan lean = plan(Keep::kInputs), fast = plan(Keep::kAll);
  // Two tables of 32000 × 16 stand for most of it; each tensor begins at a multiple of 64 bytes.
  CHECK(double(lean.gradients) > 2 * 32000 * 16 * 4);
  CHECK(lean.moments == 2 * lean.gradients);
  CHECK(lean.values >= lean.gradients);
  CHECK(double(lean.values) < 1.05 * double(lean.gradients));
  CHECK(lean.features == std::size_t(2 * 256 + 8 * 257) * 32 * 4);
  CHECK(lean.decoder < fast.decoder);
  std::size_t sum = 0;
  for (const run::MemoryLine& l : lean.lines()) sum += l.bytes;
  CHECK(sum == lean.total());

  CHECK_NOTHROW(train::check_fits(lean, lean.total(), "limit"));
  try {
    train::check_fits(lean, lean.total() - 1, "limit");
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kCapacity);
    const std::string why = e.what();
    for (const run::MemoryLine& l : lean.lines()) CHECK(why.find(l.what) != std::string::npos);
    CHECK(why.find(std::to_string(lean.total())) != std::string::npos);
  }
}

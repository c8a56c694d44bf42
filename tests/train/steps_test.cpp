// Stage 1 and stage 2 of the released code, step for step.
#include "facellava/io/naming.hpp"
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

std::unique_ptr<train::AnyModel> staged(std::vector<run::Part> parts, const cpu::Options& device = {.threads = 2},
                                        train::Precision precision = train::Precision::kF32) {
  const run::ModelFolder folder({golden_path("model_tiny/ckpt_bin_fp16"), "", "", 4});
  return tiny_in_training(folder, {.trained = std::move(parts), .precision = precision}, {}, device);
}

// Compares rows of the trained tensors, or of their gradients, with prefix + official name. Returns the largest
// difference over the largest value.
double compare(const Golden& g, const std::string& prefix, const train::Parameters& p, bool gradients) {
  const auto some = g.integers("rows_of_embed_and_lm_head");
  double worst = 0, largest = 0;
  for (const train::TrainedTensor& t : p.trained()) {
    const std::string name = prefix + io::rename(io::kOfficial, t.name)->name;
    const bool whole = g.has(name);
    if (!whole && !g.has(name + ".rows")) {  // the layer norm that the released code never uses
      CHECK(t.name.starts_with("landmarks_cross_attn.ln."));
      continue;
    }
    const auto want = g.floats(name + (whole ? "" : ".rows"));
    const train::Values& v = gradients ? t.dw : t.w;
    // The key bias has no gradient in exact arithmetic: AdamW makes a drift of round-off.
    const bool in_proj_bias = t.name.ends_with("attn.in_proj_bias");
    for (std::size_t i = 0; i < want.size(); ++i) {
      const Index row = Index(i) / v.size(1);
      const double mine = v(whole ? row : Index(some[std::size_t(row)]), Index(i) % v.size(1));
      if (in_proj_bias && i / 16 == 1) continue;
      const double off = std::abs(mine - double(want[i]));
      worst = off <= worst ? worst : off;  // a NaN sticks
      largest = std::max(largest, std::abs(double(want[i])));
    }
  }
  return gradients ? worst / largest : worst;
}

void check_stage(const std::string& name, const std::vector<run::Part>& parts) {
  const auto meta = released(name);
  const Golden g("train_step/" + name + ".safetensors");
  const auto model = staged(parts);
  run_released(*model, meta, [&] { CHECK(compare(g, "grad0.", model->parameters(), true) < 2e-5); });
  // 2% of rate · steps where a gradient is not tiny; noise floor: 4e-7 of rates 5e-4 and 1e-3
  const double rate = meta["official_arguments"]["learning_rate"];
  CHECK(compare(g, "final.", model->parameters(), false) < 0.02 * rate * 5);
}

}  // namespace

TEST_CASE("stage 1, five steps as released") { check_stage("stage1", {run::Part::kLandmarks}); }
TEST_CASE("stage 2, five steps as released") {
  check_stage("stage2", {run::Part::kLandmarks, run::Part::kProjector, run::Part::kDecoder});
}

TEST_CASE("the number of threads changes no bit") {
  const auto trained_with = [](int threads) {
    const auto model =
        staged({run::Part::kLandmarks, run::Part::kProjector, run::Part::kDecoder}, {.threads = threads});
    run_released(*model, released("stage2"));
    std::vector<float> all;
    for (const auto& t : model->parameters().trained()) all.insert(all.end(), t.w.data, t.w.data + t.w.count());
    return all;
  };
  CHECK(trained_with(1) == trained_with(3));
}

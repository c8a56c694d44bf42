// LoRA as the released code trains it: five steps, the folder that it saves, the matrices that come of merging.
#include <filesystem>

#include "facellava/train/peft.hpp"
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

const std::string kSaved = golden_path("train_step/lora_saved");

struct Adapted {
  train::LoraOptions lora = train::read_lora_options(kSaved);
  std::unique_ptr<train::AnyModel> model;

  explicit Adapted(io::Weights::Convert frozen = {}, double dropout = 0, int threads = 2) {
    lora.dropout = dropout;
    const run::ModelFolder folder({golden_path("model_tiny/ckpt_bin_fp16"), "", "", 4});
    model = tiny_in_training(
        folder, {.trained = {run::Part::kLandmarks, run::Part::kProjector}, .lora = {lora}, .frozen = frozen}, {},
        {.threads = threads});
  }
  std::vector<train::TrainedTensor>& trained() const { return model->parameters().trained(); }
  // A as the released run began.
  void begin(const Golden& g) const {
    for (train::TrainedTensor& t : trained()) {
      if (!t.name.ends_with(".lora_A")) continue;
      std::string name = train::saved_name(t);
      name.insert(name.size() - std::string("weight").size(), "default.");
      const auto values = g.floats("init." + name);
      REQUIRE(Index(values.size()) == t.w.count());
      std::copy(values.begin(), values.end(), t.w.data);
    }
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for (const train::TrainedTensor& t : trained()) all.insert(all.end(), t.w.data, t.w.data + t.w.count());
    return all;
  }
};

double off(const std::vector<float>& a, const float* b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double(a[i]) - double(b[i]));
    worst = d <= worst ? worst : d;  // a NaN sticks
  }
  return worst;
}

bool key_bias(const train::TrainedTensor& t) { return t.name.ends_with("attn.in_proj_bias"); }  // drifts: no gradient

}  // namespace

TEST_CASE("five steps of LoRA as released; what is saved is what peft saves; merging") {
  const auto meta = released("lora");
  const double rate = meta["official_arguments"]["learning_rate"], most = 0.02 * rate * 5;
  const Adapted trained;
  trained.begin(Golden("train_step/lora.safetensors"));
  run_released(*trained.model, meta);

  Adapted saved;
  train::load_adapter(kSaved, saved.model->parameters());
  REQUIRE(saved.trained().size() == trained.trained().size());
  for (std::size_t i = 0; i < saved.trained().size(); ++i) {
    const train::TrainedTensor &want = saved.trained()[i], &mine = trained.trained()[i];
    CAPTURE(mine.name);
    const std::vector<float> theirs(want.w.data, want.w.data + want.w.count());
    if (!key_bias(mine)) CHECK(off(theirs, mine.w.data) < most);
  }

  const Golden merged("train_step/lora_merged.safetensors");
  int compared = 0;
  for (const train::Slot& s : saved.model->parameters().slots()) {
    if (!s.adapter || !*s.adapter) continue;
    const auto want = merged.floats(io::rename(io::kOfficial, s.name)->name);
    std::vector<float> w(want.size());
    const train::Values view(w.data(), s.weight.rows(), s.weight.columns());
    const auto fill_in = [&] {
      for (Index i = 0; i < view.count(); ++i) w[std::size_t(i)] = s.weight(i / view.size(1), i % view.size(1));
    };
    fill_in();
    const std::vector<float> before = w;
    saved.model->add_product(view, **s.adapter, 1);
    CHECK(off(want, w.data()) < 1e-6);  // one rounding of fp32 of values below 4
    saved.model->add_product(view, **s.adapter, -1);
    CHECK(off(before, w.data()) < 1e-6);
    ++compared;
  }
  CHECK(compared == 21);
}

TEST_CASE("a folder of an adapter that was written is the adapter that is read") {
  const Adapted a, b;
  a.begin(Golden("train_step/lora.safetensors"));
  a.trained().back().w(0, 0) = 7;
  const Scratch folder;
  train::write_adapter(folder.at(""), a.model->parameters(), "base");
  train::load_adapter(folder.at(""), b.model->parameters());
  CHECK(a.values() == b.values());
  const auto options = train::read_lora_options(folder.at(""));
  CHECK(options.rank == 4);
  CHECK(options.alpha == 8);
  CHECK(options.targets == a.lora.targets);

  // of another geometry, or with tensors that are not trained
  std::filesystem::remove(folder.at("adapter_model.safetensors"));
  CHECK_THROWS_WITH_AS(train::load_adapter(folder.at(""), b.model->parameters()),
                       doctest::Contains("adapter_model.safetensors or .bin"), Error);
}

TEST_CASE("LoRA on frozen matrices of 4 bits learns, and dropout repeats itself") {
  const train::DataSet data = released_data();
  const auto losses_of = [&](const Adapted& a) {
    train::Batcher batcher(data, *a.model, 0);
    const std::size_t samples[] = {0, 1};
    const std::vector<train::Batch> batch{batcher.make(samples)};
    train::StepOptions o;
    o.rate = {train::Schedule::kConstant, 0.02, 0, 30};
    std::vector<double> losses;
    for (long t = 0; t < 30; ++t) losses.push_back(train::step(*a.model, batch, o, t).loss);
    return losses;
  };
  const auto plain = losses_of(Adapted(Format::kNf4)), dropped = losses_of(Adapted(Format::kNf4, 0.1)),
             again = losses_of(Adapted(Format::kNf4, 0.1, 1));
  CHECK(plain.back() < 0.8 * plain.front());
  CHECK(dropped.back() < 0.8 * dropped.front());
  CHECK(dropped == again);
  CHECK(dropped != plain);
}

// Runs from run.json: what is refused, checkpoints, going on bitwise, export.
#include "facellava/train/run.hpp"

#include <filesystem>
#include <fstream>

#include "facellava/train/gradient_check.hpp"
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;
namespace fs = std::filesystem;

namespace {

const std::string kModel = golden_path("model_tiny/ckpt_bin_fp16");

train::RunConfig configured(const Json& json) { return train::read_run_config(json, "run.json"); }

// A run on two pictures, in a folder of its own.
struct Place {
  Scratch scratch;
  cpu::Options device = {};
  Json json{{"model", kModel}, {"tower_heads", 4}, {"stage", "stage2"}, {"batch_size", 1},
            {"steps", 5},      {"save_every", 2},  {"keep", 2},         {"learning_rate", 1e-3}};

  Place() {
    Json records = Json::array({picture_record("a"), picture_record("b", "<image>\nGuess the age.")});
    for (const char* id : {"c", "d"}) records.push_back(picture_record(id, "<image>\nAnd now?"));
    json["data"] = scratch.write("data.json", records.dump());
    json["output"] = scratch.at("out");
  }
  std::string out(const std::string& name) const { return scratch.at("out/" + name); }

  // The values in the end.
  std::vector<float> go(const Json& changes = Json::object(), train::Begin begin = train::Begin::kNew,
                        long stop_after = -1) const {
    Json all = json;
    all.update(changes);
    const train::RunConfig config = configured(all);
    const run::ModelFolder folder({config.model, "", "", config.tower_heads});
    const auto model = tiny_in_training(folder, config.parameters, {config.keep_blocks, config.loss_chunk}, device);
    const train::DataSet data(config.data, llama(), tiny_options());
    train::Run run(config, data, {0, 1, 2, 3}, *model, begin);
    train::RunHooks hooks;
    hooks.stop = [&] { return run.done() == stop_after; };
    run.go(hooks);
    std::vector<float> values;
    for (const auto& t : model->parameters().trained()) values.insert(values.end(), t.w.data, t.w.data + t.w.count());
    return values;
  }
};

}  // namespace

TEST_CASE("run.json: unknown fields, wrong types and numbers that make no run are refused by name") {
  const Json good{{"model", "m"}, {"data", "d"}, {"output", "o"}};
  const auto with = [&](const char* key, const Json& value) {
    Json all = good;
    all[key] = value;
    return all;
  };
  CHECK(configured(good).effective["learning_rate"] == 2e-5);
  CHECK(configured(with("stage", "stage1")).effective["learning_rate"] == 1e-4);
  CHECK(configured(with("stage", "lora")).effective["lora"]["r"] == 64);
  const std::pair<const char*, Json> wrong[] = {{"learning_rate", "NaN"},
                                                {"learning_rate", -1},
                                                {"warmup_ratio", 1.5},
                                                {"stage", "stage3"},
                                                {"batch_size", 0},
                                                {"batch_size", 1.5},
                                                {"schedule", 7},
                                                {"batches", Json::array()},
                                                {"batches", Json::array({Json::array({-1})})},
                                                {"lora", Json::object()},
                                                {"learningrate", 1},
                                                {"precision", "fp8"},
                                                {"landmark_coordinates", {{"scale", 0}}},
                                                {"landmark_coordinates", {{"mean", {0.5, 0.5}}}},
                                                {"landmark_coordinates", {{"means", 0.5}}},
                                                {"keep", 0}};
  for (const auto& [key, value] : wrong) {
    CAPTURE(key);
    CHECK_THROWS_WITH_AS(configured(with(key, value)), doctest::Contains((std::string("\"") + key + "\"").c_str()),
                         Error);
  }
  CHECK_THROWS_WITH_AS(configured({{"data", "d"}, {"output", "o"}}), doctest::Contains("\"model\" is missing"), Error);
  Json both = good;
  both.update({{"epochs", 1}, {"steps", 2}});
  CHECK_THROWS_WITH_AS(configured(both), doctest::Contains("either epochs or steps"), Error);
}

TEST_CASE("a run that was stopped goes on bitwise, and says what it did") {
  const Place whole, parts;
  for (const Json& changes : {Json::object(), Json{{"precision", "bf16"}, {"optimizer", "sgd"}, {"momentum", 0.9}},
                              Json{{"pack", 2}, {"prefetch", 0}, {"order", "shuffled"}},
                              Json{{"stage", "lora"}, {"lora", {{"r", 2}, {"dropout", 0.2}}}, {"accumulate", 2}}}) {
    CAPTURE(changes.dump());
    fs::remove_all(whole.out(""));
    fs::remove_all(parts.out(""));
    const auto want = whole.go(changes);
    CHECK(parts.go(changes, train::Begin::kNew, 3) != want);
    CHECK(fs::exists(parts.out("checkpoints/step-00000003")));
    CHECK(parts.go(changes, train::Begin::kResume) == want);
  }
  std::ifstream lines(parts.out("metrics.jsonl"));
  std::string line;
  long step = 0;
  while (std::getline(lines, line)) {
    const Json metrics = Json::parse(line);
    CHECK(metrics["step"] == ++step);
    CHECK(metrics["loss"].get<double>() > 0);
  }
  CHECK(step == 5);
  CHECK(fs::exists(parts.out("checkpoints/step-00000005")));
  CHECK(!fs::exists(parts.out("checkpoints/step-00000002")));  // of those that were saved the last two stay
}

TEST_CASE("how far samples are read ahead changes no bit; what cannot be read stops the run where it is needed") {
  const Place place;
  const auto want = place.go({{"prefetch", 0}});
  for (const int ahead : {1, 9}) {
    fs::remove_all(place.out(""));
    CHECK(place.go({{"prefetch", ahead}}) == want);
  }
  fs::remove_all(place.out(""));
  Json records = Json::parse(std::ifstream(place.scratch.at("data.json")));
  records[2]["image"] = place.scratch.at("gone.png");
  place.scratch.write("data.json", records.dump());
  CHECK_THROWS_WITH_AS(place.go({{"order", "as_given"}, {"prefetch", 9}, {"save_every", 1}}),
                       doctest::Contains("gone.png"), Error);
  CHECK(fs::exists(place.out("checkpoints/step-00000002")));
}

TEST_CASE("a pack goes through as one: fewer steps in an epoch") {
  const Place place;
  Json all = place.json;
  all.erase("steps");
  const auto steps = [&](int pack) {
    all["pack"] = pack;
    const train::RunConfig config = configured(all);
    return train::StepPlan(config, train::DataSet(config.data, llama(), tiny_options()),
                           std::vector<std::size_t>{0, 1, 2, 3})
        .steps();
  };
  CHECK(steps(1) == 4);
  CHECK(steps(3) == 2);
  CHECK(steps(4) == 1);
}

TEST_CASE("checkpoints that do not fit are refused") {
  const Place place;
  place.go(Json::object(), train::Begin::kNew, 2);
  CHECK_THROWS_WITH_AS(place.go(), doctest::Contains("a run was begun here"), Error);
  CHECK_THROWS_WITH_AS(place.go({{"learning_rate", 2e-3}}, train::Begin::kResume),
                       doctest::Contains("another \"learning_rate\": expected 0.001, found 0.002"), Error);
  const Json kept = Json::parse(std::ifstream(place.out("run.json")));
  CHECK(kept["learning_rate"] == 1e-3);  // that of the run that is there, not of the one that was refused
  const std::string file = place.out("checkpoints/step-00000002/state.safetensors");
  {
    std::fstream damaged(file, std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(-5, std::ios::end);
    damaged.put('\x5a');
  }
  CHECK_THROWS_WITH_AS(place.go(Json::object(), train::Begin::kResume), doctest::Contains("checksum"), Error);
  fs::remove_all(place.out("checkpoints"));
  CHECK_THROWS_WITH_AS(place.go(Json::object(), train::Begin::kResume), doctest::Contains("found none"), Error);
  CHECK_THROWS_AS(place.go({{"output", place.scratch.at("data.json") + "/out"}}), Error);
}

TEST_CASE("a run goes on with the model that it began with, on the instruction set that it began on") {
  Place place;
  const std::string model = place.scratch.at("model");
  fs::create_directory(model);
  for (const auto& entry : fs::directory_iterator(kModel)) fs::copy(entry.path(), model);
  place.json["model"] = model;
  place.go(Json::object(), train::Begin::kNew, 2);
  if (cpu::best_isa() != cpu::Isa::kPortable) {
    place.device.isa = cpu::Isa::kPortable;
    CHECK_THROWS_WITH_AS(place.go(Json::object(), train::Begin::kResume), doctest::Contains("\"instruction set\""),
                         Error);
    place.device = {};
  }
  for (const auto& entry : fs::directory_iterator(model)) {  // other dates are no other model
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    fs::last_write_time(entry.path(), fs::file_time_type::clock::now());
  }
  place.go(Json::object(), train::Begin::kResume, 3);
  {
    std::fstream other(model + "/pytorch_model-00001-of-00003.bin", std::ios::in | std::ios::out | std::ios::binary);
    other.seekp(-70000, std::ios::end);
    const std::string zeros(50000, '\0');
    other.write(zeros.data(), std::streamsize(zeros.size()));
    REQUIRE(other.good());
  }
  CHECK_THROWS_WITH_AS(place.go(Json::object(), train::Begin::kResume), doctest::Contains("\"model checksum\""), Error);
}

TEST_CASE("an exported model is the trained one, in safetensors and in .bin, and loads again") {
  const Place place;
  place.go({{"export", "both"}, {"steps", 1}, {"warmup_ratio", 0}});
  std::vector<std::string> released_names;  // of the checkpoint that it began as, but for what is computed
  const io::Checkpoint began(kModel);
  for (const auto& [name, tensor] : began.tensors())
    if (!name.ends_with("inv_freq")) released_names.push_back(name);
  std::vector<std::vector<float>> read;
  for (const char* kind : {"model.safetensors", "pytorch_model.bin"}) {
    const io::Checkpoint file(place.out(std::string("model/") + kind));
    read.push_back(io::to_floats(file.at("model.layers.1.mlp.up_proj.weight")));
    std::vector<std::string> names;
    for (const auto& [name, tensor] : file.tensors()) names.push_back(name);
    CHECK(names == released_names);
  }
  CHECK(read[0] == read[1]);
  const run::ModelFolder folder({place.out("model")});  // heads of the towers included
  const auto model = tiny_in_training(folder, {.trained = {run::Part::kDecoder}});
  for (const auto& t : model->parameters().trained())
    if (t.name == "llama.layers.1.mlp.up_proj.weight")
      CHECK(std::vector<float>(t.w.data, t.w.data + t.w.count()) == read[0]);
}

TEST_CASE("gradients agree with finite differences of the loss") {
  const train::DataSet data = released_data();
  const run::ModelFolder folder({kModel, "", "", 4});
  using enum run::Part;
  const auto model = tiny_in_training(folder, {.trained = {kLandmarks, kProjector, kDecoder}});
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const std::size_t samples[] = {0, 2};
  const auto checked = train::check_gradients(*model, batcher.make(samples), 12);
  CHECK(checked.size() >= 10);
  for (const train::CheckedGradient& g : checked) {
    CAPTURE(g.name);
    CAPTURE(g.gradient);
    CAPTURE(g.difference);
    CHECK(g.error() < 0.01);  // round-off of 1e-6 in a loss that changes by 2e-3, and curvature
  }
}

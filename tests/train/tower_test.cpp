// Towers in training: with the decoder behind them, and by heads that read their features.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "facellava/train/gradient_check.hpp"
#include "facellava/train/run.hpp"
#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;
using enum facellava::run::Part;
using facellava::text::Medium;

namespace {

const std::string kTinyModel = golden_path("model_tiny/ckpt_bin_fp16");

std::unique_ptr<train::AnyModel> model_with(const train::ParameterOptions& p, const train::ModelOptions& o = {}) {
  return tiny_in_training(run::ModelFolder({kTinyModel, "", "", 4}), p, o);
}

std::vector<train::Head> some_heads(train::Pooling second = train::Pooling::kPatches,
                                    train::Pooling third = train::Pooling::kPatches) {
  using enum train::HeadKind;
  return {{.name = "expression", .kind = kClass, .names = {"happy", "sad", "neutral"}, .outputs = 3},
          {.name = "aus", .kind = kMultiLabel, .names = {"AU1", "AU2"}, .outputs = 2, .weight = 0.5, .pooling = second},
          {.name = "age",
           .kind = kRegression,
           .weight = 2,
           .mean = {40},
           .scale = {20},
           .distance = Distance::kSmoothL1,
           .pooling = third}};
}

Json labelled(Json record, const Json& labels) {
  record["labels"] = labels;
  return record;
}
Json other_face(Json record) {
  record["image"] = kFaceB;
  record["landmarks_2d"] = kPointsB;
  return record;
}

train::DataSet labelled_data(const Json& records, const std::vector<train::Head>& heads, Medium tower = Medium::kImage,
                             train::Conversations conversations = train::Conversations::kRead) {
  train::DataOptions o = tiny_options();
  o.heads = heads;
  o.head_tower = tower;
  o.conversations = conversations;
  return data_set(records, o);
}

void check_differences(train::AnyModel& model, const train::Batch& batch, std::size_t tensors,
                       const std::vector<std::string>& parts) {
  const auto checked = train::check_gradients(model, batch, tensors);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(std::any_of(checked.begin(), checked.end(), [&](const auto& g) { return g.name.starts_with(part); }));
  }
  for (const train::CheckedGradient& g : checked) {
    CAPTURE(g.name);
    CAPTURE(g.gradient);
    CAPTURE(g.difference);
    // Curvature and round-off of 1e-6 in a loss that changes by 2e-3; and, of a gradient that is so small, or 0 as that
    // of a k_proj.bias, by less: its step is at most 0.05.
    CHECK(std::abs(g.gradient - g.difference) < 0.02 * std::abs(g.gradient) + 2e-5);
  }
}

}  // namespace

TEST_CASE("towers with the decoder: the loss of frozen ones, gradients that agree with finite differences") {
  Json bare = picture_record("c");
  bare.erase("landmarks_2d");
  const train::DataSet data = data_set(Json::array({picture_record("a"), video_record("b"), bare}));
  const train::ParameterOptions frozen{.trained = {kLandmarks, kProjector, kDecoder}},
      whole{.trained = {kLandmarks, kProjector, kDecoder, kImageTower, kVideoTower}};
  const auto before = model_with(frozen), model = model_with(whole), kept = model_with(whole, {.keep = Keep::kAll});
  const std::size_t samples[] = {0, 1, 2};
  train::Batcher without(data, *before, 0), with(data, *model, std::size_t(1) << 30);
  const train::Batch batch = with.make(samples);
  CHECK(!batch.media[0][0].features);  // nothing is kept of a tower that changes
  model->zero_gradients();
  const double loss = model->backward(batch, 1);
  // The same products, of weights that were widened before or are widened in the product.
  CHECK(loss == doctest::Approx(before->backward(without.make(samples), 0)).epsilon(1e-6));
  kept->zero_gradients();
  CHECK(kept->backward(batch, 1) == loss);
  for (std::size_t i = 0; i < model->parameters().trained().size(); ++i) {
    const train::TrainedTensor &a = model->parameters().trained()[i], &b = kept->parameters().trained()[i];
    CHECK(std::equal(a.dw.data, a.dw.data + a.dw.count(), b.dw.data));
    CHECK(a.name.find("post_layernorm") == std::string::npos);     // never used,
    CHECK(a.name.find("encoder.layers.3.") == std::string::npos);  // nor the layer behind the selected one
  }
}

TEST_CASE("towers with the decoder: gradients that agree with finite differences") {
  const train::DataSet data = data_set(Json::array({picture_record("a"), video_record("b")}));
  const auto image = model_with({.trained = {kProjector, kImageTower}}), video = model_with({.trained = {kVideoTower}});
  train::Batcher pictures(data, *image, 0), clips(data, *video, 0);
  check_differences(*image, pictures.make(std::vector<std::size_t>{0}), 30, {"image_tower.", "mm_projector."});
  check_differences(*video, clips.make(std::vector<std::size_t>{1}), 6, {"video_tower."});
}

TEST_CASE("heads: gradients of all parts together agree with finite differences") {
  const Json happy{{"expression", "happy"}, {"aus", {1, nullptr}}, {"age", 31}},
      sad{{"expression", "sad"}, {"aus", {0, 1}}}, old{{"age", 80.5}};
  const train::DataSet pictures =
      labelled_data(Json::array({labelled(picture_record("a"), happy), labelled(other_face(picture_record("b")), sad),
                                 labelled(picture_record("c"), old), picture_record("d")}),
                    some_heads());
  const auto image = model_with({.trained = {kImageTower}, .heads = some_heads(train::Pooling::kGrid)});
  train::Batcher four(pictures, *image, 0);
  check_differences(*image, four.make(std::vector<std::size_t>{0, 1, 2, 3}), 20, {"image_tower.", "heads.expression."});
  CHECK(image->losses().tokens > 1);

  const auto heads = some_heads(train::Pooling::kClassToken, train::Pooling::kGrid);
  const train::DataSet clips = labelled_data(Json::array({labelled(video_record("a"), happy)}), heads, Medium::kVideo,
                                             train::Conversations::kSkipped);
  const auto frozen = model_with({.heads = heads, .head_tower = Medium::kVideo}),
             video = model_with({.trained = {kVideoTower}, .heads = heads, .head_tower = Medium::kVideo});
  train::Batcher kept(clips, *frozen, std::size_t(1) << 30), looked_at(clips, *video, 0);
  check_differences(*frozen, kept.make(std::vector<std::size_t>{0}), 6,
                    {"heads.expression.", "heads.aus.weight", "heads.aus.bias", "heads.age."});
  check_differences(*video, looked_at.make(std::vector<std::size_t>{0}), 6, {"video_tower."});
  CHECK(video->losses().tokens == 0);
}

TEST_CASE("heads on frozen features: losses and scores by hand; labels that are missing count for nothing") {
  const auto heads = some_heads();
  const auto model = model_with({.heads = heads});
  const Json happy{{"expression", "happy"}, {"aus", {1, nullptr}}, {"age", 31}}, old{{"age", 80.5}};
  const train::DataSet data =
      labelled_data(Json::array({labelled(picture_record("a"), happy), labelled(other_face(picture_record("b")), old)}),
                    heads, Medium::kImage, train::Conversations::kSkipped);
  train::Batcher batcher(data, *model, std::size_t(1) << 30);
  const train::Batch both = batcher.make(std::vector<std::size_t>{0, 1});
  constexpr std::size_t kWidth = 32;
  std::vector<std::vector<double>> pooled;
  for (const auto& media : both.media) {
    const auto& f = *media[0].features;
    pooled.emplace_back(kWidth);
    for (std::size_t i = 0; i < f.size(); ++i) pooled.back()[i % kWidth] += double(f[i]) / double(f.size() / kWidth);
  }
  const auto said = [&](const std::string& name, Index output, std::size_t sample) {
    double sum = 0;
    for (const train::TrainedTensor& t : model->parameters().trained()) {
      if (t.name == "heads." + name + ".bias") sum += double(t.w.data[output]);
      if (t.name == "heads." + name + ".weight")
        for (std::size_t i = 0; i < kWidth; ++i) sum += double(t.w(output, Index(i))) * pooled[sample][i];
    }
    return sum;
  };
  const double total = model->backward(both, 0);
  const auto losses = model->losses().heads;
  REQUIRE(losses.size() == 3);
  const double e[] = {std::exp(said("expression", 0, 0)), std::exp(said("expression", 1, 0)),
                      std::exp(said("expression", 2, 0))};
  CHECK(losses[0].loss == doctest::Approx(-std::log(e[0] / (e[0] + e[1] + e[2]))).epsilon(1e-5));
  CHECK(losses[0].score == (e[0] > std::max(e[1], e[2]) ? 1 : 0));
  CHECK(losses[1].loss == doctest::Approx(std::log(1 + std::exp(-said("aus", 0, 0)))).epsilon(1e-5));
  const double off[] = {said("age", 0, 0) - (31. - 40) / 20, said("age", 0, 1) - (80.5 - 40) / 20};
  double age = 0;
  for (const double d : off) age += (std::abs(d) < 1 ? d * d / 2 : std::abs(d) - 0.5) / 2;
  CHECK(losses[2].loss == doctest::Approx(age).epsilon(1e-5));
  CHECK(losses[2].score == doctest::Approx(20 * (std::abs(off[0]) + std::abs(off[1])) / 2).epsilon(1e-5));
  CHECK(losses[0].labels == 1);
  CHECK(losses[1].labels == 1);
  CHECK(losses[2].labels == 2);
  CHECK(total == doctest::Approx(losses[0].loss + 0.5 * losses[1].loss + 2 * losses[2].loss));
  model->backward(batcher.make(std::vector<std::size_t>{0}), 0);
  CHECK(model->losses().heads[0].loss == losses[0].loss);  // the second sample has no such label
  model->backward(batcher.make(std::vector<std::size_t>{1}), 0);
  CHECK(model->losses().heads[0].labels == 0);
}

TEST_CASE("labels that no head can learn are faults of their records") {
  const auto check = [&](const Json& record, const char* field, const char* word,
                         train::Conversations c = train::Conversations::kRead) {
    const train::DataSet data = labelled_data(Json::array({record}), some_heads(), Medium::kImage, c);
    const auto faults = data.check(0);
    REQUIRE(faults.size() == 1);
    CHECK(faults[0].field == field);
    CHECK(faults[0].text().find(word) != std::string::npos);
    CHECK_THROWS_WITH_AS(data.encode(0), doctest::Contains(field), Error);
  };
  const Json a = picture_record("a");
  check(labelled(a, 7), "labels", "an object");
  check(labelled(a, {{"expression", "angry"}}), "labels.expression", "one of happy, sad, neutral, found \"angry\"");
  check(labelled(a, {{"expression", 1}}), "labels.expression", "one of happy");
  check(labelled(a, {{"aus", {1}}}), "labels.aus", "a list of 2");
  check(labelled(a, {{"aus", {1, 2}}}), "labels.aus", "from 0 to 1");
  check(labelled(a, {{"age", "old"}}), "labels.age", "a number");
  check(labelled(a, {{"age", {1, 2}}}), "labels.age", "a number");
  check(labelled(a, {{"age", 1e300}}), "labels.age", "a number");
  check(labelled(video_record("b"), {{"age", 4}}), "labels", "one image that they are of, found 1 video");
  check(labelled(a, {{"mood", "high"}}), "labels", "one that a head learns", train::Conversations::kSkipped);
  Json silent = labelled(a, {{"age", 4}});
  silent.erase("conversations");
  CHECK(labelled_data(Json::array({silent}), some_heads(), Medium::kImage, train::Conversations::kSkipped)
            .check(0)
            .empty());
  check(silent, "conversations", "a list of turns");
}

TEST_CASE("run.json: a head that reads several features is a head for each, of one label") {
  const Json x{{"kind", "class"}, {"names", {"a", "b"}}, {"features", {"grid", "patches"}}};
  const Json run{{"model", "m"}, {"data", "d"}, {"output", "o"}, {"stage", "tower"}, {"heads", {{"x", x}}}};
  const auto heads = train::read_run_config(run, "run.json").parameters.heads;
  REQUIRE(heads.size() == 2);
  CHECK(heads[0].name == "x_grid");
  CHECK(heads[0].pooling == train::Pooling::kGrid);
  CHECK(heads[1].name == "x_patches");
  CHECK(heads[1].pooling == train::Pooling::kPatches);
  for (const train::Head& h : heads) {
    std::vector<float> targets;
    CHECK(!train::add_targets(targets, h, {{"x", "b"}}));
    CHECK(targets == std::vector<float>{1});
  }
}

TEST_CASE("run.json: heads and towers that make no run are refused by name") {
  const auto refused = [](const char* field, const Json& changes) {
    Json all{{"model", "m"}, {"data", "d"}, {"output", "o"}, {"stage", "tower"}};
    all.update(changes);
    CAPTURE(all.dump());
    CHECK_THROWS_WITH_AS(train::read_run_config(all, "run.json"), doctest::Contains(field), Error);
  };
  const auto head = [](const Json& h) { return Json{{"heads", {{"x", h}}}}; };
  const Json good{{"kind", "class"}, {"names", {"a", "b"}}};
  refused("\"heads\"", Json::object());
  refused("\"heads\"", {{"heads", Json::object()}});
  refused("\"x\": \"kind\"", head({{"names", {"a"}}}));
  refused("\"names\"", head({{"kind", "class"}, {"names", {"a"}}}));
  refused("\"names\"", head({{"kind", "class"}, {"names", {"a", "a"}}}));
  refused("\"names\" is missing", head({{"kind", "multi_label"}}));
  refused("\"scale\"", head({{"kind", "regression"}, {"size", 2}, {"scale", {1, 0}}}));
  refused("\"mean\"", head({{"kind", "regression"}, {"size", 2}, {"mean", {1, 2, 3}}}));
  refused("unknown field \"size\"", head({{"kind", "class"}, {"names", {"a", "b"}}, {"size", 2}}));
  Json more = good;
  for (const Json& features : {Json("patch"), Json{"grid", "patch"}, Json{"grid", "grid"}, Json::array(), Json(1)}) {
    more["features"] = features;
    refused("\"features\"", head(more));
  }
  more["features"] = {"grid", "patches"};
  refused("two of x_grid", {{"heads", {{"x", more}, {"x_grid", good}}}});
  refused("\"a.b\"", {{"heads", {{"a.b", good}}}});
  refused("\"tower\"", {{"heads", {{"x", good}}}, {"tower", "third"}});
  refused("\"order\"", {{"heads", {{"x", good}}}, {"order", "modality_length"}});
  refused("\"pack\"", {{"heads", {{"x", good}}}, {"pack", 2}});
  refused("\"train_towers\"", {{"heads", {{"x", good}}}, {"train_towers", true}});
  refused("\"tower\"", {{"stage", "stage1"}, {"tower", "image"}});
}

TEST_CASE("a tower is trained by heads, goes on bitwise, and stage1 can begin with it") {
  namespace fs = std::filesystem;
  const Scratch scratch;
  const Json a{{"image", kFaceA}, {"labels", {{"who", "a"}, {"age", 30}}}},
      b{{"image", kFaceB}, {"labels", {{"who", "b"}, {"age", 50}}}};
  Json run{{"model", kTinyModel},
           {"tower_heads", 4},
           {"stage", "tower"},
           {"data", scratch.write("data.json", Json::array({a, b}).dump())},
           {"output", scratch.at("out")},
           {"batch_size", 2},
           {"steps", 30},
           {"save_every", 10},
           {"learning_rate", 3e-3},
           {"heads",
            {{"who", {{"kind", "class"}, {"names", {"a", "b"}}}},
             {"age", {{"kind", "regression"}, {"mean", 40}, {"scale", 10}, {"weight", 0.5}}}}}};
  const auto go = [&](train::Begin begin, long stop_after) {
    const train::RunConfig config = train::read_run_config(run, "run.json");
    const auto model = tiny_in_training(run::ModelFolder({kTinyModel, "", "", 4}), config.parameters);
    train::DataOptions o = tiny_options();
    o.conversations = train::Conversations::kSkipped;
    o.heads = config.parameters.heads;
    const train::DataSet data(config.data, nullptr, o);
    train::Run running(config, data, {0, 1}, *model, begin);
    train::RunHooks hooks;
    hooks.stop = [&] { return running.done() == stop_after; };
    running.go(hooks);
    std::vector<float> values;
    for (const auto& t : model->parameters().trained()) values.insert(values.end(), t.w.data, t.w.data + t.w.count());
    return values;
  };
  const auto want = go(train::Begin::kNew, -1);
  std::ifstream lines(scratch.at("out/metrics.jsonl"));
  std::string line;
  Json first, last;
  while (std::getline(lines, line)) {
    last = Json::parse(line);
    if (first.is_null()) first = last;
  }
  CHECK(last["step"] == 30);
  CHECK(last["loss"].get<double>() < 0.2 * first["loss"].get<double>());
  CHECK(last["heads"]["who"]["accuracy"] == 1);
  CHECK(last["heads"]["age"]["error"].get<double>() < 0.5 * first["heads"]["age"]["error"].get<double>());
  CHECK(last["token_loss"] == 0);

  const io::Checkpoint heads(scratch.at("out/heads.safetensors")), began(kTinyModel), trained(scratch.at("out/model"));
  CHECK(heads.tensors().size() == 4);
  CHECK(heads.at("who.weight").shape == std::vector<Index>{2, 32});
  std::size_t changed = 0;
  for (const auto& [name, tensor] : trained.tensors()) {
    CAPTURE(name);
    const bool same = io::to_floats(tensor) == io::to_floats(began.at(name));
    changed += !same;
    const bool used = name.find("post_layernorm") == std::string::npos && name.find("layers.3.") == std::string::npos;
    CHECK(same == !(name.find("image_tower") != std::string::npos && used));
  }
  CHECK(changed > 40);
  const auto next = tiny_in_training(run::ModelFolder({scratch.at("out/model")}), {.trained = {kLandmarks}});
  CHECK(!next->parameters().trained().empty());

  fs::remove_all(scratch.at("out"));
  go(train::Begin::kNew, 13);
  CHECK(go(train::Begin::kResume, -1) == want);
}

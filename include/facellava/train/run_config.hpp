// run.json: all that decides a run. Every field is checked, unknown ones are refused, and effective() says what holds,
// defaults included.
#pragma once
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "facellava/io/json.hpp"
#include "facellava/train/peft.hpp"
#include "facellava/train/sampler.hpp"
#include "facellava/train/step.hpp"
#include "facellava/train/validate.hpp"

namespace facellava::train {

// stage1: the landmark modules; stage2: all but the towers, or with them; lora: adapters on the decoder, all else but
// the towers whole, as released; tower: one tower, by the heads that read it.
enum class Stage { kStage1, kStage2, kLora, kTower };
inline constexpr std::string_view kStageNames[] = {"stage1", "stage2", "lora", "tower"};
inline constexpr std::string_view kOrderNames[] = {"as_given", "shuffled", "modality_length"};

struct RunConfig {
  std::string model, image_tower, video_tower, tokenizer, data, root, output;
  int tower_heads = 0;
  Stage stage = Stage::kStage2;
  ParameterOptions parameters;
  std::string adapter;  // a PEFT folder that a LoRA run begins with
  StepOptions step;     // its rate's steps are 0 where epochs say how long
  int batch_size = 16, accumulate = 1, epochs = 1;
  int pack = 1;      // questions about one picture that go through as one, at most
  int prefetch = 2;  // steps whose samples are read ahead
  SamplerOptions sampler;
  std::vector<Indices> batches;  // of each step; empty: as the sampler says
  std::string prompt_template, masks = "reference", padding = "model";
  int context = 0;
  SkipPolicy skip;
  Keep keep_blocks = Keep::kInputs;
  int loss_chunk = 256;
  double feature_cache_mib = 4096;
  double memory_limit_mib = 0;     // 0: none
  int save_every = 500, keep = 2;  // checkpoints: steps between them (0: only at the end), and how many stay
  std::string export_format = "f32";
  std::vector<std::string> export_files = {"safetensors"};
  nlohmann::json effective;
};

namespace detail {

// The members of an object, each read once; what is left in the end is unknown.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object())
      throw Error(ErrorKind::kFormat, where_ + ": expected an object, found " + object.type_name());
  }

  template <class T>
  T get(const std::string& key, T otherwise) {
    T value = io::optional<T>(object_, key, where_).value_or(std::move(otherwise));
    return note(key, std::move(value));
  }
  template <class T>
  T require(const std::string& key) {
    return note(key, io::require<T>(object_, key, where_));
  }
  template <class T>
  T at_least(const std::string& key, T otherwise, T least) {
    T value = get<T>(key, otherwise);
    if (!(value >= least)) fail(key, "at least " + nlohmann::json(least).dump(), nlohmann::json(value).dump());
    return value;
  }
  // From 0 to 1.
  double part(const std::string& key, double otherwise) {
    const double value = get<double>(key, otherwise);
    if (!(value >= 0 && value <= 1)) fail(key, "a number from 0 to 1", nlohmann::json(value).dump());
    return value;
  }
  // The number of a name in `names`.
  std::size_t one_of(const std::string& key, std::span<const std::string_view> names, std::size_t otherwise) {
    return at_of(key, names, get<std::string>(key, std::string(names[otherwise])));
  }
  // The numbers of one name or of a list of names, each once.
  std::vector<std::size_t> some_of(const std::string& key, std::span<const std::string_view> names,
                                   std::size_t otherwise) {
    if (!object_.contains(key) || !object_[key].is_array()) return {one_of(key, names, otherwise)};
    const auto given = require<std::vector<std::string>>(key);
    std::vector<std::size_t> all;
    for (const std::string& value : given)
      if (all.push_back(at_of(key, names, value)); std::count(all.begin(), all.end(), all.back()) > 1)
        fail(key, "names, each once", nlohmann::json(given).dump());
    if (all.empty()) fail(key, "a name, or a list of names", "none");
    return all;
  }
  std::optional<Fields> object(const std::string& key) {
    known_.insert(key);
    const auto member = object_.find(key);
    if (member == object_.end() || member->is_null()) return {};
    return Fields(*member, where_ + ": \"" + key + "\"");
  }
  bool has(const std::string& key) const { return object_.contains(key) && !object_[key].is_null(); }
  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const auto& [key, value] : object_.items()) all.push_back(key);
    return all;
  }
  void set(const std::string& key, nlohmann::json value) { effective_[key] = std::move(value); }
  [[noreturn]] void fail(const std::string& key, const std::string& expected, const std::string& found) const {
    throw Error(ErrorKind::kFormat, where_ + ": \"" + key + "\": expected " + expected + ", found " + found);
  }
  // Error kFormat for a key that nobody asked for.
  const nlohmann::json& finish() const {
    for (const auto& [key, value] : object_.items()) {
      if (known_.contains(key)) continue;
      std::string all;
      for (const std::string& k : known_) all.append(all.empty() ? "" : ", ").append(k);
      throw Error(ErrorKind::kFormat, where_ + ": unknown field \"" + key + "\"; known: " + all);
    }
    return effective_;
  }

 private:
  std::size_t at_of(const std::string& key, std::span<const std::string_view> names, const std::string& value) const {
    const auto at = std::find(names.begin(), names.end(), value);
    if (at != names.end()) return std::size_t(at - names.begin());
    std::string all;
    for (const std::string_view n : names) all.append(all.empty() ? "" : ", ").append(n);
    fail(key, "one of " + all, "\"" + value + "\"");
  }
  template <class T>
  T note(const std::string& key, T value) {
    known_.insert(key);
    effective_[key] = value;
    return value;
  }

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string> known_;
  nlohmann::json effective_ = nlohmann::json::object();
};

// A list of `size` numbers; a number alone stands for all.
inline std::vector<double> read_numbers(Fields& f, const std::string& key, std::size_t size, double otherwise) {
  std::vector<double> all(size, otherwise);
  if (f.has(key)) {
    const auto given = f.require<nlohmann::json>(key);
    const bool list = given.is_array() && given.size() == size;
    for (std::size_t i = 0; i < size; ++i) {
      const nlohmann::json& number = list ? given[i] : given;
      if (!number.is_number()) f.fail(key, "a number, or a list of " + std::to_string(size), given.dump());
      all[i] = number.get<double>();
    }
  }
  f.set(key, all);
  return all;
}

inline void read_optimizer(Fields& f, RunConfig& c) {
  // Of the released stages; of LoRA, that of its released script; of towers, CLIP's order of size.
  constexpr double kRates[] = {1e-4, 2e-5, 2e-4, 3e-4};
  OptimizerOptions& o = c.step.optimizer;
  Rate& rate = c.step.rate;
  rate.base = f.at_least("learning_rate", kRates[int(c.stage)], 0.0);
  rate.warmup_ratio = f.part("warmup_ratio", 0.03);
  rate.schedule = Schedule(f.one_of("schedule", kScheduleNames, std::size_t(Schedule::kCosine)));
  o.kind = Optimizer(f.one_of("optimizer", kOptimizerNames, 0));
  o.weight_decay = f.at_least("weight_decay", 0.0, 0.0);
  c.step.max_grad_norm = f.at_least("max_grad_norm", 1.0, 0.0);
  if (o.kind == Optimizer::kAdamW) {
    for (auto [key, beta] : {std::pair("adam_beta1", &o.beta1), std::pair("adam_beta2", &o.beta2)})
      if (*beta = f.part(key, *beta); *beta == 1) f.fail(key, "a number below 1", "1");
    o.epsilon = f.at_least("adam_epsilon", o.epsilon, 0.0);
  } else if (o.momentum = f.part("momentum", 0); o.momentum == 1) {
    f.fail("momentum", "a number below 1", "1");
  }
  if (auto own = f.object("learning_rates")) {
    constexpr const char* kParts[] = {"decoder", "projector", "landmarks", "image_tower", "video_tower", "heads"};
    for (std::size_t part = 0; part < std::size(kParts); ++part) {
      const char* key = kParts[part];
      if (!own->has(key)) continue;
      if (rate.base == 0) own->fail(key, "a learning_rate other than 0 beside it", "0");
      o.rates[part] = own->at_least(key, 0.0, 0.0) / rate.base;
    }
    f.set("learning_rates", own->finish());
  }
  if (auto own = f.object("landmark_coordinates")) {
    if (c.stage == Stage::kTower) f.fail("landmark_coordinates", "a stage that trains the landmark modules", "tower");
    LandmarkCoordinates z{own->get<double>("scale", 1), {}};
    if (!(z.scale > 0)) own->fail("scale", "a number above 0", nlohmann::json(z.scale).dump());
    std::ranges::copy(read_numbers(*own, "mean", z.mean.size(), 0), z.mean.begin());
    o.landmarks = z;
    f.set("landmark_coordinates", own->finish());
  }
  c.parameters.moments = o.moments();
}

inline void read_lora(Fields& f, RunConfig& c) {
  auto own = f.object("lora");
  if (own && c.stage != Stage::kLora) f.fail("lora", "the stage \"lora\"", std::string(kStageNames[int(c.stage)]));
  if (c.stage != Stage::kLora) return;
  const nlohmann::json none = nlohmann::json::object();
  if (!own) own.emplace(none, "\"lora\"");
  LoraOptions o;
  c.adapter = own->get<std::string>("adapter", "");
  if (!c.adapter.empty()) o = read_lora_options(c.adapter);
  o.rank = own->at_least("r", o.rank, 1);
  o.alpha = own->get("alpha", o.alpha);
  if (o.dropout = own->part("dropout", o.dropout); o.dropout == 1) own->fail("dropout", "a number below 1", "1");
  o.targets = own->get("targets", o.targets);
  if (o.targets.empty()) own->fail("targets", "names of projections", "none");
  f.set("lora", own->finish());
  c.parameters.lora = {o};
}

// One head, or one for each of the features that it is to read.
inline std::vector<Head> read_head(Fields& f, const std::string& name) {
  Head h{.name = name, .label = name};
  if (!f.has("kind")) f.fail("kind", "class, multi_label or regression", "none");
  h.kind = HeadKind(f.one_of("kind", kHeadKindNames, 0));
  h.weight = f.at_least("weight", 1.0, 0.0);
  if (h.kind == HeadKind::kRegression) {
    h.outputs = f.at_least<Index>("size", 1, 1);
    check_at_most(1 << 16, h.outputs, "\"size\" of the head " + name, ErrorKind::kFormat);
    h.distance = Distance(f.one_of("loss", kDistanceNames, 0));
    h.mean = read_numbers(f, "mean", std::size_t(h.outputs), 0);
    h.scale = read_numbers(f, "scale", std::size_t(h.outputs), 1);
    for (const double scale : h.scale)
      if (!(scale > 0)) f.fail("scale", "numbers above 0", nlohmann::json(scale).dump());
  } else {
    h.names = f.require<std::vector<std::string>>("names");
    h.outputs = Index(h.names.size());
    const std::size_t least = h.kind == HeadKind::kClass ? 2 : 1;
    if (std::set(h.names.begin(), h.names.end()).size() < std::max(least, h.names.size()))
      f.fail("names", "at least " + std::to_string(least) + " names, each once", nlohmann::json(h.names).dump());
  }
  std::vector<Head> all;
  const auto features = f.some_of("features", kPoolingNames, 0);
  for (const std::size_t pooling : features) {
    all.push_back(h);
    all.back().pooling = Pooling(pooling);
    if (features.size() > 1) all.back().name.append("_").append(kPoolingNames[pooling]);
  }
  return all;
}

inline void read_heads(Fields& f, RunConfig& c) {
  constexpr std::string_view kTowers[] = {"image", "video"};
  ParameterOptions& p = c.parameters;
  if (f.has("tower") && !f.has("heads")) f.fail("tower", "\"heads\" beside it, which read it", "none");
  if (f.has("heads")) p.head_tower = text::Medium(f.one_of("tower", kTowers, 0));
  if (auto own = f.object("heads")) {
    for (const std::string& name : own->keys()) {
      if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
                              std::string::npos)
        own->fail(name, "a name of letters, digits, _ and -", "another");
      auto head = own->object(name);
      if (!head) own->fail(name, "an object", "null");
      for (Head& h : read_head(*head, name)) {
        const auto same = [&](const Head& other) { return other.name == h.name; };
        if (std::ranges::any_of(p.heads, same)) own->fail(name, "names of their own for all heads", "two of " + h.name);
        p.heads.push_back(std::move(h));
      }
      own->set(name, head->finish());
    }
    f.set("heads", own->finish());
  }
  if (c.stage == Stage::kTower && p.heads.empty()) f.fail("heads", "at least one head, by name", "none");
  const bool all = f.get<bool>("train_towers", false);
  if (all && c.stage != Stage::kStage2)
    f.fail("train_towers", "the stage \"stage2\"", std::string(kStageNames[int(c.stage)]));
  if (all) p.trained.insert(p.trained.end(), {run::Part::kImageTower, run::Part::kVideoTower});
  if (c.stage == Stage::kTower) p.trained = {tower_part(p.head_tower)};
}

inline void read_order(Fields& f, RunConfig& c) {
  c.batch_size = f.at_least("batch_size", c.batch_size, 1);
  c.accumulate = f.at_least("accumulate", c.accumulate, 1);
  c.pack = f.at_least("pack", c.pack, 1);
  if (c.pack > 1 && c.stage == Stage::kTower) f.fail("pack", "1: a tower has no questions", std::to_string(c.pack));
  c.parameters.seed = f.get<std::uint64_t>("seed", 42);
  if (f.has("batches")) {
    for (const nlohmann::json& step : f.require<nlohmann::json>("batches")) {
      const bool numbers = step.is_array() && std::all_of(step.begin(), step.end(), [](const nlohmann::json& n) {
                             return n.is_number_unsigned();
                           });
      if (!numbers) f.fail("batches", "a list of sample numbers for each step", step.dump());
      c.batches.push_back(step.get<Indices>());
    }
    if (c.batches.empty()) f.fail("batches", "at least one step", "none");
    for (const char* key : {"epochs", "order"})
      if (f.has(key)) f.fail(key, "no such field beside \"batches\"", "it");
    c.step.rate.steps = f.at_least<long>("steps", long(c.batches.size()), 1);
    if (c.step.rate.steps > long(c.batches.size()))
      f.fail("steps", "at most the " + std::to_string(c.batches.size()) + " of \"batches\"",
             std::to_string(c.step.rate.steps));
    return;
  }
  if (f.has("epochs") && f.has("steps")) f.fail("steps", "either epochs or steps", "both");
  c.step.rate.steps = 0;
  if (f.has("steps"))
    c.step.rate.steps = f.at_least<long>("steps", 1, 1);
  else
    c.epochs = f.at_least("epochs", 1, 1);
  const bool text = c.stage != Stage::kTower;
  c.sampler.order =
      Order(f.one_of("order", kOrderNames, std::size_t(text ? Order::kModalityLength : Order::kShuffled)));
  if (!text && c.sampler.order == Order::kModalityLength) f.fail("order", "one that needs no text", "modality_length");
  c.sampler.batch = std::size_t(c.batch_size);
  c.sampler.seed = c.parameters.seed;
}

inline void read_data(Fields& f, RunConfig& c) {
  c.data = f.require<std::string>("data");
  c.root = f.get<std::string>("root", "");
  c.prompt_template = f.get<std::string>("template", "");
  constexpr std::string_view kMasks[] = {"reference", "corrected"};
  c.masks = kMasks[f.one_of("masks", kMasks, 0)];
  constexpr std::string_view kPaddings[] = {"model", "none", "square"};
  c.padding = kPaddings[f.one_of("padding", kPaddings, 0)];
  c.context = f.at_least("context", 0, 0);
  c.skip.records = f.get<std::size_t>("skip_records", 0);
  c.skip.part = f.part("skip_part", 0);
}

inline void read_memory(Fields& f, RunConfig& c) {
  constexpr std::string_view kPrecisions[] = {"f32", "bf16"}, kRecompute[] = {"none", "blocks"};
  constexpr std::string_view kFrozen[] = {"stored", "f32", "f16", "bf16", "q8", "q4", "q4_1", "nf4"};
  c.parameters.precision = Precision(f.one_of("precision", kPrecisions, 0));
  const std::size_t frozen = f.one_of("frozen", kFrozen, 0);
  if (frozen > 0) c.parameters.frozen = Format(frozen - 1);
  c.keep_blocks = f.one_of("recompute", kRecompute, 1) == 0 ? Keep::kAll : Keep::kInputs;
  c.loss_chunk = f.at_least("loss_chunk", c.loss_chunk, 1);
  c.feature_cache_mib = f.at_least("feature_cache_mib", c.feature_cache_mib, 0.0);
  c.prefetch = f.at_least("prefetch", c.prefetch, 0);
  c.memory_limit_mib = f.at_least("memory_limit_mib", c.memory_limit_mib, 0.0);
}

inline void read_saving(Fields& f, RunConfig& c) {
  c.output = f.require<std::string>("output");
  c.save_every = f.at_least("save_every", c.save_every, 0);
  c.keep = f.at_least("keep", c.keep, 1);
  constexpr std::string_view kFormats[] = {"f32", "f16", "bf16"}, kFiles[] = {"none", "safetensors", "bin", "both"};
  c.export_format = kFormats[f.one_of("export_format", kFormats, 0)];
  const std::size_t files = f.one_of("export", kFiles, c.stage == Stage::kLora ? 0 : 1);
  c.export_files.clear();
  if (files == 1 || files == 3) c.export_files.push_back("safetensors");
  if (files == 2 || files == 3) c.export_files.push_back("bin");
}

}  // namespace detail

// `where`: what errors name. Errors: kFormat, which names the field; as read_lora_options.
inline RunConfig read_run_config(const nlohmann::json& json, const std::string& where) {
  detail::Fields f(json, where);
  RunConfig c;
  c.model = f.require<std::string>("model");
  c.image_tower = f.get<std::string>("image_tower", "");
  c.video_tower = f.get<std::string>("video_tower", "");
  c.tokenizer = f.get<std::string>("tokenizer", "");
  c.tower_heads = f.at_least("tower_heads", 0, 0);
  c.stage = Stage(f.one_of("stage", kStageNames, std::size_t(Stage::kStage2)));
  using enum run::Part;
  c.parameters.trained = {kLandmarks};
  if (c.stage != Stage::kStage1) c.parameters.trained.push_back(kProjector);
  if (c.stage == Stage::kStage2) c.parameters.trained.push_back(kDecoder);
  constexpr std::string_view kLandmarkModules[] = {"load", "begin_if_missing"};
  if (f.one_of("landmark_modules", kLandmarkModules, 0) == 1) c.parameters.landmarks = run::Missing::kAllow;
  detail::read_data(f, c);
  detail::read_optimizer(f, c);
  detail::read_lora(f, c);
  detail::read_heads(f, c);
  detail::read_order(f, c);
  detail::read_memory(f, c);
  detail::read_saving(f, c);
  c.effective = f.finish();
  return c;
}

}  // namespace facellava::train

// bench_train: one optimiser step of train::Model at a real geometry, towers included; pictures, landmarks and text are
// random, and so are the weights, which are written to a folder first, where a peer reads them.
//   bench_train --geometry small --stage stage2 --weights f32 --threads 2 --folder /tmp/small
// --serve answers every line of standard input with one step's time, so that a script can alternate it with a peer.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <iostream>

#include "facellava/cpu/device.hpp"
#include "facellava/io/sharded_writer.hpp"
#include "facellava/train/model.hpp"
#include "facellava/train/step.hpp"
#include "measure.hpp"
#include "random_matrix.hpp"

namespace {

using namespace facellava;
using namespace facellava::bench;

constexpr FaceLlavaConfig kSmall{
    .image = {.side = 112, .patch = 14, .layers = 7, .run_layers = 6, .block = {.dim = 192, .ffn = 768, .heads = 3}},
    .llama = {.vocab = 1024, .layers = 4, .block = {.dim = 256, .ffn = 688, .heads = 4, .kv_heads = 4}},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 256}};
constexpr FaceLlavaConfig kMiddle{
    .image =
        {.side = 224, .patch = 16, .layers = 12, .run_layers = 11, .block = {.dim = 768, .ffn = 3072, .heads = 12}},
    .llama = {.vocab = 8000, .layers = 8, .block = {.dim = 512, .ffn = 1376, .heads = 8, .kv_heads = 8}},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 512}};

struct Shape {
  const char* name;
  int samples, text, answer;  // of the text, behind the picture, the part that is learned
};
constexpr Shape kSmallShape{"small", 32, 64, 32}, kMiddleShape{"middle", 8, 60, 32};

struct StepBench {
  std::string geometry = "small", stage = "stage2", weights = "f32", recompute = "none", folder, isa = "auto";
  int threads = 2, runs = 3;
  bool in_service = false;
};

// Norms begin at 1, biases at 0, matrices even over ±sqrt(3 / columns).
void write_model(const std::string& folder, const std::vector<io::TensorInfo>& tensors, const nlohmann::json& config) {
  Rng rng(11);
  std::vector<float> values;
  std::size_t bytes = 0;
  for (const io::TensorInfo& t : tensors) bytes += std::size_t(*io::checked_bytes(t.dtype, t.shape));
  io::ShardedWriter(tensors, bytes).write(folder, "bench_train", [&](const io::TensorInfo& t) {
    const Index n = *io::checked_count(t.shape);
    values.assign(std::size_t(n), t.name.ends_with(".weight") ? 1.f : 0.f);
    if (t.shape.size() > 1) fill(values.begin(), values.end(), std::sqrt(3. * double(t.shape[0]) / double(n)), rng);
    return std::as_bytes(std::span(values));
  });
  const std::string text = config.dump(2);
  io::write_file_atomically(folder + "/config.json", std::as_bytes(std::span(text)));
}

struct Inputs {
  std::vector<run::MediumInput> pictures;
  std::vector<train::Sample> samples;
};

// Every sample: BOS, a picture, then text of which the end is learned. A peer finds the same in inputs.safetensors.
Inputs make_inputs(const std::string& folder, const Shape& shape, const FaceLlavaConfig& c) {
  Rng rng(12);
  Inputs in;
  std::vector<float> pixels, points;
  std::vector<std::int64_t> words;
  for (int s = 0; s < shape.samples; ++s) {
    run::MediumInput m{text::Medium::kImage, std::vector<float>(std::size_t(3 * c.image.side * c.image.side)),
                       std::vector<float>(2 * kPoints)};
    fill(m.pixels.begin(), m.pixels.end(), 2, rng);
    for (float& p : m.points) p = float(rng.uniform());
    pixels.insert(pixels.end(), m.pixels.begin(), m.pixels.end());
    points.insert(points.end(), m.points.begin(), m.points.end());
    train::Sample sample;
    sample.index = std::size_t(s);
    sample.rows_of_slot = c.image.features();
    sample.request.ids = {1, text::kMediaSlot};
    for (int i = 0; i < shape.text; ++i) {
      words.push_back(std::int64_t(rng.next() % std::uint64_t(c.llama.vocab)));
      sample.request.ids.push_back(int(words.back()));
    }
    sample.labels.assign(sample.request.ids.size(), text::kIgnored);
    std::copy(sample.request.ids.end() - shape.answer, sample.request.ids.end(), sample.labels.end() - shape.answer);
    sample.request.media.push_back({text::Medium::kImage, {}, {}});
    in.pictures.push_back(std::move(m));
    in.samples.push_back(std::move(sample));
  }
  const auto bytes = [](const auto& v) { return std::as_bytes(std::span(v)); };
  const std::vector<Index> all_words{shape.samples, shape.text};
  const std::vector<io::NamedTensor> tensors{
      {"pixels", io::DType::kF32, {shape.samples, 3, c.image.side, c.image.side}, bytes(pixels)},
      {"points", io::DType::kF32, {shape.samples, 2 * kPoints}, bytes(points)},
      {"words", io::DType::kI64, all_words, bytes(words)}};
  io::write_safetensors(folder + "/inputs.safetensors", tensors, {{"answer", std::to_string(shape.answer)}});
  return in;
}

double peak_mib() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return double(use.ru_maxrss) / 1024;
}

train::ParameterOptions parameters_of(const StepBench& o) {
  train::ParameterOptions p{.trained = {run::Part::kLandmarks}};
  if (o.stage == "stage2") p.trained.insert(p.trained.end(), {run::Part::kProjector, run::Part::kDecoder});
  if (o.weights == "bf16") {
    p.precision = train::Precision::kBf16;
    p.frozen = Format::kBf16;
  }
  return p;
}

template <FaceLlavaConfig C>
void bench_step(const StepBench& o, const Shape& shape) {
  using Model = train::Model<FaceLlava<C>, cpu::Device>;
  const double before = peak_mib();
  if (!std::filesystem::exists(o.folder + "/config.json"))
    write_model(o.folder, run::official_tensors<FaceLlava<C>>(), run::official_config(C));
  const Inputs in = make_inputs(o.folder, shape, C);
  const run::ModelFolder files({o.folder});
  const cpu::Options device{.threads = o.threads, .isa = cpu::isa_from_name(o.isa)};
  const train::ModelOptions how{o.recompute == "none" ? Keep::kAll : Keep::kInputs};
  Model model(files, parameters_of(o), how, device);
  const train::StepOptions options{.rate = {train::Schedule::kConstant, 1e-4, 0, 1}};
  long t = 0;
  train::StepResult last;
  const auto run = [&] {
    train::Batch batch;
    for (const run::MediumInput& m : in.pictures) batch.media.push_back({{m.kind, model.encode(m), m.points, {}}});
    batch.rows = train::batch_rows(in.samples);
    last = train::step(model, std::span(&batch, 1), options, t++);
  };
  run();
  train::BatchShape whole;
  for (const train::Sample& s : in.samples) add(whole, {train::rows_of(s), shape.answer, train::rows_of(s)});
  whole.frames[0] = shape.samples;
  const train::MemoryPlan plan = Model::plan(files, parameters_of(o), how, {{whole}, {}, 0}, device);
  const nlohmann::json described{{"geometry", o.geometry},
                                 {"stage", o.stage},
                                 {"weights", o.weights},
                                 {"isa", o.isa},
                                 {"recompute", o.recompute},
                                 {"threads", o.threads},
                                 {"tokens", last.rows},
                                 {"loss", last.loss},
                                 {"norm", last.grad_norm},
                                 {"before_mib", before},
                                 {"plan_mib", double(plan.total()) / 1048576}};
  std::cout << described.dump() << std::endl;
  const auto timed = [&](const Seconds& s) {
    std::cout << nlohmann::json{{"wall", s.wall}, {"cpu", s.cpu}, {"peak_mib", peak_mib()}}.dump() << std::endl;
  };
  if (!o.in_service) return timed(best_of(o.runs, 0, o.threads, run));
  for (std::string line; std::getline(std::cin, line);) timed(time_once(o.threads, run));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"One step of training at a real geometry"};
  StepBench o;
  app.add_option("--geometry", o.geometry)->check(CLI::IsMember({"small", "middle"}))->capture_default_str();
  app.add_option("--stage", o.stage)->check(CLI::IsMember({"stage1", "stage2"}))->capture_default_str();
  app.add_option("--weights", o.weights, "f32, or bf16 with fp32 masters")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--recompute", o.recompute)->check(CLI::IsMember({"none", "blocks"}))->capture_default_str();
  app.add_option("--folder", o.folder, "where the random model and the inputs are kept")->required();
  app.add_option("--isa", o.isa, "portable, avx2, avx512, avx512bf16, amx, auto")->capture_default_str();
  app.add_option("--threads", o.threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--runs", o.runs)->capture_default_str();
  app.add_flag("--serve", o.in_service, "one step for every line of standard input");
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.geometry == "small")
      bench_step<kSmall>(o, kSmallShape);
    else
      bench_step<kMiddle>(o, kMiddleShape);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

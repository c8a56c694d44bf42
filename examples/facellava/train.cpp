// facellava train: a run of training from run.json.
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iostream>

#include "facellava/text/load_tokenizer.hpp"
#include "facellava/train/gradient_check.hpp"
#include "facellava/train/run.hpp"
#include "options.hpp"
#include "plot.hpp"
#include "progress.hpp"
#include "registry.hpp"
#include "trainers.hpp"
#include "video_file.hpp"

namespace tool {
namespace {

using namespace facellava;

constexpr int kStoppedExit = 75;  // saved, to be gone on with: EX_TEMPFAIL

volatile std::sig_atomic_t stop_asked = 0;
void ask_to_stop(int) { stop_asked = 1; }

struct TrainOptions {
  std::string config, isa = "auto", gradients;
  int threads = 0;
  std::size_t check = 0;
  bool resume = false, quiet = false, plan = false, json = false;
};

Trainer trainer_named(const std::string& name) {
#define FACELLAVA_TOOL_CONFIG(config) \
  if (const Trainer t = trainer_##config(); name == t.name) return t;
#include "tool_configs.inc"
#undef FACELLAVA_TOOL_CONFIG
  for (const Trainer& t : extra_trainers())
    if (name == t.name) return t;
  throw Error(ErrorKind::kArgument, "the configuration " + name + " has no trainer in this build");
}

train::DataSet open_data(const train::RunConfig& c, const run::ModelFolder& folder, const FaceLlavaConfig& geometry) {
  train::DataOptions o = train::data_options(folder);
  o.model = geometry;
  if (!c.prompt_template.empty()) o.prompt_template = text::template_from_name(c.prompt_template);
  if (c.masks == "corrected") o.labels.policy = text::MaskPolicy::kCorrected;
  if (c.context > 0) o.context = c.context;
  if (c.padding != "model") o.padding = c.padding == "square" ? media::Padding::kSquare : media::Padding::kNone;
  o.root = c.root;
  o.videos = video_source();
  o.heads = c.parameters.heads;
  o.head_tower = c.parameters.head_tower;
  if (c.stage == train::Stage::kTower) {
    o.conversations = train::Conversations::kSkipped;
    return {c.data, nullptr, std::move(o)};
  }
  auto words = c.tokenizer.empty()
                   ? text::load_tokenizer(c.model)
                   : text::Tokenizer::from_file(c.tokenizer, text::read_legacy(c.model + "/tokenizer_config.json"));
  return {c.data, std::make_shared<const text::Tokenizer>(std::move(words)), std::move(o)};
}

std::vector<std::size_t> checked_samples(const train::RunConfig& c, const train::DataSet& data) {
  ProgressBar bar({"samples checked", 1});
  train::ValidateOptions options;
  options.progress = [&](std::size_t done, std::size_t all) { bar.show(done, all); };
  const train::DataReport report = train::validate(data, options);
  auto samples = train::admitted_samples(report, c.skip);
  for (const train::Fault& f : report.faults) std::cerr << c.data << ": " << f.text() << "\n";
  return samples;
}

// Samples that a plan may count; media are not looked at.
std::vector<std::size_t> sound_samples(const train::DataSet& data) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < data.size(); ++i) {
    try {
      data.encode(i);
      all.push_back(i);
    } catch (const Error& e) {
      std::cerr << "left out of the plan: " << e.what() << "\n";
    }
  }
  return all;
}

train::MemoryPlan plan_of(const TrainOptions& o, const train::RunConfig& c, const run::ModelFolder& folder,
                          const Entry& entry, const train::TrainingWork& work) {
  return trainer_named(entry.name)
      .plan(folder, c.parameters, {c.keep_blocks, c.loss_chunk}, work,
            {.threads = o.threads, .isa = cpu::isa_from_name(o.isa)});
}

// The plan with recompute on and off.
void print_plan(const TrainOptions& o, train::RunConfig c, const run::ModelFolder& folder, const Entry& entry,
                const train::TrainingWork& work) {
  const std::size_t available = available_memory();
  const std::pair<const char*, Keep> ways[] = {{"blocks", Keep::kInputs}, {"none", Keep::kAll}};
  nlohmann::json out{{"config", entry.name}};
  if (available != kNoLimit) out["available"] = available;
  for (const auto& [name, keep] : ways) {
    c.keep_blocks = keep;
    const train::MemoryPlan plan = plan_of(o, c, folder, entry, work);
    nlohmann::json lines = nlohmann::json::array();
    for (const auto& l : plan.lines()) lines.push_back({{"what", l.what}, {"bytes", l.bytes}});
    out["recompute"][name] = {{"lines", lines}, {"total", plan.total()}};
    if (o.json) continue;
    std::cout << entry.name << ", recompute: " << name << "\n" << plan.text();
    if (available != kNoLimit)
      std::cout << (plan.total() <= available ? "fits into the " : "does not fit into the ") << available / (1 << 20)
                << " MiB that are available here\n";
  }
  if (o.json) std::cout << out.dump(1) << "\n";
}

void print_checked(std::span<const train::CheckedGradient> checked) {
  std::printf("%-60s %14s %14s %10s\n", "largest gradient of", "gradient", "difference", "off by");
  for (const train::CheckedGradient& g : checked)
    std::printf("%-60s %14.6e %14.6e %9.2f%%\n", g.name.c_str(), g.gradient, g.difference, 100 * g.error());
}

std::string progress_line(const train::StepReport& r) {
  char text[160];
  const int n = std::snprintf(text, sizeof text, "loss %.4f, rate %.3g, gradient norm %.4g", r.result.loss,
                              r.result.rate, r.result.grad_norm);
  if (r.result.rows > 0 && r.seconds > 0)
    std::snprintf(text + n, sizeof text - std::size_t(n), ", %.0f tokens/s", double(r.result.rows) / r.seconds);
  return text;
}

// metrics.svg from metrics.jsonl, which has the steps before a resumption too.
void draw_metrics(const std::string& output) {
  std::vector<double> steps;
  std::vector<Curve> curves{
      {"loss", {}, true}, {"learning rate", {}, false}, {"gradient norm, before clipping", {}, true}};
  constexpr const char* kKeys[] = {"loss", "learning_rate", "grad_norm"};
  std::ifstream file(output + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto m = nlohmann::json::parse(line);
    steps.push_back(m.at("step").get<double>());
    for (std::size_t i = 0; i < curves.size(); ++i) curves[i].y.push_back(m.at(kKeys[i]).get<double>());
  }
  const std::string svg = Plot(output, "step", std::move(steps)).svg(curves);
  io::write_file_atomically(output + "/metrics.svg", std::as_bytes(std::span(svg)));
}

train::RunHooks hooks_of(const TrainOptions& o) {
  std::signal(SIGTERM, ask_to_stop);
  std::signal(SIGINT, ask_to_stop);
  train::RunHooks hooks;
  hooks.stop = [] { return stop_asked != 0; };
  auto bar = std::make_shared<ProgressBar>(ProgressUnit{"steps", 1});
  hooks.after_step = [bar, quiet = o.quiet](const train::StepReport& r) {
    if (::isatty(2))
      bar->show(std::size_t(r.step), std::size_t(r.steps), progress_line(r));
    else if (!quiet && (r.step == r.steps || r.step % std::max(1L, r.steps / 100) == 0))
      std::cout << "step " << r.step << " of " << r.steps << ": " << progress_line(r) << std::endl;
  };
  return hooks;
}

void run_training(const TrainOptions& o) {
  const train::Begin begin = o.resume ? train::Begin::kResume : train::Begin::kNew;
  const train::RunConfig c = train::read_run_config(io::read_json(o.config), o.config);
  if (!o.quiet && !o.plan) std::cout << c.effective.dump(1) << "\n";
  if (o.check == 0 && !o.plan) train::prepare_output(c, begin);
  const run::ModelFolder folder({c.model, c.image_tower, c.video_tower, c.tower_heads});
  const Entry entry = find_entry("", folder);
  const train::DataSet data = open_data(c, folder, entry.config);
  if (o.plan) return print_plan(o, c, folder, entry, train::work_of(c, data, sound_samples(data)));
  const auto samples = checked_samples(c, data);
  if (c.memory_limit_mib > 0)
    train::check_fits(plan_of(o, c, folder, entry, train::work_of(c, data, samples)),
                      std::size_t(c.memory_limit_mib * 1048576), o.config + ": \"memory_limit_mib\"");
  const auto model = trainer_named(entry.name)
                         .open(folder, c.parameters, {c.keep_blocks, c.loss_chunk},
                               {.threads = o.threads, .isa = cpu::isa_from_name(o.isa)});
  if (!c.adapter.empty()) train::load_adapter(c.adapter, model->parameters());
  if (o.check > 0) {
    train::Batcher batcher(data, *model, 0);
    const auto packs = train::StepPlan(c, data, samples).at(0)[0];
    return print_checked(train::check_gradients(*model, batcher.finish(batcher.read(packs)), o.check));
  }
  train::Run run(c, data, samples, *model, begin);
  if (!o.gradients.empty() && run.done() < run.steps()) {
    train::accumulate(*model, run.batches(run.done()), run.done());
    train::write_gradients(o.gradients, model->parameters());
  }
  const train::Ended ended = run.go(hooks_of(o));
  draw_metrics(c.output);
  if (ended == train::Ended::kStopped) {
    std::cerr << "facellava: stopped after step " << run.done() << " of " << run.steps()
              << ", which is saved; --resume goes on\n";
    throw CLI::RuntimeError(kStoppedExit);
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto o = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a model as run.json says");
  command->add_option("--config", o->config, "run.json: model, data, output, stage ... (docs/training.md)")->required();
  command->add_flag("--resume", o->resume, "Go on from the newest checkpoint in the output folder, bitwise");
  command->add_option("--dump-gradients", o->gradients,
                      "Write the gradients of the first step, before clipping, to this .safetensors file");
  command
      ->add_option("--check-gradients", o->check,
                   "Compare gradients of so many tensors with finite differences on the first batch; no training")
      ->check(CLI::PositiveNumber);
  command->add_flag("--plan", o->plan,
                    "Print the memory that the run will take; no weights are read, nothing is trained");
  command->add_flag("--json", o->json, "Print the plan as JSON, in bytes")->needs("--plan");
  command->add_option("--threads", o->threads, "Threads; 0: one a hardware thread; changes no bit")
      ->capture_default_str();
  command->add_option("--isa", o->isa, "Instruction set: auto, portable, avx2, avx512, avx512bf16, amx")
      ->capture_default_str();
  command->add_flag("--quiet", o->quiet, "Print nothing but errors and, in a terminal, the bar");
  command->callback([o] { run_training(*o); });
}

}  // namespace tool

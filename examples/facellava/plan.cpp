// facellava plan: the memory that questions will take, of a folder or of a configuration whose weights need not be
// there.
#include <cstdio>
#include <iostream>

#include "facellava/models/cost.hpp"
#include "options.hpp"
#include "registry.hpp"

namespace tool {
namespace {

using namespace facellava;

struct PlanOptions {
  run::FolderOptions folder;
  std::string config, weights = "auto", isa = "auto", device;
  Index batch = 1, tokens = 64, reserve = 256, images = 0, videos = 0, chunk = 512;
  int threads = 0;
  bool json = false;
};

std::optional<Format> weights_format(const std::string& name) {
  for (Format f : kFormats)
    if (name == format_name(f)) return f;
  return std::nullopt;
}

struct Bound {
  std::string what;
  Cost cost;
};
// What the questions are made of, on a machine of kMachines.
std::vector<Bound> bounds_of(const PlanOptions& o, const FaceLlavaConfig& c, Format weights, Index rows) {
  constexpr double kKeyBytes = 2;  // bf16
  std::vector<Bound> bounds;
  if (o.images > 0) bounds.push_back({"a picture through its tower", tower_cost(c.image, weights)});
  if (o.videos > 0) bounds.push_back({"a video through its tower", tower_cost(c.video, weights)});
  bounds.push_back({"prefill of " + std::to_string(o.batch) + " x " + std::to_string(rows) + " rows",
                    decoder_cost(c.llama, weights, o.batch, 0, rows, o.batch, kKeyBytes)});
  bounds.push_back({"a token of every answer", decoder_cost(c.llama, weights, o.batch, rows, 1, o.batch, kKeyBytes)});
  bounds.push_back(
      {"a training step on these rows", training_cost(c.llama, weights, o.batch * rows, rows, o.batch * rows)});
  return bounds;
}

Machine machine_named(const std::string& name) {
  std::string names;
  for (const Machine& m : kMachines) {
    if (m.name == name) return m;
    names.append(names.empty() ? "" : ", ").append(m.name);
  }
  throw Error(ErrorKind::kArgument, "--device: expected one of " + names + ", found " + name);
}

void print_bounds(const PlanOptions& o, const Entry& entry, Format weights, Index rows, std::size_t total) {
  const Machine m = machine_named(o.device);
  if (rows < 1) throw Error(ErrorKind::kArgument, "plan --device: expected tokens or a picture, found none");
  const auto bounds = bounds_of(o, entry.config, weights, rows);
  if (o.json) {
    nlohmann::json all = nlohmann::json::array();
    for (const Bound& b : bounds)
      all.push_back({{"what", b.what},
                     {"operations", b.cost.operations},
                     {"bytes", b.cost.bytes},
                     {"seconds_fp32", least_seconds(b.cost, m, false)},
                     {"seconds_tensor_cores", least_seconds(b.cost, m, true)}});
    std::cout << nlohmann::json{{"device", m.name}, {"fits", double(total) <= m.memory}, {"bounds", all}}.dump(1)
              << "\n";
    return;
  }
  std::printf(
      "%s, weights in %s, on %s: %.1f of %.0f GB for weights and questions%s; %.2f TB/s, %.1f TFLOP/s in fp32, %.1f "
      "with "
      "tensor cores\n"
      "By its maker's figures nothing is faster than:   in fp32   with tensor cores\n",
      entry.name, format_name(weights), o.device.c_str(), double(total) / 1e9, m.memory / 1e9,
      double(total) <= m.memory ? "" : ", which is more than it has", m.bytes_per_second / 1e12, m.fp32 / 1e12,
      m.bf16 / 1e12);
  for (const Bound& b : bounds)
    std::printf("  %-40s %12.2f ms %12.2f ms\n", b.what.c_str(), least_seconds(b.cost, m, false) * 1e3,
                least_seconds(b.cost, m, true) * 1e3);
}

void print_plan(const PlanOptions& o) {
  if (o.folder.path.empty() && o.config.empty()) throw Error(ErrorKind::kArgument, "plan: give --model or --config");
  const auto format = weights_format(o.weights);
  std::optional<run::ModelFolder> folder;
  if (!o.folder.path.empty()) folder.emplace(o.folder);
  const Entry entry = folder ? find_entry(o.config, *folder) : named_entry(o.config);
  const auto weights =
      folder ? entry.planned_weights(*folder, {.convert = format}) : entry.all_weights(format.value_or(Format::kBf16));
  run::Workload work{.reserve = o.reserve};
  work.requests.assign(std::size_t(o.batch), {.text = o.tokens, .images = o.images, .videos = o.videos});
  const run::SessionOptions session{
      .kv_rows = run::rows_of(entry.config, work),
      .positions = folder ? folder->settings().positions : run::SessionOptions{}.positions,
      .chunk = o.chunk};
  const auto plan =
      entry.plan(weights, session, work, cpu::Options{.threads = o.threads, .isa = cpu::isa_from_name(o.isa)});
  if (!o.device.empty())
    return print_bounds(o, entry, format.value_or(Format::kBf16), session.kv_rows / o.batch - o.reserve, plan.total());
  const std::size_t available = available_memory();
  if (o.json) {
    nlohmann::json lines = nlohmann::json::array(), idle = nlohmann::json::array();
    for (const auto& l : plan.lines()) lines.push_back({{"what", l.what}, {"bytes", l.bytes}});
    for (const auto& w : plan.idle) idle.push_back({{"what", run::MemoryPlan::describe(w)}, {"bytes", w.bytes}});
    nlohmann::json out{{"config", entry.name}, {"lines", lines}, {"total", plan.total()}, {"not_read", idle}};
    if (available != kNoLimit) out["available"] = available;
    std::cout << out.dump(1) << "\n";
    return;
  }
  std::cout << entry.name << ", " << o.batch << (o.batch == 1 ? " request" : " requests") << " of " << o.tokens
            << " tokens, " << o.images << " pictures and " << o.videos << " videos, answers of " << o.reserve << "\n"
            << plan.text();
  if (available != kNoLimit)
    std::cout << (plan.total() <= available ? "fits into the " : "does not fit into the ") << available / (1 << 20)
              << " MiB that are available here\n";
}

}  // namespace

void add_plan(CLI::App& app) {
  auto o = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand("plan", "The memory that questions will take, before anything is loaded");
  command->add_option("--model", o->folder.path, "Model folder, or a .gguf file");
  command->add_option("--config", o->config, "Compiled configuration by name; its weights need not be there");
  command->add_option("--image-tower", o->folder.image_tower, "LanguageBind image folder");
  command->add_option("--video-tower", o->folder.video_tower, "LanguageBind video folder");
  command->add_option("--tower-heads", o->folder.tower_heads, "Attention heads of the towers")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--weights,--precision", o->weights,
                   "Format of the matrices: of --model after a conversion at load, of --config in its files; auto: as "
                   "stored, bf16 without a folder")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "q8", "q4", "q4_1", "nf4"}))
      ->capture_default_str();
  const auto count = [&](const char* name, Index& value, const char* what, int least) {
    command->add_option(name, value, what)->check(CLI::Range(least, 1 << 24))->capture_default_str();
  };
  count("--batch", o->batch, "Requests at a time", 1);
  count("--tokens", o->tokens, "Tokens of text of each", 0);
  count("--reserve", o->reserve, "Tokens of each answer, at most", 0);
  count("--chunk", o->chunk, "Rows that go through the decoder at a time", 1);
  command->add_flag("--image", o->images, "With a picture; twice: with two");
  command->add_flag("--video", o->videos, "With a video; likewise");
  command->add_option("--threads", o->threads, "Threads; 0: one a hardware thread")->capture_default_str();
  command->add_option("--isa", o->isa, "Instruction set")->capture_default_str();
  command->add_option(
      "--device", o->device,
      "h100 or rtx4090: the time that it needs at least, by its maker's figures, in place of the memory "
      "here; --weights auto: bf16");
  command->add_flag("--json", o->json, "Print JSON, in bytes");
  command->callback([o] { print_plan(*o); });
}

}  // namespace tool

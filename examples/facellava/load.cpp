// From --model to a model that can be asked: the folder's geometry finds the compiled configuration.
#include <chrono>
#include <fstream>
#include <iostream>
#include <optional>

#include "facellava/text/load_tokenizer.hpp"
#ifdef FACELLAVA_TOOL_CUDA
#include "models_cuda.hpp"
#endif
#include "options.hpp"
#include "registry.hpp"

namespace tool {

void ModelOptions::add_to(CLI::App& app) {
  app.add_option("--model", folder, "Model folder (config.json, weights, tokenizer.model), or a .gguf file")
      ->required();
  app.add_option("--tokenizer", tokenizer, "tokenizer.model, if not the model folder's");
  app.add_option("--config", config, "Compiled configuration by name; default: the one with the folder's geometry");
  app.add_option("--image-tower", image_tower, "LanguageBind image folder, if the model folder lacks the tower");
  app.add_option("--video-tower", video_tower, "LanguageBind video folder, likewise");
  app.add_option("--tower-heads", tower_heads, "Attention heads of the towers, where no file says them")
      ->check(CLI::PositiveNumber);
  app.add_option("--missing", missing, "What the checkpoint may lack: landmarks, towers")->delimiter(',');
  app.add_option("--device", device,
                 "cpu; cuda, which has never run on a GPU yet; auto: cuda where the tool has it and a device is found")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  app.add_option("--threads", threads, "Threads; 0: one a hardware thread")->capture_default_str();
  app.add_option("--isa", isa, "Instruction set: auto, portable, avx2, avx512, avx512bf16, amx")->capture_default_str();
  app.add_option(
         "--precision", precision,
         "f32: fp32 products of the weights as stored; bf16, q8, q4: weights in that format, activations rounded to "
         "bf16 or int8, sums in fp32; q4_1, nf4: weights in that format, fp32 products; auto: q8 and q4 where the "
         "weights are stored so, else f32")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "q8", "q4", "q4_1", "nf4"}))
      ->capture_default_str();
  app.add_option("--memory-limit", memory_limit,
                 "MiB that weights and session may take; 0: what the system says is available")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--verbose", verbose, "Say on stderr what is loaded and what memory it takes");
}

void GenerationOptions::add_to(CLI::App& app) {
  app.add_option("--max-new-tokens", max_new_tokens, "Longest answer; 0: none, for a dump alone")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--temperature", temperature, "0: greedy")->capture_default_str();
  app.add_option("--top-k", top_k, "Draw from the k most probable tokens; 0: all")->capture_default_str();
  app.add_option("--top-p", top_p, "Draw from the most probable tokens of this mass")->capture_default_str();
  app.add_option("--seed", seed, "Seed of the draws")->capture_default_str();
}

namespace {

std::vector<Entry> all_entries() {
  std::vector<Entry> all{
#define FACELLAVA_TOOL_CONFIG(name) entry_##name(),
#include "tool_configs.inc"
#undef FACELLAVA_TOOL_CONFIG
  };
  const auto extra = extra_entries();
  all.insert(all.end(), extra.begin(), extra.end());
  return all;
}

// q8 or q4 where a matrix is stored so.
std::string stored_precision(const facellava::io::Checkpoint& c) {
  std::string found = "f32";
  for (const auto& [name, entry] : c.tensors()) {
    if (entry.dtype == facellava::io::DType::kQ4) return "q4";
    if (entry.dtype == facellava::io::DType::kQ8) found = "q8";
  }
  return found;
}

#ifdef FACELLAVA_TOOL_CUDA
// Why the CUDA device cannot be used for a configuration; free: its free memory.
std::optional<std::string> cuda_is_missing(const std::string& config, std::size_t& free) {
  try {
    free = free_cuda_memory(config);
    return std::nullopt;
  } catch (const Error& e) {
    return e.what();
  }
}
#else
std::optional<std::string> cuda_is_missing(const std::string&, std::size_t&) {
  return "this tool was built without it: CMake found no nvcc, or FACELLAVA_CUDA is OFF";
}
std::unique_ptr<facellava::run::AnyModel> open_on_cuda(const std::string&, const facellava::run::ModelFolder&,
                                                       const facellava::run::LoadOptions&) {
  return nullptr;
}
#endif

// cpu or cuda, of what was asked for. Error kDevice where cuda is asked for and missing.
std::string choose_device(const std::string& asked, const std::string& config, std::size_t& free_on_cuda) {
  if (asked == "cpu") return asked;
  const auto reason = cuda_is_missing(config, free_on_cuda);
  if (asked == "auto") std::cerr << "device: " << (reason ? "cpu, for CUDA is missing: " + *reason : "cuda") << "\n";
  if (!reason) return "cuda";
  if (asked == "cuda") throw Error(ErrorKind::kDevice, "--device cuda: " + *reason);
  return "cpu";
}

std::string all_names() {
  std::string names;
  for (const Entry& e : all_entries()) names.append(names.empty() ? "" : ", ").append(e.name);
  return names;
}

}  // namespace

Entry named_entry(const std::string& name) {
  for (const Entry& e : all_entries())
    if (name == e.name) return e;
  throw Error(ErrorKind::kArgument, "--config: expected one of " + all_names() + ", found " + name);
}

Entry find_entry(const std::string& name, const facellava::run::ModelFolder& folder) {
  if (!name.empty()) {
    const Entry e = named_entry(name);
    if (facellava::run::runs(e.config, folder.geometry())) return e;
    throw Error(ErrorKind::kArgument, "the configuration " + name + " does not have the geometry of " + folder.path());
  }
  for (const Entry& e : all_entries())
    if (facellava::run::runs(e.config, folder.geometry())) return e;
  throw Error(ErrorKind::kArgument,
              "the geometry of " + folder.path() + " is not compiled into this tool (it has: " + all_names() +
                  "). Print it with `facellava config --from " + folder.path() +
                  " > my_model.hpp` and build with `cmake -DFACELLAVA_EXTRA_CONFIGS=my_model.hpp`");
}

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;)
    if (std::size_t kilobytes = 0; word == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
  return facellava::kNoLimit;
}

Loaded load(const ModelOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  facellava::run::ModelFolder folder({o.folder, o.image_tower, o.video_tower, o.tower_heads});
  facellava::run::LoadOptions options;
  for (const std::string& part : o.missing) {
    if (part == "landmarks")
      options.landmarks = facellava::run::Missing::kAllow;
    else if (part == "towers")
      options.towers = facellava::run::Missing::kAllow;
    else
      throw Error(ErrorKind::kArgument, "--missing: expected landmarks or towers, found " + part);
  }
  facellava::cpu::Options device{.threads = o.threads, .isa = facellava::cpu::isa_from_name(o.isa)};
  const std::string precision = o.precision == "auto" ? stored_precision(*folder.model()) : o.precision;
  if (precision != "f32") device.precision = facellava::cpu::Precision::kNative;
  if (o.precision != "auto" && o.precision != "f32")
    for (facellava::Format f : facellava::kFormats)
      if (o.precision == facellava::format_name(f)) options.convert = f;
  const Entry entry = find_entry(o.config, folder);
  std::size_t free = available_memory();
  const std::string chosen = choose_device(o.device, entry.name, free);
  options.services.memory_limit = o.memory_limit > 0 ? std::size_t(o.memory_limit * (1 << 20)) : free;
  if (o.verbose)
    options.services.log = [](facellava::LogLevel level, std::string_view text) {
      std::cerr << (level == facellava::LogLevel::kWarning ? "warning: " : "") << text << "\n";
    };
  auto tokenizer = o.tokenizer.empty()
                       ? facellava::text::load_tokenizer(o.folder)
                       : facellava::text::Tokenizer::from_file(
                             o.tokenizer, facellava::text::read_legacy(o.folder + "/tokenizer_config.json"));
  auto model = chosen == "cuda" ? open_on_cuda(entry.name, folder, options) : entry.open(folder, options, device);
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  return {std::move(folder), std::move(tokenizer), std::move(model), device, chosen, entry.name,
          precision,         spent.count(),        options.services};
}

}  // namespace tool

// What every command of the tool shares: which model, on what, how.
#pragma once
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>

#include "facellava/cpu/device.hpp"
#include "facellava/run/model.hpp"
#include "facellava/text/tokenizer.hpp"

namespace tool {

using facellava::Error;
using facellava::ErrorKind;

struct ModelOptions {
  std::string folder, tokenizer, config, image_tower, video_tower, device = "cpu", isa = "auto", precision = "auto";
  std::vector<std::string> missing;
  int tower_heads = 0, threads = 0;
  double memory_limit = 0;
  bool verbose = false;

  void add_to(CLI::App& app);
};

struct GenerationOptions {
  int max_new_tokens = 1024, top_k = 0;
  float temperature = 0, top_p = 1;
  std::uint64_t seed = 0;

  void add_to(CLI::App& app);
};

// A model that is ready to be asked.
struct Loaded {
  facellava::run::ModelFolder folder;
  facellava::text::Tokenizer tokenizer;
  std::unique_ptr<facellava::run::AnyModel> model;
  facellava::cpu::Options cpu;  // of what works on the CPU: nets, and the model unless device says cuda
  std::string device, config, precision;
  double milliseconds;
  facellava::Services services;  // of its sessions
};
Loaded load(const ModelOptions&);

// Bytes that the system can still give; no limit where it does not say.
std::size_t available_memory();

// Commands; each adds its options and what it does to the app. They throw facellava::Error.
void add_ask(CLI::App&);
void add_score(CLI::App&);
void add_tokenize(CLI::App&);
void add_inspect(CLI::App&);
void add_config(CLI::App&);
void add_preprocess(CLI::App&);
void add_diff(CLI::App&);
void add_convert(CLI::App&);
void add_random(CLI::App&);
void add_perplexity(CLI::App&);
void add_plan(CLI::App&);
void add_faces(CLI::App&);
void add_data(CLI::App&);
void add_train(CLI::App&);

}  // namespace tool

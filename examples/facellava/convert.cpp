// facellava convert: a model folder in another format; towers from folders of their own become part of it.
#include "facellava/io/convert.hpp"

#include <filesystem>
#include <fstream>
#include <iostream>

#include "options.hpp"
#include "progress.hpp"

namespace tool {
namespace {

using namespace facellava;
namespace fs = std::filesystem;

struct ConvertOptions {
  run::FolderOptions from;
  std::string to, format = "keep";
  double shard_gigabytes = 4;
  int threads = 0;
};

std::optional<Format> format_from_name(const std::string& name) {
  if (name == "keep") return std::nullopt;
  std::string known = "keep";
  for (Format f : kFormats) {
    if (name == format_name(f)) return f;
    known.append(", ").append(format_name(f));
  }
  throw Error(ErrorKind::kArgument, "--format: expected one of " + known + ", found " + name);
}

// What the target's config.json says beyond the source's: the heads of towers that came from folders of their own.
nlohmann::json target_config(const run::ModelFolder& source, const std::string& folder) {
  nlohmann::json config = io::read_json((fs::path(folder) / "config.json").string());
  const int heads = std::max(source.geometry().image.block.heads, source.geometry().video.block.heads);
  if (heads > 0) config["facellava"]["tower_heads"] = heads;
  return config;
}

void write_text(const fs::path& file, const std::string& text) {
  io::write_file_atomically(file.string(), std::as_bytes(std::span(text)));
}

// Everything beside weights: tokenizer, generation settings, licences. Not config.json, which comes last.
void copy_rest(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path& file = entry.path();
    const std::string name = file.filename().string(), kind = file.extension().string();
    const bool weights = kind == ".safetensors" || kind == ".bin" || name.ends_with(".index.json") || kind == ".pt" ||
                         kind == ".gguf" || name.find(".partial-") != name.npos;
    if (entry.is_regular_file() && !weights && name != "config.json")
      fs::copy_file(file, to / name, fs::copy_options::overwrite_existing);
  }
}

void convert(const ConvertOptions& o) {
  if (o.from.path.ends_with(".gguf"))
    throw Error(ErrorKind::kArgument, "convert: a .gguf file is read as it is; give --model it in place of a folder");
  if (!(o.shard_gigabytes > 0)) throw Error(ErrorKind::kArgument, "--shard-gigabytes: expected more than 0");
  const auto format = format_from_name(o.format);
  const fs::path to(o.to);
  if (fs::exists(to) && fs::exists(o.from.path) && fs::equivalent(to, o.from.path))
    throw Error(ErrorKind::kArgument, "--to: expected another folder than the model's own");
  if (fs::exists(to / "config.json"))
    throw Error(ErrorKind::kArgument, "--to: " + o.to + " already holds a model: choose another folder");
  const run::ModelFolder source(o.from);
  std::vector<io::ConvertSource> sources{{source.model()}};
  if (source.image_tower())
    sources.push_back({source.image_tower(), "vision_model.", "model.image_tower.image_tower."});
  if (source.video_tower())
    sources.push_back({source.video_tower(), "vision_model.", "model.video_tower.video_tower."});
  ProgressBar bar;
  const io::Converter converter(sources, {.format = format,
                                          .shard_bytes = std::size_t(o.shard_gigabytes * 1e9),
                                          .threads = o.threads,
                                          .progress = [&](std::size_t done, std::size_t all) { bar.show(done, all); }});
  converter.write(o.to);
  copy_rest(o.from.path, to);
  write_text(to / "config.json", target_config(source, o.from.path).dump(2));
  std::cout << o.to << ": " << converter.shards() << " shards, " << converter.bytes() << " bytes of weights\n";
}

}  // namespace

void add_convert(CLI::App& app) {
  auto o = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand(
      "convert", "Write a model folder in another format; a run that was cut off goes on where it stopped");
  command->add_option("--model", o->from.path, "Model folder to read")->required();
  command->add_option("--to", o->to, "Folder to write")->required();
  command->add_option("--format", o->format, "Of matrices: keep, f32, f16, bf16, q8, q4, q4_1, nf4")
      ->capture_default_str();
  command->add_option("--image-tower", o->from.image_tower, "LanguageBind image folder, to become part of the model");
  command->add_option("--video-tower", o->from.video_tower, "LanguageBind video folder, likewise");
  command->add_option("--tower-heads", o->from.tower_heads, "Attention heads of the towers, where no file says them")
      ->check(CLI::PositiveNumber);
  command->add_option("--shard-gigabytes", o->shard_gigabytes, "Largest shard")->capture_default_str();
  command->add_option("--threads", o->threads, "Threads; 0: one a hardware thread")->capture_default_str();
  command->callback([o] { convert(*o); });
}

}  // namespace tool

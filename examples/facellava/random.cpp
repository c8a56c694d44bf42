// facellava random: a model folder of a compiled configuration with random weights, to measure with or to train.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>

#include "facellava/core/rng.hpp"
#include "facellava/io/convert.hpp"
#include "facellava/run/official_layout.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "registry.hpp"

namespace tool {
namespace {

using namespace facellava;
namespace fs = std::filesystem;

enum class Start { kNormal, kScaled };
struct RandomOptions {
  std::string config, to, format = "bf16", tokenizer, settings;
  int shards = 1;
  Start start = Start::kNormal;
  std::uint64_t seed = 0;
};

// Of standard deviation 1, within ± 3.5: the sum of four even numbers of 16 bits.
float bell(Rng& random) {
  const std::uint64_t bits = random.next();
  const auto sum = float((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
  return (sum - 2 * 65535.f) * (1.7320508f / 65536);
}

// Positions as waves: of each quarter of a row sin x, cos x, sin y, cos y at wavelengths from 2π to 20000π patches; the
// class token's row is 0. Source: Beyer et al., "Better plain ViT baselines for ImageNet-1k" (arXiv 2205.01580).
void fill_positions(std::vector<float>& row, Index r, Index side) {
  const std::size_t quarter = row.size() / 4;
  if (r == 0) return void(std::ranges::fill(row, 0.f));
  const double at[] = {double((r - 1) % side), double((r - 1) / side)};
  for (std::size_t i = 0; i < 4 * quarter; ++i) {
    const double angle = at[i / (2 * quarter)] * std::pow(1e4, -double(i % quarter) / double(quarter));
    row[i] = float(i / quarter % 2 == 0 ? std::sin(angle) : std::cos(angle));
  }
}

bool ends_with_one_of(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(ends, [&](std::string_view end) { return name.ends_with(end); });
}

// Of what is drawn, the standard deviation. 0.02 as models of this kind begin; in small ones, where that is next to
// nothing, 0.8 / √inputs keeps what a layer gets at its size. What a block adds to its input is smaller by
// √(2 · layers), so that the sum keeps its size too, words begin at that of the rest, and what is seen at twice it:
// else all that is lost behind the first block, and the model long learns the most frequent answers alone.
float deviation_of(const io::TensorInfo& t, Start start, const FaceLlavaConfig& c) {
  if (start == Start::kNormal || ends_with_one_of(t.name, {"class_embedding", "temporal_embedding"})) return 0.02f;
  const auto inputs = float(*io::checked_count(t.shape) / t.shape[0]);
  if (t.name.ends_with("embed_tokens.weight")) return 1.1f / std::sqrt(inputs);
  const bool added =
      ends_with_one_of(t.name, {"_attn.out_proj.weight", "mlp.fc2.weight", "_attn.o_proj.weight", "down_proj.weight"});
  const int layers = t.name.find("image_tower") != t.name.npos   ? c.image.layers
                     : t.name.find("video_tower") != t.name.npos ? c.video.layers
                                                                 : c.llama.layers;
  const bool seen = ends_with_one_of(t.name, {"mm_projector.2.weight", "landmarks_cross_attn.linear_proj.weight"});
  return (seen ? 1.6f : 0.8f) / std::sqrt(inputs * (added ? float(2 * layers) : 1.f));
}

// Scales of norms are 1, biases 0; a stored distance scale is 4, which tells regions of a face apart and shuts none
// out.
void fill(std::vector<std::byte>& out, const io::TensorInfo& t, Format format, Start start, const FaceLlavaConfig& c,
          std::uint64_t seed) {
  const Index rows = t.shape[0], columns = *io::checked_count(t.shape) / rows, step = row_bytes(format, columns);
  out.assign(std::size_t(rows * step), std::byte{});
  const bool drawn = t.shape.size() > 1 || t.name.ends_with("class_embedding");
  const bool waves = start == Start::kScaled && t.name.ends_with("position_embedding.weight");
  const float deviation = deviation_of(t, start, c), constant = t.name.ends_with(".weight")          ? 1.f
                                                                : t.name.ends_with("distance_scale") ? 4.f
                                                                                                     : 0.f;
  const auto side = Index(std::lround(std::sqrt(double(rows - 1))));
  io::in_shares(rows, 0, [&](Index first, Index end) {
    std::vector<float> row(std::size_t(columns), constant);
    for (Index r = first; r < end; ++r) {
      Rng random(Rng(seed + std::uint64_t(r)).next());  // of seeds that follow one another rows would be alike
      if (waves)
        fill_positions(row, r, side);
      else if (drawn)
        for (float& x : row) x = deviation * bell(random);
      quantise_row(format, out.data() + r * step, row.data(), columns);
    }
  });
}

void write_random(const RandomOptions& o) {
  const Entry entry = named_entry(o.config);
  const Format format = o.format == "f32" ? Format::kF32 : o.format == "f16" ? Format::kF16 : Format::kBf16;
  if (fs::exists(fs::path(o.to) / "config.json"))
    throw Error(ErrorKind::kArgument, "--to: " + o.to + " already holds a model: choose another folder");
  std::vector<io::TensorInfo> tensors = entry.tensors();
  std::size_t bytes = 0, most = 0;
  for (io::TensorInfo& t : tensors) {
    t.dtype = io::dtype_of(format);
    const auto size = std::size_t(*io::checked_bytes(t.dtype, t.shape));
    bytes += size;
    most = std::max(most, size);
  }
  const io::ShardedWriter writer(tensors, o.shards == 1 ? bytes : bytes / std::size_t(o.shards) + most);
  ProgressBar bar;
  std::vector<std::byte> memory;
  std::uint64_t seed = o.seed;
  writer.write(
      o.to, "random " + o.config + " " + o.format + " " + std::to_string(o.seed),
      [&](const io::TensorInfo& t) {
        std::uint64_t hash = seed;
        for (const char c : t.name) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
        fill(memory, t, format, o.start, entry.config, hash);
        return std::span<const std::byte>(memory);
      },
      [&](std::size_t done, std::size_t all) { bar.show(done, all); });
  if (!o.tokenizer.empty())
    fs::copy_file(o.tokenizer, fs::path(o.to) / "tokenizer.model", fs::copy_options::overwrite_existing);
  nlohmann::json json = run::official_config(entry.config);
  if (!o.settings.empty()) json.merge_patch(io::read_json(o.settings));
  const std::string config = json.dump(2);
  io::write_file_atomically((fs::path(o.to) / "config.json").string(), std::as_bytes(std::span(config)));
  std::cout << o.to << ": " << writer.shards() << " shards, " << bytes << " bytes of random weights\n";
}

}  // namespace

void add_random(CLI::App& app) {
  auto o = std::make_shared<RandomOptions>();
  CLI::App* command =
      app.add_subcommand("random", "Write a model folder with random weights, to measure with or to train");
  command->add_option("--config", o->config, "Compiled configuration, by name")->required();
  command->add_option("--to", o->to, "Folder to write")->required();
  command->add_option("--format", o->format, "f32, f16 or bf16")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  command->add_option("--shards", o->shards, "Number of files")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--tokenizer", o->tokenizer, "tokenizer.model to copy")->check(CLI::ExistingFile);
  static const std::map<std::string, Start> kStarts{{"normal", Start::kNormal}, {"scaled", Start::kScaled}};
  command
      ->add_option(
          "--start", o->start,
          "normal: matrices of standard deviation 0.02; scaled: 0.8 / sqrt(inputs) and positions as waves, for "
          "small models; default: normal")
      ->transform(CLI::CheckedTransformer(kStarts).description("normal or scaled"));
  command->add_option("--settings", o->settings, "JSON that is merged into config.json (RFC 7396)")
      ->check(CLI::ExistingFile);
  command->add_option("--seed", o->seed)->capture_default_str();
  command->callback([o] { write_random(*o); });
}

}  // namespace tool

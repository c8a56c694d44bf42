// facellava config: a checkpoint's geometry as a complete C++ header, to be compiled in by FACELLAVA_EXTRA_CONFIGS.
#include <cctype>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "options.hpp"

namespace tool {
namespace {

using namespace facellava;

// The shortest literal that gives the same float.
std::string number(float v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v).ptr;
  const std::string digits(text, end);
  return digits + (digits.find_first_of(".e") == std::string::npos ? ".f" : "f");
}

std::string tower(const TowerConfig& t, const std::string& name) {
  if (t.layers == 0) return "";
  std::ostringstream s;
  s << "    ." << name << " = {.side = " << t.side << ", .patch = " << t.patch << ", .layers = " << t.layers
    << ", .run_layers = " << t.run_layers << (t.output == ClassToken::kFirst ? ", .output = ClassToken::kFirst" : "")
    << ",\n              .block = {.dim = " << t.block.dim << ", .ffn = " << t.block.ffn
    << ", .heads = " << t.block.heads;
  if (t.block.frames > 1) s << ", .frames = " << t.block.frames;
  s << ", .eps = " << number(t.block.eps) << "}},\n";
  return s.str();
}

std::string llama(const LlamaConfig& c) {
  std::ostringstream s;
  s << "    .llama = {.vocab = " << c.vocab << ", .layers = " << c.layers
    << ",\n              .block = {.dim = " << c.block.dim << ", .ffn = " << c.block.ffn
    << ", .heads = " << c.block.heads << ", .kv_heads = " << c.block.kv_heads << ", .head_dim = " << c.block.head_dim
    << ", .eps = " << number(c.block.eps) << "},\n              .rope = {.theta = " << number(c.rope.theta);
  if (c.rope.scaling != RopeScaling::kNone)
    s << ", .scaling = RopeScaling::" << (c.rope.scaling == RopeScaling::kLinear ? "kLinear" : "kLlama3")
      << ", .factor = " << number(c.rope.factor) << ", .low_frequency_factor = " << number(c.rope.low_frequency_factor)
      << ", .high_frequency_factor = " << number(c.rope.high_frequency_factor)
      << ", .original_positions = " << c.rope.original_positions;
  s << "}" << (c.head == Head::kTied ? ",\n              .head = Head::kTied" : "") << "}";
  return s.str();
}

std::string fusion(const FusionConfig& f) {
  constexpr const char* policies[] = {"kReference", "kPaper", "kCorrected"};
  std::ostringstream s;
  s << ",\n    .landmarks = Landmarks::kRegions,\n    .fusion = {.dim = " << f.dim << ", .heads = " << f.heads
    << ", .kind = FusionKind::" << (f.kind == FusionKind::kSimple ? "kSimple" : "kMasked")
    << ", .policy = Policy::" << policies[int(f.policy)]
    << ",\n               .branch_scale = " << number(f.branch_scale)
    << ", .distance_scale = " << number(f.distance_scale)
    << ", .distance_source = ScaleSource::" << (f.distance_source == ScaleSource::kStored ? "kStored" : "kConfigured")
    << ", .eps = " << number(f.eps) << "}";
  return s.str();
}

// A name that a command line takes: letters, digits, underscores.
std::string plain(std::string name) {
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) ? "model_" + name : name;
}

// The constant has a prefix: a folder may be called `new` or `kTiny`.
std::string header(const FaceLlavaConfig& c, const std::string& name) {
  return "// Printed by `facellava config`. Build the tool for it with -DFACELLAVA_EXTRA_CONFIGS=<this file>.\n"
         "#pragma once\n#include \"facellava/models/configs.hpp\"\n\nnamespace facellava::configs {\n\n"
         "inline constexpr FaceLlavaConfig extra_" +
         name + "{\n" + tower(c.image, "image") + tower(c.video, "video") + llama(c.llama) +
         (c.landmarks == Landmarks::kRegions ? fusion(c.fusion) : "") + "};\n\n" +
         "inline constexpr NamedConfig kExtra[] = {{\"" + name + "\", extra_" + name +
         "}};\n\n}  // namespace facellava::configs\n";
}

}  // namespace

void add_config(CLI::App& app) {
  struct ConfigOptions {
    run::FolderOptions folder;
    std::string name;
  };
  auto o = std::make_shared<ConfigOptions>();
  CLI::App* command = app.add_subcommand("config", "Print a checkpoint's geometry as a C++ header");
  command->add_option("--from", o->folder.path, "Model folder, or a .gguf file")->required();
  command->add_option("--image-tower", o->folder.image_tower, "LanguageBind image folder");
  command->add_option("--video-tower", o->folder.video_tower, "LanguageBind video folder");
  command->add_option("--tower-heads", o->folder.tower_heads, "Attention heads of the towers: no shape tells them")
      ->check(CLI::PositiveNumber);
  command->add_option("--name", o->name, "Name of the configuration; default: the folder's");
  command->callback([o] {
    const run::ModelFolder folder(o->folder);
    const FaceLlavaConfig& c = folder.geometry();
    for (const TowerConfig* t : {&c.image, &c.video})
      if (t->layers > 0 && t->block.heads == 0)
        throw Error(ErrorKind::kArgument, "the number of attention heads of a tower of width " +
                                              std::to_string(t->block.dim) +
                                              " stands in no file: give --tower-heads (ViT-L/14 has 16)");
    const auto path = std::filesystem::absolute(o->folder.path).lexically_normal();
    const auto leaf = path.filename().empty() ? path.parent_path().filename() : path.filename();
    std::cout << header(c, plain(o->name.empty() ? leaf.string() : o->name));
  });
}

}  // namespace tool

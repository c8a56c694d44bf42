// Adapters as peft keeps them: a folder with adapter_config.json, adapter_model.safetensors or .bin, and, as the
// released code adds it, non_lora_trainables with what was trained whole.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/io/torch_bin_writer.hpp"
#include "facellava/train/parameters.hpp"

namespace facellava::train {

inline constexpr std::string_view kLoraMarks[] = {".lora_A", ".lora_B"};
inline bool is_adapter(const TrainedTensor& t) {
  return t.name.ends_with(kLoraMarks[0]) || t.name.ends_with(kLoraMarks[1]);
}

// The name that a file gives a trained tensor: the official one; for adapters peft's, for heads their own.
inline std::string saved_name(const TrainedTensor& t) {
  const auto official = [](std::string_view name) { return io::rename(io::kOfficial, name)->name; };
  if (is_head(t.name)) return t.name;
  if (!is_adapter(t)) return official(t.name);
  constexpr std::string_view kWeight = ".weight";
  const std::size_t mark = t.name.size() - kLoraMarks[0].size();
  std::string name = official(std::string_view(t.name).substr(0, mark));
  name.resize(name.size() - kWeight.size());
  return "base_model.model." + name + t.name.substr(mark) + std::string(kWeight);
}

namespace detail {

inline constexpr const char* kPeftPrefix = "base_model.model.";

inline std::string in_folder(const std::string& folder, const std::string& file) {
  return (std::filesystem::path(folder) / file).string();
}

// FOLDER/stem.safetensors or .bin, or nothing.
inline std::string tensor_file(const std::string& folder, const std::string& stem) {
  std::error_code none;
  for (const char* type : {".safetensors", ".bin"})
    if (const auto path = in_folder(folder, stem + type); std::filesystem::exists(path, none)) return path;
  return {};
}

// A name as peft has it in memory or in files, and non_lora_trainables' names, as saved_name gives them.
inline std::string plain_name(std::string name) {
  constexpr std::string_view kDefault = ".default", kBase = kPeftPrefix;
  const bool adapter = name.find(".lora_") != std::string::npos;
  if (const auto at = name.find(kDefault); adapter && at != std::string::npos) name.erase(at, kDefault.size());
  if (!adapter && name.starts_with(kBase)) name.erase(0, kBase.size());
  return name;
}

// Reads a file's tensors into those of `trained` that `wanted` accepts, all of them, and nothing else.
template <class Wanted>
void read_trained(const std::string& path, std::vector<TrainedTensor>& trained, Wanted&& wanted) {
  const io::Checkpoint file(path);
  std::map<std::string, std::string> theirs;
  for (const auto& [name, entry] : file.tensors()) theirs.emplace(plain_name(name), name);
  for (TrainedTensor& t : trained) {
    if (!wanted(t)) continue;
    const auto found = theirs.find(saved_name(t));
    if (found == theirs.end()) throw Error(ErrorKind::kFormat, path + ": lacks " + saved_name(t));
    const io::TensorEntry& entry = file.at(found->second);
    if (entry.shape != t.shape)
      throw Error(ErrorKind::kFormat, path + ": " + found->second + ": expected " + io::shape_text(t.shape) +
                                          ", found " + io::shape_text(entry.shape));
    const std::vector<float> values = io::to_floats(entry);
    std::copy(values.begin(), values.end(), t.w.data);
    theirs.erase(found);
  }
  if (!theirs.empty())
    throw Error(ErrorKind::kFormat, path + ": has " + theirs.begin()->second + ", which this run does not train");
}

inline io::NamedTensor saved(std::string name, const TrainedTensor& t, const Values& v) {
  return {std::move(name), io::DType::kF32, t.shape, std::as_bytes(std::span(v.data, std::size_t(v.count())))};
}

}  // namespace detail

// What adapter_config.json says. Error kFormat for a kind of adapter that is not LoRA as here.
inline LoraOptions read_lora_options(const std::string& folder) {
  const std::string file = detail::in_folder(folder, "adapter_config.json");
  const auto json = io::read_json(file);
  const auto refuse = [&](const std::string& key, const std::string& expected) {
    throw Error(ErrorKind::kFormat, file + ": \"" + key + "\": expected " + expected + ", found " + json[key].dump());
  };
  if (io::require<std::string>(json, "peft_type", file) != "LORA") refuse("peft_type", "\"LORA\"");
  if (io::optional<std::string>(json, "bias", file).value_or("none") != "none") refuse("bias", "\"none\"");
  for (const char* key : {"fan_in_fan_out", "use_rslora", "use_dora"})
    if (io::optional<bool>(json, key, file).value_or(false)) refuse(key, "false");
  for (const char* key : {"modules_to_save", "layers_to_transform", "rank_pattern", "alpha_pattern"})
    if (json.contains(key) && !json[key].empty()) refuse(key, "nothing");
  LoraOptions o;
  o.rank = io::require<int>(json, "r", file);
  if (o.rank < 1) refuse("r", "at least 1");
  o.alpha = io::require<double>(json, "lora_alpha", file);
  o.dropout = io::optional<double>(json, "lora_dropout", file).value_or(0);
  if (!(o.dropout >= 0 && o.dropout < 1)) refuse("lora_dropout", "a number from 0 to below 1");
  o.targets = io::require<std::vector<std::string>>(json, "target_modules", file);
  return o;
}

// Reads an adapter into parameters that were made with its options. Errors: kFile, kFormat (a tensor that is missing,
// mis-shaped, or not trained here).
inline void load_adapter(const std::string& folder, Parameters& p) {
  const std::string adapter = detail::tensor_file(folder, "adapter_model");
  if (adapter.empty())
    throw Error(ErrorKind::kFile, folder + ": expected adapter_model.safetensors or .bin, found none");
  detail::read_trained(adapter, p.trained(), is_adapter);
  if (const std::string rest = detail::tensor_file(folder, "non_lora_trainables"); !rest.empty())
    detail::read_trained(rest, p.trained(), [](const TrainedTensor& t) { return !is_adapter(t) && !is_head(t.name); });
  p.round();
}

// Writes a folder that peft and the released code load. base: the folder of the model that it adapts.
inline void write_adapter(const std::string& folder, const Parameters& p, const std::string& base) {
  const LoraOptions& o = p.options().lora.at(0);
  std::vector<io::NamedTensor> adapter, rest;
  for (const TrainedTensor& t : p.trained())
    if (is_adapter(t))
      adapter.push_back(detail::saved(saved_name(t), t, t.w));
    else if (!is_head(t.name))
      rest.push_back(detail::saved(detail::kPeftPrefix + saved_name(t), t, t.w));
  io::write_safetensors(detail::in_folder(folder, "adapter_model.safetensors"), adapter, {{"format", "pt"}});
  if (!rest.empty()) io::write_torch_bin(detail::in_folder(folder, "non_lora_trainables.bin"), rest);
  const nlohmann::json config{{"peft_type", "LORA"},
                              {"task_type", "CAUSAL_LM"},
                              {"base_model_name_or_path", base},
                              {"bias", "none"},
                              {"fan_in_fan_out", false},
                              {"inference_mode", true},
                              {"init_lora_weights", true},
                              {"r", o.rank},
                              {"lora_alpha", o.alpha},
                              {"lora_dropout", o.dropout},
                              {"target_modules", o.targets},
                              {"modules_to_save", nullptr},
                              {"layers_pattern", nullptr},
                              {"layers_to_transform", nullptr}};
  const std::string text = config.dump(2);
  io::write_file_atomically(detail::in_folder(folder, "adapter_config.json"), std::as_bytes(std::span(text)));
}

// The heads of a run, NAME.weight [outputs, width] and NAME.bias, with what run.json says of them: they read the mean
// of a tower's features, and stand beside a model, not in it.
inline void write_heads(const std::string& path, const Parameters& p, const nlohmann::json& run) {
  std::vector<io::NamedTensor> all;
  for (const TrainedTensor& t : p.trained())
    if (is_head(t.name)) all.push_back(detail::saved(t.name.substr(std::string_view(kHeadPrefix).size()), t, t.w));
  io::write_safetensors(path, all, {{"heads", run["heads"].dump()}, {"tower", run["tower"].get<std::string>()}});
}

// The gradients that the parameters hold, by the names that a run of their kind saves.
inline void write_gradients(const std::string& path, const Parameters& p) {
  std::vector<io::NamedTensor> all;
  for (const TrainedTensor& t : p.trained()) {
    const bool plain = p.options().lora.empty() || is_adapter(t) || is_head(t.name);
    all.push_back(detail::saved((plain ? "" : detail::kPeftPrefix) + saved_name(t), t, t.dw));
  }
  io::write_safetensors(path, all, {{"format", "pt"}});
}

}  // namespace facellava::train

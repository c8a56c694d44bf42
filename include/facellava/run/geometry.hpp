// The geometry of a checkpoint: the decoder from config.json or from GGUF metadata, the towers from the shapes of their
// tensors (no config.json has them). Numbers of heads cannot be seen in shapes: 0 stands for unknown until somebody
// says them.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "facellava/io/checkpoint.hpp"
#include "facellava/io/json.hpp"
#include "facellava/models/config.hpp"

namespace facellava::run {

namespace detail {

inline void expect_text(const nlohmann::json& config, const char* key, const std::string& wanted,
                        const std::string& file) {
  const auto found = io::optional<std::string>(config, key, file);
  if (found && *found != wanted)
    throw Error(ErrorKind::kFormat, file + ": \"" + key + "\": expected \"" + wanted + "\", found \"" + *found + "\"");
}
inline void refuse_true(const nlohmann::json& config, const char* key, const std::string& file) {
  if (io::optional<bool>(config, key, file).value_or(false))
    throw Error(ErrorKind::kFormat, file + ": \"" + key + "\": true is not supported");
}

inline RopeConfig rope_of(const nlohmann::json& config, const std::string& file) {
  RopeConfig rope{.theta = io::optional<float>(config, "rope_theta", file).value_or(1e4f)};
  for (const char* member : {"rope_scaling", "rope_parameters"}) {
    const auto scaling = io::optional<nlohmann::json>(config, member, file);
    if (!scaling) continue;
    rope.theta = io::optional<float>(*scaling, "rope_theta", file).value_or(rope.theta);
    auto kind = io::optional<std::string>(*scaling, "rope_type", file);
    if (!kind) kind = io::optional<std::string>(*scaling, "type", file).value_or("default");
    if (*kind == "default") continue;
    rope.factor = io::require<float>(*scaling, "factor", file);
    if (*kind == "linear") {
      rope.scaling = RopeScaling::kLinear;
    } else if (*kind == "llama3") {
      rope.scaling = RopeScaling::kLlama3;
      rope.low_frequency_factor = io::require<float>(*scaling, "low_freq_factor", file);
      rope.high_frequency_factor = io::require<float>(*scaling, "high_freq_factor", file);
      rope.original_positions = io::require<int>(*scaling, "original_max_position_embeddings", file);
    } else {
      throw Error(ErrorKind::kFormat, file + ": rope scaling \"" + *kind + "\" is not supported: linear, llama3");
    }
    if (!(rope.factor >= 1) || rope.high_frequency_factor == rope.low_frequency_factor)
      throw Error(ErrorKind::kFormat, file + ": rope scaling has factors that make no sense");
  }
  return rope;
}

inline std::optional<int> optional_positive(const nlohmann::json& config, const char* key, const std::string& file) {
  const auto n = io::optional<int>(config, key, file);
  if (n && *n <= 0)
    throw Error(ErrorKind::kFormat,
                file + ": \"" + key + "\": expected a positive number, found " + std::to_string(*n));
  return n;
}
inline int positive(const nlohmann::json& config, const char* key, const std::string& file) {
  io::require<int>(config, key, file);
  return *optional_positive(config, key, file);
}

}  // namespace detail

// The decoder that a config.json describes. file: what errors name.
inline LlamaConfig llama_geometry(const nlohmann::json& config, const std::string& file) {
  detail::expect_text(config, "hidden_act", "silu", file);
  detail::refuse_true(config, "attention_bias", file);
  detail::refuse_true(config, "mlp_bias", file);
  LlamaConfig c;
  c.vocab = detail::positive(config, "vocab_size", file);
  c.layers = detail::positive(config, "num_hidden_layers", file);
  c.block.dim = detail::positive(config, "hidden_size", file);
  c.block.ffn = detail::positive(config, "intermediate_size", file);
  c.block.heads = detail::positive(config, "num_attention_heads", file);
  c.block.kv_heads = detail::optional_positive(config, "num_key_value_heads", file).value_or(c.block.heads);
  c.block.head_dim = detail::optional_positive(config, "head_dim", file).value_or(c.block.dim / c.block.heads);
  c.block.eps = io::optional<float>(config, "rms_norm_eps", file).value_or(1e-6f);
  c.rope = detail::rope_of(config, file);
  if (io::optional<bool>(config, "tie_word_embeddings", file).value_or(false)) c.head = Head::kTied;
  return c;
}

namespace detail {

inline RopeConfig rope_of(const io::Gguf& file) {
  RopeConfig rope{.theta = file.optional<float>("llama.rope.freq_base").value_or(1e4f)};
  const auto kind = file.optional<std::string_view>("llama.rope.scaling.type").value_or("linear");
  if (kind != "none" && kind != "linear")
    throw Error(ErrorKind::kFormat,
                file.path() + ": rope scaling \"" + std::string(kind) + "\" is not supported: none, linear");
  if (file.tensors().contains("rope_freqs.weight"))
    throw Error(ErrorKind::kFormat, file.path() + ": rope scaling by a table (rope_freqs.weight) is not supported");
  auto factor = file.optional<float>("llama.rope.scaling.factor");
  if (!factor) factor = file.optional<float>("llama.rope.scale_linear");
  if (kind == "none" || factor.value_or(0) == 0) return rope;
  if (!(*factor >= 1)) throw Error(ErrorKind::kFormat, file.path() + ": rope scaling has a factor that makes no sense");
  if (*factor != 1) {
    rope.scaling = RopeScaling::kLinear;
    rope.factor = *factor;
  }
  return rope;
}

// Keys whose values other than `plain` change what a decoder computes in ways that ours does not know.
inline void refuse_variants(const io::Gguf& file) {
  const auto refuse = [&](const char* key) {
    throw Error(ErrorKind::kFormat, file.path() + ": a decoder with \"" + key + "\" is not supported");
  };
  if (file.optional<int>("llama.expert_count").value_or(0) != 0) refuse("llama.expert_count");
  if (file.contains("llama.attention.causal") && !file.require<bool>("llama.attention.causal"))
    refuse("llama.attention.causal");
  for (const char* key : {"llama.attention.clamp_kqv", "llama.attention.max_alibi_bias", "llama.attention.scale",
                          "llama.attention.sliding_window", "llama.embedding_scale", "llama.residual_scale",
                          "llama.logit_scale", "llama.attn_logit_softcapping", "llama.final_logit_softcapping"})
    if (file.optional<float>(key).value_or(0) != 0) refuse(key);
}

}  // namespace detail

// The decoder that a GGUF file holds. Other architectures than llama are refused by name.
inline LlamaConfig llama_geometry(const io::Gguf& file) {
  const auto kind = file.require<std::string_view>("general.architecture");
  if (kind != "llama")
    throw Error(ErrorKind::kFormat,
                file.path() + ": the architecture \"" + std::string(kind) + "\" is not supported: llama");
  const auto check_positive = [&](const char* key, int n) {
    if (n > 0) return n;
    throw Error(ErrorKind::kFormat,
                file.path() + ": \"" + key + "\": expected a positive number, found " + std::to_string(n));
  };
  const auto number = [&](const char* key) { return check_positive(key, file.require<int>(key)); };
  const auto number_or = [&](const char* key, int absent) {
    return check_positive(key, file.optional<int>(key).value_or(absent));
  };
  detail::refuse_variants(file);
  LlamaConfig c;
  c.layers = number("llama.block_count");
  c.block.dim = number("llama.embedding_length");
  c.block.ffn = number("llama.feed_forward_length");
  c.block.heads = number("llama.attention.head_count");
  c.block.kv_heads = number_or("llama.attention.head_count_kv", c.block.heads);
  c.block.head_dim = number_or("llama.attention.key_length", c.block.dim / c.block.heads);
  for (const char* key : {"llama.attention.value_length", "llama.rope.dimension_count"})
    check_equal(c.block.head_dim, number_or(key, c.block.head_dim), file.path() + ": \"" + key + "\"",
                ErrorKind::kFormat);
  c.block.eps = file.require<float>("llama.attention.layer_norm_rms_epsilon");
  c.rope = detail::rope_of(file);
  const auto& embeddings = io::find_tensor(file.tensors(), "token_embd.weight", file.path()).shape;
  c.vocab = int(std::min<Index>(embeddings[0], std::numeric_limits<int>::max()));
  if (const auto claimed = file.optional<Index>("llama.vocab_size"))
    check_equal(embeddings[0], *claimed, file.path() + ": \"llama.vocab_size\" beside rows of token_embd.weight",
                ErrorKind::kFormat);
  if (!file.tensors().contains("output.weight")) c.head = Head::kTied;
  return c;
}

// The tower whose tensors begin with `prefix`, or one of 0 layers if there are none. select_layer: as
// mm_vision_select_layer, −2 for the output of the last layer but one.
inline TowerConfig tower_geometry(const io::Checkpoint& c, const std::string& prefix, int select_layer) {
  const auto shape = [&](const std::string& name, std::size_t rank) -> const std::vector<Index>& {
    const auto it = c.tensors().find(prefix + name);
    if (it == c.tensors().end())
      throw Error(ErrorKind::kFormat, c.path() + ": the tensor " + prefix + name + " is missing");
    if (it->second.shape.size() != rank)
      throw Error(ErrorKind::kFormat, c.path() + ": " + prefix + name + ": expected " + std::to_string(rank) +
                                          " dimensions, found " + std::to_string(it->second.shape.size()));
    return it->second.shape;
  };
  const std::string patch_name = "embeddings.patch_embedding.weight";
  if (!c.tensors().contains(prefix + patch_name)) return {};
  TowerConfig t;
  const auto& patch = shape(patch_name, 4);
  t.block.dim = int(patch[0]);
  t.patch = int(patch[3]);
  const Index tokens = shape("embeddings.position_embedding.weight", 2)[0];
  const int grid = int(std::lround(std::sqrt(double(tokens - 1))));
  if (tokens < 2 || Index(grid) * grid != tokens - 1)
    throw Error(ErrorKind::kFormat, c.path() + ": " + prefix +
                                        "embeddings.position_embedding.weight: expected n² + 1 rows, found " +
                                        std::to_string(tokens));
  t.side = grid * t.patch;
  const auto layer = [](int i) { return "encoder.layers." + std::to_string(i) + "."; };
  // Any tensor shows that its layer is there: a missing one is to be reported as such.
  const auto shows = [&](int i) {
    const auto it = c.tensors().lower_bound(prefix + layer(i));
    return it != c.tensors().end() && it->first.starts_with(prefix + layer(i));
  };
  while (shows(t.layers)) ++t.layers;
  t.block.ffn = int(shape(layer(0) + "mlp.fc1.weight", 2)[0]);
  if (c.tensors().contains(prefix + layer(0) + "temporal_embedding"))
    t.block.frames = int(shape(layer(0) + "temporal_embedding", 3)[1]);
  t.run_layers = select_layer < 0 ? t.layers + 1 + select_layer : select_layer;
  if (t.run_layers < 1 || t.run_layers > t.layers)
    throw Error(ErrorKind::kFormat, c.path() + ": selected layer " + std::to_string(select_layer) +
                                        " of a tower with " + std::to_string(t.layers) + " layers");
  return t;
}

// Fusion and landmark modules that a config.json describes.
inline void fusion_geometry(const nlohmann::json& config, const std::string& file, FaceLlavaConfig& c) {
  if (!io::optional<std::string>(config, "landmarks_projector_type", file)) return;
  detail::expect_text(config, "landmarks_projector_type", "landmarks_region_projector", file);
  detail::expect_text(config, "global_landmarks_projector_type", "linear", file);
  detail::refuse_true(config, "use_landmark_tokens", file);
  c.landmarks = Landmarks::kRegions;
  c.fusion.dim = c.llama.block.dim;
  const std::string kind = io::optional<std::string>(config, "cross_attn_type", file).value_or("simple");
  if (kind != "simple" && kind != "masked")
    throw Error(ErrorKind::kFormat,
                file + ": \"cross_attn_type\": expected \"simple\" or \"masked\", found \"" + kind + "\"");
  c.fusion.kind = kind == "simple" ? FusionKind::kSimple : FusionKind::kMasked;
  const auto own = io::optional<nlohmann::json>(config, "facellava", file);
  const auto fusion = own ? io::optional<nlohmann::json>(*own, "fusion", file) : std::nullopt;
  if (!fusion) return;
  c.fusion.heads = detail::optional_positive(*fusion, "heads", file).value_or(c.fusion.heads);
  c.fusion.branch_scale = io::optional<float>(*fusion, "branch_scale", file).value_or(c.fusion.branch_scale);
  const std::string policy = io::optional<std::string>(*fusion, "policy", file).value_or("reference");
  if (policy == "paper")
    c.fusion.policy = Policy::kPaper;
  else if (policy == "corrected")
    c.fusion.policy = Policy::kCorrected;
  else if (policy != "reference")
    throw Error(ErrorKind::kFormat,
                file + ": \"policy\": expected reference, paper or corrected, found \"" + policy + "\"");
  if (fusion->contains("distance_scale")) {
    if ((*fusion)["distance_scale"] == "stored")
      c.fusion.distance_source = ScaleSource::kStored;
    else
      c.fusion.distance_scale = io::require<float>(*fusion, "distance_scale", file);
  }
}

// Whether a model compiled for `c` runs a checkpoint of geometry `found`. Unknown numbers of heads (0) match any; what
// a checkpoint lacks (towers, landmark modules) may be compiled in: loading decides whether that is allowed.
inline bool runs(const FaceLlavaConfig& c, FaceLlavaConfig found) {
  const auto fill = [](const TowerConfig& compiled, TowerConfig& t) {
    if (t.layers == 0) t = compiled;
    if (t.block.heads == 0) t.block.heads = compiled.block.heads;
  };
  fill(c.image, found.image);
  fill(c.video, found.video);
  if (found.landmarks == Landmarks::kAbsent) {
    found.landmarks = c.landmarks;
    found.fusion = c.fusion;
  }
  return c == found;
}

}  // namespace facellava::run

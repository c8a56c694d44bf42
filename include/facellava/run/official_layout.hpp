// A configuration as the official layout writes it: the tensors of a checkpoint, and config.json. What reads both:
// run/model_folder.hpp.
#pragma once
#include <set>

#include "facellava/io/naming.hpp"
#include "facellava/io/safetensors_writer.hpp"
#include "facellava/models/face_llava.hpp"

namespace facellava::run {

// Every tensor of model M by its official name, in fp32, in the order of the visit; a matrix as [rows, columns] or,
// where the reader asks for more dimensions, as those.
template <class M>
std::vector<io::TensorInfo> official_tensors() {
  std::vector<io::TensorInfo> all;
  std::set<std::string> seen;
  typename M::template Params<Stored<Host>> params;
  M::visit(
      [&](const std::string& name, const auto& leaf) {
        const auto source = io::rename(io::kOfficial, name);
        if (!source || !seen.insert(source->name).second) return;
        std::vector<Index> shape(std::begin(leaf.kStatic), std::end(leaf.kStatic));
        shape[0] *= source->parts;
        const auto split = [&](Index last) { shape = {shape[0], shape[1] / last / last, last, last}; };
        if (name.ends_with("temporal_embedding")) shape.insert(shape.begin(), 1);
        if (name == "image_tower.embeddings.patch_embedding.weight") split(M::kConfig.image.patch);
        if (name == "video_tower.embeddings.patch_embedding.weight") split(M::kConfig.video.patch);
        all.push_back({source->name, io::DType::kF32, std::move(shape)});
      },
      "", params);
  return all;
}

// The config.json of a model with the released code's settings.
inline nlohmann::json official_config(const FaceLlavaConfig& c) {
  const LlamaConfig& l = c.llama;
  nlohmann::json out{{"model_type", "llava"},
                     {"hidden_act", "silu"},
                     {"vocab_size", l.vocab},
                     {"num_hidden_layers", l.layers},
                     {"hidden_size", l.block.dim},
                     {"intermediate_size", l.block.ffn},
                     {"num_attention_heads", l.block.heads},
                     {"num_key_value_heads", l.block.kv_heads},
                     {"head_dim", l.block.head_dim},
                     {"rms_norm_eps", l.block.eps},
                     {"rope_theta", l.rope.theta},
                     {"max_position_embeddings", 4096},
                     {"tie_word_embeddings", l.head == Head::kTied}};
  if (l.rope.scaling == RopeScaling::kLinear) out["rope_scaling"] = {{"type", "linear"}, {"factor", l.rope.factor}};
  if (l.rope.scaling == RopeScaling::kLlama3)
    out["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", l.rope.factor},
                           {"low_freq_factor", l.rope.low_frequency_factor},
                           {"high_freq_factor", l.rope.high_frequency_factor},
                           {"original_max_position_embeddings", l.rope.original_positions}};
  const TowerConfig& tower = c.image.layers ? c.image : c.video;
  if (tower.layers > 0) {
    out["mm_projector_type"] = "mlp2x_gelu";
    out["mm_vision_select_layer"] = tower.run_layers - tower.layers - 1;
    out["mm_vision_select_feature"] = c.image.output == ClassToken::kFirst ? "cls_patch" : "patch";
    out["facellava"]["tower_heads"] = tower.block.heads;
  }
  if (c.landmarks == Landmarks::kRegions) {
    constexpr const char* policies[] = {"reference", "paper", "corrected"};
    out["landmarks_projector_type"] = "landmarks_region_projector";
    out["global_landmarks_projector_type"] = "linear";
    out["cross_attn_type"] = c.fusion.kind == FusionKind::kSimple ? "simple" : "masked";
    out["facellava"]["fusion"] = {
        {"heads", c.fusion.heads}, {"branch_scale", c.fusion.branch_scale}, {"policy", policies[int(c.fusion.policy)]}};
    auto& scale = out["facellava"]["fusion"]["distance_scale"];
    if (c.fusion.distance_source == ScaleSource::kStored)
      scale = "stored";
    else
      scale = c.fusion.distance_scale;
  }
  return out;
}

}  // namespace facellava::run

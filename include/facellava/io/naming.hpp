// From the name that a visit gives a leaf to the tensor of a checkpoint that holds it: one table per family.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace facellava::io {

// How a file orders the rows that rotary embedding turns in pairs: row k with row k + D/2 of each head, as we do, or
// with its neighbour, rows 2k and 2k + 1.
enum class RopePairs { kHalves, kNeighbours };

// `*` stands for any run of characters, the same in both. A leaf may be part i of n of a fused tensor's rows, and two
// leaves may share one tensor. The first rule that matches wins.
struct Rename {
  std::string_view ours, theirs;
  int part = 0, parts = 1;
  RopePairs pairs = RopePairs::kHalves;
};

struct Source {
  std::string name;
  int part, parts;
  RopePairs pairs;
};

inline std::optional<Source> rename(std::span<const Rename> rules, std::string_view leaf) {
  for (const Rename& r : rules) {
    const auto star = r.ours.find('*');
    const std::string_view head = r.ours.substr(0, star);
    const std::string_view tail = star == r.ours.npos ? "" : r.ours.substr(star + 1);
    const bool matches = star == r.ours.npos ? leaf == head
                                             : leaf.size() >= head.size() + tail.size() && leaf.starts_with(head) &&
                                                   leaf.ends_with(tail);
    if (!matches) continue;
    std::string name(r.theirs);
    if (const auto at = name.find('*'); at != name.npos)
      name.replace(at, 1, leaf.substr(head.size(), leaf.size() - head.size() - tail.size()));
    return Source{std::move(name), r.part, r.parts, r.pairs};
  }
  return {};
}

// Face-LLaVA and Video-LLaVA, as transformers saves them.
inline constexpr Rename kOfficial[] = {
    {"image_tower.*", "model.image_tower.image_tower.*"},
    {"video_tower.*", "model.video_tower.video_tower.*"},
    {"llama.lm_head.*", "lm_head.*"},
    {"llama.*", "model.*"},
    {"*", "model.*"},
};
// The LanguageBind folders that the towers come from.
inline constexpr Rename kLanguageBind[] = {
    {"image_tower.*", "vision_model.*"},
    {"video_tower.*", "vision_model.*"},
};
// Llama decoders in GGUF.
inline constexpr Rename kGguf[] = {
    {"llama.embed_tokens.weight", "token_embd.weight"},
    {"llama.norm.weight", "output_norm.weight"},
    {"llama.lm_head.weight", "output.weight"},
    {"llama.layers.*.input_layernorm.weight", "blk.*.attn_norm.weight"},
    {"llama.layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight", 0, 1, RopePairs::kNeighbours},
    {"llama.layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight", 0, 1, RopePairs::kNeighbours},
    {"llama.layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"},
    {"llama.layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"},
    {"llama.layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight"},
    {"llama.layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"},
    {"llama.layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"},
    {"llama.layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"},
};

// Tensors of checkpoints that are no parameters: tables that old versions of transformers saved.
inline bool is_ignored(std::string_view theirs) {
  return theirs.ends_with("rotary_emb.inv_freq") || theirs.ends_with("embeddings.position_ids");
}

}  // namespace facellava::io

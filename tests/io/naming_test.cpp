#include "facellava/io/naming.hpp"

#include <doctest/doctest.h>

using namespace facellava::io;

namespace {

std::string theirs(std::span<const Rename> rules, std::string_view ours) {
  const auto source = rename(rules, ours);
  return source ? source->name : "(none)";
}

}  // namespace

TEST_CASE("names of the official checkpoint") {
  CHECK(theirs(kOfficial, "image_tower.embeddings.patch_embedding.weight") ==
        "model.image_tower.image_tower.embeddings.patch_embedding.weight");
  CHECK(theirs(kOfficial, "video_tower.pre_layrnorm.bias") == "model.video_tower.video_tower.pre_layrnorm.bias");
  CHECK(theirs(kOfficial, "llama.lm_head.weight") == "lm_head.weight");
  CHECK(theirs(kOfficial, "llama.embed_tokens.weight") == "model.embed_tokens.weight");
  CHECK(theirs(kOfficial, "mm_projector.0.bias") == "model.mm_projector.0.bias");
}

TEST_CASE("names of a tower's own folder") {
  CHECK(theirs(kLanguageBind, "video_tower.post_layernorm.weight") == "vision_model.post_layernorm.weight");
  CHECK(theirs(kLanguageBind, "image_tower.embeddings.class_embedding") == "vision_model.embeddings.class_embedding");
  CHECK(theirs(kLanguageBind, "llama.norm.weight") == "(none)");
}

TEST_CASE("names of a GGUF decoder, whose q and k rows stand beside their rotary partner") {
  CHECK(theirs(kGguf, "llama.embed_tokens.weight") == "token_embd.weight");
  CHECK(theirs(kGguf, "llama.norm.weight") == "output_norm.weight");
  CHECK(theirs(kGguf, "llama.layers.11.mlp.down_proj.weight") == "blk.11.ffn_down.weight");
  CHECK(theirs(kGguf, "image_tower.pre_layrnorm.bias") == "(none)");
  for (const std::string name : {"q", "k", "v", "o"}) {
    const auto source = rename(kGguf, "llama.layers.0.self_attn." + name + "_proj.weight");
    REQUIRE(source);
    CHECK(source->name == "blk.0.attn_" + (name == "o" ? "output" : name) + ".weight");
    CHECK((source->pairs == RopePairs::kNeighbours) == (name == "q" || name == "k"));
  }
}

TEST_CASE("the first rule wins, a star stands for any run, parts are passed on") {
  constexpr Rename rules[] = {{"a.*.q.weight", "x.*.qkv.weight", 1, 3}, {"a.*", "y.*"}, {"tied", "a.embed"}};
  const auto fused = rename(rules, "a.layers.7.q.weight");
  REQUIRE(fused);
  CHECK(fused->name == "x.layers.7.qkv.weight");
  CHECK(fused->part == 1);
  CHECK(fused->parts == 3);
  CHECK(theirs(rules, "a.layers.7.k.weight") == "y.layers.7.k.weight");
  CHECK(theirs(rules, "a.") == "y.");
  CHECK(theirs(rules, "tied") == "a.embed");
  CHECK(theirs(rules, "tied.not") == "(none)");
  constexpr Rename overlapping[] = {{"ab*ba", "*"}};
  CHECK(theirs(overlapping, "aba") == "(none)");
  CHECK(theirs(overlapping, "abba").empty());
}

TEST_CASE("tables that are no parameters are known") {
  CHECK(is_ignored("model.layers.3.self_attn.rotary_emb.inv_freq"));
  CHECK(is_ignored("vision_model.embeddings.position_ids"));
  CHECK_FALSE(is_ignored("vision_model.embeddings.position_embedding.weight"));
}

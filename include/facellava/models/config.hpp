// The geometry of a model: structs of scalars that are template arguments of the models. Sub-structs are what layers
// get.
#pragma once
#include "facellava/layers/fusion.hpp"
#include "facellava/layers/llama_block.hpp"
#include "facellava/layers/vit_block.hpp"

namespace facellava {

struct TowerConfig {
  int side = 0, patch = 0;         // pixels
  int layers = 0, run_layers = 0;  // layers in the checkpoint; how many run (mm_vision_select_layer); 0: no tower
  ClassToken output = ClassToken::kNone;  // whether the features keep the class token
  VitBlockConfig block = {};

  constexpr int grid() const { return patch ? side / patch : 0; }
  constexpr int patches() const { return grid() * grid(); }
  constexpr int tokens() const { return patches() + 1; }  // inside the tower: class token first
  constexpr int features() const { return patches() + (output == ClassToken::kFirst); }  // a frame's rows that leave it
  friend constexpr bool operator==(const TowerConfig&, const TowerConfig&) = default;
};

enum class RopeScaling { kNone, kLinear, kLlama3 };
struct RopeConfig {
  float theta = 1e4f;
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1, low_frequency_factor = 1, high_frequency_factor = 4;  // the last two and original_positions: llama3
  int original_positions = 0;
  friend constexpr bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

enum class Head { kOwn, kTied };  // kTied: lm_head is embed_tokens
struct LlamaConfig {
  int vocab = 0, layers = 0;
  LlamaBlockConfig block = {};
  RopeConfig rope = {};
  Head head = Head::kOwn;
  friend constexpr bool operator==(const LlamaConfig&, const LlamaConfig&) = default;
};

enum class Landmarks { kAbsent, kRegions };  // whether the model has FRLP and FRGCA
struct FaceLlavaConfig {
  TowerConfig image = {}, video = {};
  LlamaConfig llama = {};
  Landmarks landmarks = Landmarks::kAbsent;
  FusionConfig fusion = {};  // fusion.dim is llama.block.dim
  friend constexpr bool operator==(const FaceLlavaConfig&, const FaceLlavaConfig&) = default;
};

}  // namespace facellava

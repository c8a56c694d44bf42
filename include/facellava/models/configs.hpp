// Named configurations.
#pragma once
#include "facellava/models/config.hpp"

namespace facellava::configs {

struct NamedConfig {
  const char* name;
  FaceLlavaConfig config;
};

// The published geometry: Vicuna-7B decoder, LanguageBind ViT-L/14 towers, output of the last layer but one.
inline constexpr FaceLlavaConfig kFaceLlava7B{
    .image =
        {.side = 224, .patch = 14, .layers = 24, .run_layers = 23, .block = {.dim = 1024, .ffn = 4096, .heads = 16}},
    .video = {.side = 224,
              .patch = 14,
              .layers = 24,
              .run_layers = 23,
              .output = ClassToken::kFirst,
              .block = {.dim = 1024, .ffn = 4096, .heads = 16, .frames = 8}},
    .llama = {.vocab = 32000, .layers = 32, .block = {.dim = 4096, .ffn = 11008, .heads = 32, .kv_heads = 32}},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 4096}};

// The same architecture small enough for tests (tests/goldens/model_tiny).
inline constexpr FaceLlavaConfig kTiny{
    .image = {.side = 224, .patch = 14, .layers = 4, .run_layers = 3, .block = {.dim = 32, .ffn = 80, .heads = 4}},
    .video = {.side = 224,
              .patch = 14,
              .layers = 4,
              .run_layers = 3,
              .output = ClassToken::kFirst,
              .block = {.dim = 32, .ffn = 80, .heads = 4, .frames = 8}},
    .llama = {.vocab = 32000, .layers = 3, .block = {.dim = 16, .ffn = 48, .heads = 2, .kv_heads = 2}},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 16}};

// The model of tests/assets/probe: 2.8 million parameters, image only, trained in PyTorch on rendered faces.
inline constexpr FaceLlavaConfig kProbe{
    .image = {.side = 112, .patch = 14, .layers = 4, .run_layers = 4, .block = {.dim = 192, .ffn = 768, .heads = 3}},
    .llama = {.vocab = 1024,
              .layers = 3,
              .block = {.dim = 128, .ffn = 344, .heads = 2, .kv_heads = 2},
              .head = Head::kTied},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 128,
               .heads = 4,
               .kind = FusionKind::kMasked,
               .policy = Policy::kPaper,
               .distance_source = ScaleSource::kStored}};

// The model of examples/demo, trained by this library on rendered faces: 6.6 million parameters.
inline constexpr FaceLlavaConfig kFaceLlavaMini{
    .image = {.side = 112, .patch = 14, .layers = 4, .run_layers = 4, .block = {.dim = 192, .ffn = 768, .heads = 3}},
    .video = {.side = 112,
              .patch = 14,
              .layers = 4,
              .run_layers = 4,
              .output = ClassToken::kFirst,
              .block = {.dim = 192, .ffn = 768, .heads = 3, .frames = 8}},
    .llama = {.vocab = 1024,
              .layers = 4,
              .block = {.dim = 192, .ffn = 512, .heads = 3, .kv_heads = 3},
              .head = Head::kTied},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 192,
               .heads = 4,
               .kind = FusionKind::kMasked,
               .policy = Policy::kPaper,
               .distance_source = ScaleSource::kStored}};

// SmolLM2-135M: a decoder alone, for questions without pictures.
inline constexpr FaceLlavaConfig kSmolLm2{.llama = {.vocab = 49152,
                                                    .layers = 30,
                                                    .block = {.dim = 576, .ffn = 1536, .heads = 9, .kv_heads = 3},
                                                    .rope = {.theta = 1e5f},
                                                    .head = Head::kTied}};

}  // namespace facellava::configs

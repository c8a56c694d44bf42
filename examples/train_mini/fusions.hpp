// kFaceLlavaMini with other fusions, for ablation.sh: cmake -DFACELLAVA_EXTRA_CONFIGS=examples/train_mini/fusions.hpp
#pragma once
#include "facellava/models/configs.hpp"

namespace facellava::configs {

constexpr FaceLlavaConfig mini_with(FusionKind kind, Policy policy) {
  FaceLlavaConfig c = kFaceLlavaMini;
  c.fusion = {.dim = c.fusion.dim, .heads = c.fusion.heads, .kind = kind, .policy = policy};
  return c;
}

struct Extra {
  const char* name;
  FaceLlavaConfig config;
};
inline constexpr Extra kExtra[] = {{"mini_simple", mini_with(FusionKind::kSimple, Policy::kReference)},
                                   {"mini_corrected", mini_with(FusionKind::kMasked, Policy::kCorrected)}};

}  // namespace facellava::configs

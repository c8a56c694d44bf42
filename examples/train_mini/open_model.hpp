// The small model, compiled once for the programs that ask it.
#pragma once
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"

namespace train_mini {

inline constexpr facellava::FaceLlavaConfig kConfig = facellava::configs::kFaceLlavaMini;

// kConfig, or the configuration of FACELLAVA_EXTRA_CONFIGS that the folder has.   threads: 0 for one a core.   Errors:
// as open_pipeline.
facellava::run::Pipeline open_model(const facellava::run::ModelFolder&, int threads);

}  // namespace train_mini

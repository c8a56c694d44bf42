// The configurations of the tool on a CUDA device, in a build that has it.
#pragma once
#include <memory>
#include <string>

#include "facellava/run/model.hpp"

namespace tool {

// Memory that the CUDA device can still give, in bytes. Error kDevice if there is no device, or if the configuration is
// not compiled for one.
std::size_t free_cuda_memory(const std::string& config);

// Errors: as above.
std::unique_ptr<facellava::run::AnyModel> open_on_cuda(const std::string& config, const facellava::run::ModelFolder&,
                                                       const facellava::run::LoadOptions&);

}  // namespace tool

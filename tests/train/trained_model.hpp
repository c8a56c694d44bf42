// The tiny model in training, compiled once for the tests of this room.
#pragma once
#include <memory>

#include "facellava/cpu/device.hpp"
#include "facellava/train/model.hpp"

namespace facellava::test {

std::unique_ptr<train::AnyModel> tiny_in_training(const run::ModelFolder&, const train::ParameterOptions&,
                                                  const train::ModelOptions& = {}, const cpu::Options& = {});
train::MemoryPlan tiny_plan(const run::ModelFolder&, const train::ParameterOptions&, const train::ModelOptions&,
                            const train::TrainingWork&, const cpu::Options&);

}  // namespace facellava::test

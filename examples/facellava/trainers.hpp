// What trains the configurations of the registry: one translation unit each.
#pragma once
#include <memory>
#include <span>

#include "facellava/cpu/device.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/train/model.hpp"

namespace tool {

struct Trainer {
  const char* name;  // of the registry's entry
  std::unique_ptr<facellava::train::AnyModel> (*open)(const facellava::run::ModelFolder&,
                                                      const facellava::train::ParameterOptions&,
                                                      const facellava::train::ModelOptions&,
                                                      const facellava::cpu::Options&);
  facellava::train::MemoryPlan (*plan)(const facellava::run::ModelFolder&, const facellava::train::ParameterOptions&,
                                       const facellava::train::ModelOptions&, const facellava::train::TrainingWork&,
                                       const facellava::cpu::Options&);
};

Trainer trainer_7b();
Trainer trainer_tiny();
Trainer trainer_probe();
Trainer trainer_mini();
Trainer trainer_smollm2();
std::span<const Trainer> extra_trainers();

template <facellava::FaceLlavaConfig C>
using TrainedModel = facellava::train::Model<facellava::FaceLlava<C>, facellava::cpu::Device>;
template <facellava::FaceLlavaConfig C>
std::unique_ptr<facellava::train::AnyModel> open_trainer(const facellava::run::ModelFolder& folder,
                                                         const facellava::train::ParameterOptions& p,
                                                         const facellava::train::ModelOptions& o,
                                                         const facellava::cpu::Options& device) {
  return std::make_unique<TrainedModel<C>>(folder, p, o, device);
}
template <facellava::FaceLlavaConfig C>
constexpr Trainer trainer(const char* name) {
  return {name, open_trainer<C>, TrainedModel<C>::plan};
}

}  // namespace tool

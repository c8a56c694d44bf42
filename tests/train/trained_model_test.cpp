#include "train/trained_model.hpp"

#include "facellava/models/configs.hpp"

std::unique_ptr<facellava::train::AnyModel> facellava::test::tiny_in_training(const run::ModelFolder& folder,
                                                                              const train::ParameterOptions& p,
                                                                              const train::ModelOptions& o,
                                                                              const cpu::Options& device) {
  return std::make_unique<train::Model<FaceLlava<configs::kTiny>, cpu::Device>>(folder, p, o, device);
}

facellava::train::MemoryPlan facellava::test::tiny_plan(const run::ModelFolder& folder,
                                                        const train::ParameterOptions& p, const train::ModelOptions& o,
                                                        const train::TrainingWork& work, const cpu::Options& device) {
  return train::Model<FaceLlava<configs::kTiny>, cpu::Device>::plan(folder, p, o, work, device);
}

// The configurations that the tool is compiled for: one translation unit each, so that they compile side by side.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "facellava/cpu/device.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/model.hpp"
#include "facellava/run/official_layout.hpp"

namespace tool {

using Opener = std::unique_ptr<facellava::run::AnyModel> (*)(const facellava::run::ModelFolder&,
                                                             const facellava::run::LoadOptions&,
                                                             const facellava::cpu::Options&);
struct Entry {
  const char* name;
  facellava::FaceLlavaConfig config;
  Opener open;
  facellava::io::Report (*inspect)(const facellava::run::ModelFolder&);
  std::vector<facellava::io::TensorInfo> (*tensors)();
  // The memory that work takes: with the weights of a folder, or of one that need not exist.
  std::vector<facellava::run::WeightBytes> (*planned_weights)(const facellava::run::ModelFolder&,
                                                              const facellava::run::LoadOptions&);
  std::vector<facellava::run::WeightBytes> (*all_weights)(facellava::Format);
  facellava::run::MemoryPlan (*plan)(std::span<const facellava::run::WeightBytes>,
                                     const facellava::run::SessionOptions&, const facellava::run::Workload&,
                                     const facellava::cpu::Options&);
};

Entry entry_7b();
Entry entry_tiny();
Entry entry_probe();
Entry entry_mini();
Entry entry_smollm2();
std::span<const Entry> extra_entries();  // of FACELLAVA_EXTRA_CONFIGS

template <facellava::FaceLlavaConfig C, class Kv>
std::unique_ptr<facellava::run::AnyModel> open_model(const facellava::run::ModelFolder& folder,
                                                     const facellava::run::LoadOptions& options,
                                                     const facellava::cpu::Options& device) {
  using Model = facellava::run::Model<facellava::FaceLlava<C>, facellava::cpu::Device, Kv>;
  return std::make_unique<Model>(folder, options, device);
}

// Kv: the element of kept keys and values.
template <facellava::FaceLlavaConfig C, class Kv = float>
constexpr Entry entry(const char* name) {
  using M = facellava::FaceLlava<C>;
  namespace run = facellava::run;
  using Cpu = facellava::cpu::Device;
  return {name,
          C,
          open_model<C, Kv>,
          run::inspect<M>,
          run::official_tensors<M>,
          run::planned_weights<M>,
          run::all_weights<M>,
          run::plan_memory<M, Cpu, Kv, facellava::cpu::Options>};
}

Entry named_entry(const std::string& name);

// The configuration of that name, or the first with the folder's geometry. Error kArgument, which says what to do.
Entry find_entry(const std::string& name, const facellava::run::ModelFolder&);

}  // namespace tool

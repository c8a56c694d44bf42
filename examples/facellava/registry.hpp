// The configurations that the tool is compiled for: one translation unit each, so that they compile side by side.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "facellava/cpu/device.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/model.hpp"

namespace tool {

using Opener = std::unique_ptr<facellava::run::AnyModel> (*)(const facellava::run::ModelFolder&,
                                                             const facellava::run::LoadOptions&,
                                                             const facellava::cpu::Options&);
struct Entry {
  const char* name;
  facellava::FaceLlavaConfig config;
  Opener open;
};

Entry entry_7b();
Entry entry_tiny();
Entry entry_demo();
std::span<const Entry> extra_entries();  // of FACELLAVA_EXTRA_CONFIGS

template <facellava::FaceLlavaConfig C>
std::unique_ptr<facellava::run::AnyModel> open_model(const facellava::run::ModelFolder& folder,
                                                     const facellava::run::LoadOptions& options,
                                                     const facellava::cpu::Options& device) {
  using Model = facellava::run::Model<facellava::FaceLlava<C>, facellava::cpu::Device, facellava::cpu::Options>;
  return std::make_unique<Model>(folder, options, device);
}

}  // namespace tool

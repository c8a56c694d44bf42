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
  facellava::io::Report (*inspect)(const facellava::run::ModelFolder&);
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

template <facellava::FaceLlavaConfig C>
constexpr Entry entry(const char* name) {
  return {name, C, open_model<C>, facellava::run::inspect<facellava::FaceLlava<C>>};
}

Entry named_entry(const std::string& name);

// The configuration of that name, or the first with the folder's geometry. Error kArgument, which says what to do.
Entry find_entry(const std::string& name, const facellava::run::ModelFolder&);

}  // namespace tool

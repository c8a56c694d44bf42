#include "models_cuda.hpp"

#include "facellava/cuda/upload.hpp"
#include "facellava/models/configs.hpp"

namespace {

using namespace facellava;

// Kv: the element of kept keys and values, as on the CPU (registry.hpp).
template <FaceLlavaConfig C, class Kv = float>
std::unique_ptr<run::AnyModel> open(const run::ModelFolder& folder, const run::LoadOptions& options) {
  return std::make_unique<run::Model<FaceLlava<C>, cuda::Device, Kv>>(folder, options, cuda::Options{});
}

struct Entry {
  std::string_view name;
  std::unique_ptr<run::AnyModel> (*open)(const run::ModelFolder&, const run::LoadOptions&);
};
constexpr Entry kEntries[] = {{"facellava-7b", open<configs::kFaceLlava7B, bf16>},
                              {"tiny", open<configs::kTiny>},
                              {"mini", open<configs::kFaceLlavaMini>},
                              {"smollm2", open<configs::kSmolLm2>}};

const Entry& find(const std::string& config) {
  for (const Entry& e : kEntries)
    if (e.name == config) return e;
  throw Error(ErrorKind::kDevice, "the configuration " + config + " is not compiled for it");
}

}  // namespace

std::size_t tool::free_cuda_memory(const std::string& config) {
  find(config);
  return cuda::Device(cuda::Options{}).free_memory();
}

std::unique_ptr<run::AnyModel> tool::open_on_cuda(const std::string& config, const run::ModelFolder& folder,
                                                  const run::LoadOptions& options) {
  return find(config).open(folder, options);
}

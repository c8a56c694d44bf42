#include "open_model.hpp"

#include <utility>

#include "facellava/cpu/device.hpp"

#ifdef FACELLAVA_EXTRA_CONFIGS
#include FACELLAVA_EXTRA_CONFIGS
#endif

namespace {

using namespace facellava;

template <FaceLlavaConfig C>
run::Pipeline open(const run::ModelFolder& folder, int threads) {
  return run::open_pipeline<C, cpu::Device>(folder, {}, cpu::Options{.threads = threads});
}

}  // namespace

run::Pipeline train_mini::open_model(const run::ModelFolder& folder, int threads) {
#ifdef FACELLAVA_EXTRA_CONFIGS
  constexpr auto& kExtra = configs::kExtra;
  std::optional<run::Pipeline> other;
  const auto look_at = [&]<std::size_t i> {
    if (!other && run::runs(kExtra[i].config, folder.geometry())) other = open<kExtra[i].config>(folder, threads);
  };
  [&]<std::size_t... i>(std::index_sequence<i...>) { (look_at.template operator()<i>(), ...); }
  (std::make_index_sequence<std::size(kExtra)>());
  if (other) return std::move(*other);
#endif
  return open<kConfig>(folder, threads);
}

// Of the configurations of the header that FACELLAVA_EXTRA_CONFIGS names.
#include "trainers.hpp"

#ifdef FACELLAVA_EXTRA_CONFIGS
#include FACELLAVA_EXTRA_CONFIGS

#include <array>
#include <utility>

namespace {
template <std::size_t... i>
std::array<tool::Trainer, sizeof...(i)> trainers(std::index_sequence<i...>) {
  using facellava::configs::kExtra;
  return {tool::trainer<kExtra[i].config>(kExtra[i].name)...};
}
}  // namespace

std::span<const tool::Trainer> tool::extra_trainers() {
  static const auto all = trainers(std::make_index_sequence<std::size(facellava::configs::kExtra)>());
  return all;
}
#else
std::span<const tool::Trainer> tool::extra_trainers() { return {}; }
#endif

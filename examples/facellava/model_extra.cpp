// Configurations of the header that FACELLAVA_EXTRA_CONFIGS names (printed by `facellava config`).
#include "registry.hpp"

#ifdef FACELLAVA_EXTRA_CONFIGS
#include FACELLAVA_EXTRA_CONFIGS

#include <array>
#include <utility>

namespace {
template <std::size_t... i>
std::array<tool::Entry, sizeof...(i)> entries(std::index_sequence<i...>) {
  using facellava::configs::kExtra;
  return {tool::entry<kExtra[i].config>(kExtra[i].name)...};
}
}  // namespace

std::span<const tool::Entry> tool::extra_entries() {
  static const auto all = entries(std::make_index_sequence<std::size(facellava::configs::kExtra)>());
  return all;
}
#else
std::span<const tool::Entry> tool::extra_entries() { return {}; }
#endif

// Joined names. visit(f, prefix, p...) of a layer calls f(name, leaf...) for each leaf of N parallel Params:
// one walk loads, counts, zeroes, saves, quantises, steps an optimiser.
#pragma once
#include <string>
#include <string_view>

namespace facellava {

inline std::string join(std::string_view a, std::string_view b) {
  if (a.empty()) return std::string(b);
  return std::string(a).append(".").append(b);
}
inline std::string join(std::string_view a, std::size_t i) { return join(a, std::to_string(i)); }

}  // namespace facellava

// What a host lends to the library: memory, a limit, an ear. The default is new and delete, no limit, silence.
#pragma once
#include <cstddef>
#include <functional>
#include <limits>
#include <memory_resource>
#include <string_view>

namespace facellava {

enum class LogLevel { kInfo, kWarning };
// Called on the thread that works. What it throws passes through.
using Log = std::function<void(LogLevel, std::string_view)>;

inline constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

struct Services {
  // Of all large memory: converted weights, keys and values, activations, logits. nullptr: new and delete. It must
  // outlive what was made with it, and must be safe to use from several threads if the sessions of a model are.
  std::pmr::memory_resource* memory = nullptr;
  // Bytes that weights and a session may take together; what would take more is refused before memory is asked for.
  std::size_t memory_limit = kNoLimit;
  Log log = {};

  void tell(LogLevel level, std::string_view message) const {
    if (log) log(level, message);
  }
};

}  // namespace facellava

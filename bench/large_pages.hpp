// Memory of large pages, where Linux gives them: reads from DRAM are faster for it.
#pragma once
#include "facellava/core/arena.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace facellava::bench {

enum class Pages { kSmall, kLarge };

inline Buffer paged_memory(Index bytes, Pages pages = Pages::kLarge) {
  constexpr std::uintptr_t kPage = 4096;
  Buffer buffer{std::size_t(bytes)};
#ifdef __linux__
  const auto first = (reinterpret_cast<std::uintptr_t>(buffer.data()) + kPage - 1) & ~(kPage - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(buffer.data()) + buffer.size()) & ~(kPage - 1);
  if (first < end)  // a refusal leaves small pages
    madvise(reinterpret_cast<void*>(first), end - first, pages == Pages::kLarge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
  (void)pages;
#endif
  return buffer;
}

}  // namespace facellava::bench

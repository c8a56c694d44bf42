// Instruction sets that the CPU device has kernels for, and what this machine can run.
#pragma once
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FACELLAVA_X86 1
#else
#define FACELLAVA_X86 0
#endif

namespace facellava::cpu {

// Each level includes those before it. kPortable is Eigen at the program's own baseline: any processor.
enum class Isa { kPortable, kAvx2, kAvx512, kAvx512Bf16 };
inline constexpr Isa kIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

constexpr std::string_view isa_name(Isa isa) {
  constexpr std::string_view names[] = {"portable", "avx2", "avx512", "avx512bf16"};
  return names[int(isa)];
}

// The best level of this machine.
inline Isa best_isa() {
#if FACELLAVA_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
    return Isa::kAvx2;
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") ? Isa::kAvx512Bf16 : Isa::kAvx512;
#else
  return Isa::kPortable;
#endif
}

inline Isa isa_from_name(std::string_view name) {
  if (name == "auto") return best_isa();
  std::string known = "auto";
  for (Isa isa : kIsas) {
    if (isa_name(isa) == name) return isa;
    known.append(", ").append(isa_name(isa));
  }
  throw Error(ErrorKind::kArgument,
              "instruction set: expected one of " + known + ", found \"" + std::string(name) + "\"");
}

}  // namespace facellava::cpu

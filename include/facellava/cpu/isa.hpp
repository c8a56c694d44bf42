// Instruction sets that the CPU device has kernels for, and what this machine can run.
#pragma once
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FACELLAVA_X86 1
#ifdef __linux__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#else
#define FACELLAVA_X86 0
#endif

namespace facellava::cpu {

// Each level includes those before it. kPortable is Eigen at the program's own baseline: any processor.
enum class Isa { kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx };
inline constexpr Isa kIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx};

constexpr std::string_view isa_name(Isa isa) {
  constexpr std::string_view names[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};
  return names[int(isa)];
}

// Whether there are AMX tiles with bf16. Linux hands them out on request, which is made here, once.
inline bool has_amx() {
#if FACELLAVA_X86 && defined(__linux__)
  static const bool has = [] {
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    unsigned a = 0, b = 0, c = 0, d = 0;
    const bool there = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1);
    return there && syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return has;
#else
  return false;
#endif
}

// The best level of this machine.
inline Isa best_isa() {
#if FACELLAVA_X86
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
    return Isa::kAvx2;
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni")) return Isa::kAvx512;
  return has_amx() ? Isa::kAmx : Isa::kAvx512Bf16;
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

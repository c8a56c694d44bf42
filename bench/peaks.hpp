// What this machine can do at most: products from registers for each instruction set, and reads from each level of
// memory, by any number of threads. Measured, not looked up.
#pragma once
#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "amx.hpp"
#include "facellava/cpu/isa.hpp"
#include "facellava/cpu/thread_pool.hpp"
#include "large_pages.hpp"
#include "measure.hpp"

#if FACELLAVA_X86
#include <immintrin.h>
#endif
namespace facellava::bench {

enum class Unit { kFp32, kBf16, kInt8 };               // what is multiplied; sums are fp32, int32 for int8
enum class Tier { kL2, kL3, kDramSmallPages, kDram };  // kDram: of large pages, where the system gives them

constexpr const char* unit_name(Unit u) {
  constexpr const char* kNames[] = {"fp32", "bf16", "int8"};
  return kNames[int(u)];
}
constexpr const char* tier_name(Tier t) {
  constexpr const char* kNames[] = {"L2", "L3", "DRAM, small pages", "DRAM"};
  return kNames[int(t)];
}

// Per second, by both clocks.
struct Rate {
  double wall = 0, cpu = 0;
  double by(Clock c) const { return c == Clock::kWall ? wall : cpu; }
};
inline Rate rate(double amount, const Seconds& s) { return {amount / s.wall, amount / s.cpu}; }

namespace detail {

inline constexpr Index kSteps = Index(1) << 18;  // of a burst: a millisecond, so that some burst is undisturbed

// Each burst runs kSteps steps of independent chains, as many as hide the latency, and returns its operations.
inline double burst_portable() {
  typedef float Four __attribute__((vector_size(16)));
  constexpr int kChains = 10;
  Four sum[kChains] = {}, a = {1, 2, 3, 4};
  const Four b = a * 1e-7f;
  for (Index i = 0; i < kSteps; ++i) {
#pragma GCC unroll 16
    for (Four& s : sum) {
      asm volatile("" : "+x"(a));
      s += a * b;
    }
  }
#pragma GCC unroll 16
  for (Four& s : sum) asm volatile("" : : "x"(s));
  return double(kSteps) * kChains * 8;
}

#if FACELLAVA_X86
// One burst: `Vector` accumulators, `step` from accumulator s and operands a, b. The empty asm makes the operands
// unknown, so that the compiler folds nothing.
#define FACELLAVA_BURST(name, isa, Vector, Operand, chains, zero, operand, step, operations) \
  __attribute__((target(isa))) inline double name() {                                        \
    Vector sum[chains];                                                                      \
    _Pragma("GCC unroll 32") for (Vector & s : sum) s = zero;                                \
    Operand a = operand, b = operand;                                                        \
    for (Index i = 0; i < kSteps; ++i) {                                                     \
      _Pragma("GCC unroll 32") for (Vector & s : sum) {                                      \
        asm volatile("" : "+v"(a), "+v"(b));                                                 \
        s = step;                                                                            \
      }                                                                                      \
    }                                                                                        \
    _Pragma("GCC unroll 32") for (Vector & s : sum) asm volatile("" : : "v"(s));             \
    return double(kSteps) * chains * operations;                                             \
  }
FACELLAVA_BURST(burst_fp32_avx2, "avx2,fma", __m256, __m256, 12, _mm256_setzero_ps(), _mm256_set1_ps(1e-3f),
                _mm256_fmadd_ps(a, b, s), 16)
FACELLAVA_BURST(burst_fp32_avx512, "avx512f", __m512, __m512, 24, _mm512_setzero_ps(), _mm512_set1_ps(1e-3f),
                _mm512_fmadd_ps(a, b, s), 32)
FACELLAVA_BURST(burst_bf16_avx512, "avx512f,avx512bf16", __m512, __m512i, 24, _mm512_setzero_ps(),
                _mm512_set1_epi16(0x3f80), _mm512_dpbf16_ps(s, __m512bh(a), __m512bh(b)), 64)
FACELLAVA_BURST(burst_int8_avx2, "avx2", __m256i, __m256i, 10, _mm256_setzero_si256(), _mm256_set1_epi8(1),
                _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), a)), 64)
FACELLAVA_BURST(burst_int8_avx512, "avx512f,avx512bw", __m512i, __m512i, 20, _mm512_setzero_si512(),
                _mm512_set1_epi8(1), _mm512_add_epi32(s, _mm512_madd_epi16(_mm512_maddubs_epi16(a, b), a)), 128)
FACELLAVA_BURST(burst_int8_vnni, "avx512f,avx512vnni", __m512i, __m512i, 24, _mm512_setzero_si512(),
                _mm512_set1_epi8(1), _mm512_dpbusd_epi32(s, a, b), 128)
#undef FACELLAVA_BURST
inline double burst_bf16_amx() { return burst_amx<false>(kSteps / 16); }
inline double burst_int8_amx() { return burst_amx<true>(kSteps / 16); }

// Exclusive or of a block, by several streams so that more reads are under way at once.
template <int kStreams>
__attribute__((target("avx512f"))) inline void read_avx512(const std::byte* p, Index bytes) {
  __m512i sum[8] = {};
  const Index part = bytes / kStreams;
  for (Index i = 0; i + 512 / kStreams <= part; i += 512 / kStreams)
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k)
      sum[k] = _mm512_xor_si512(sum[k], _mm512_load_si512(p + k % kStreams * part + i + k / kStreams * 64));
#pragma GCC unroll 8
  for (auto& s : sum) asm volatile("" : : "v"(s));
}
template <int kStreams>
__attribute__((target("avx2"))) inline void read_avx2(const std::byte* p, Index bytes) {
  __m256i sum[8] = {};
  const Index part = bytes / kStreams;
  for (Index i = 0; i + 256 / kStreams <= part; i += 256 / kStreams)
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k)
      sum[k] = _mm256_xor_si256(
          sum[k], _mm256_load_si256(reinterpret_cast<const __m256i*>(p + k % kStreams * part + i + k / kStreams * 32)));
#pragma GCC unroll 8
  for (auto& s : sum) asm volatile("" : : "v"(s));
}
#endif

template <int kStreams>
void read_portable(const std::byte* p, Index bytes) {
  typedef std::uint64_t Two __attribute__((vector_size(16)));
  Two sum[8] = {};
  const Index part = bytes / kStreams;
  for (Index i = 0; i + 128 / kStreams <= part; i += 128 / kStreams)
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k)
      sum[k] ^= *reinterpret_cast<const Two*>(p + k % kStreams * part + i + k / kStreams * 16);
#pragma GCC unroll 8
  for (auto& s : sum) asm volatile("" : : "x"(s));
}

using Burst = double (*)();
using Read = void (*)(const std::byte*, Index);

}  // namespace detail

// The burst that measures a unit at a level, or null where the level has none of its own.
inline detail::Burst find_burst(cpu::Isa isa, Unit unit) {
#if FACELLAVA_X86
  using cpu::Isa;
  if (isa != Isa::kPortable) {
    if (unit == Unit::kFp32) return isa == Isa::kAvx2 ? detail::burst_fp32_avx2 : detail::burst_fp32_avx512;
    if (isa == Isa::kAmx) return unit == Unit::kBf16 ? detail::burst_bf16_amx : detail::burst_int8_amx;
    if (unit == Unit::kBf16) return isa == Isa::kAvx512Bf16 ? detail::burst_bf16_avx512 : nullptr;
    return isa == Isa::kAvx2     ? detail::burst_int8_avx2
           : isa == Isa::kAvx512 ? detail::burst_int8_avx512
                                 : detail::burst_int8_vnni;
  }
#endif
  return unit == Unit::kFp32 ? detail::burst_portable : nullptr;
}

// Operations a second (a multiply and an add are two) of all threads of the pool.
inline Rate measure_burst(detail::Burst burst, cpu::ThreadPool& pool, double seconds = 0.1) {
  std::vector<double> operations(std::size_t(pool.size()));
  const Seconds s = best_of(8, seconds, pool.size(), [&] {
    pool.run(pool.size(), [&](Index i, int) { operations[std::size_t(i)] = burst(); });
  });
  return rate(std::accumulate(operations.begin(), operations.end(), 0.), s);
}

struct CacheSizes {
  Index l2 = Index(1) << 20, l3 = Index(32) << 20;
};
// As Linux knows them (sysconf does not in some virtual machines); elsewhere the defaults.
inline CacheSizes cache_sizes() {
  CacheSizes c;
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    int level = 0;
    Index kib = 0;
    std::ifstream(folder + "/level") >> level;
    std::ifstream(folder + "/size") >> kib;
    if (level == 2 && kib > 0) c.l2 = kib << 10;
    if (level == 3 && kib > 0) c.l3 = kib << 10;
  }
  return c;
}

// Memory that the threads of a pool read together, each its own part: half of an L2 each, a quarter of the L3 shared,
// or 16 times the L3 shared.
class Reader {
 public:
  Reader(cpu::Isa isa, Tier tier, cpu::ThreadPool& pool) : pool_(pool) {
    const CacheSizes cache = cache_sizes();
    const Index threads = pool.size();
    each_ = tier == Tier::kL2   ? cache.l2 / 2
            : tier == Tier::kL3 ? std::max(cache.l3 / 4 / threads, 2 * cache.l2)
                                : std::max(16 * cache.l3, Index(512) << 20) / threads;
    each_ = each_ / 8192 * 8192;
    times_ = std::max<Index>(1, (Index(64) << 20) / each_);
    buffer_ = paged_memory(each_ * threads, tier == Tier::kDramSmallPages ? Pages::kSmall : Pages::kLarge);
    std::memset(buffer_.data(), 1, buffer_.size());
    ways_ = {detail::read_portable<1>, detail::read_portable<2>, detail::read_portable<4>};
#if FACELLAVA_X86
    if (isa == cpu::Isa::kAvx2) ways_ = {detail::read_avx2<1>, detail::read_avx2<2>, detail::read_avx2<4>};
    if (isa >= cpu::Isa::kAvx512) ways_ = {detail::read_avx512<1>, detail::read_avx512<2>, detail::read_avx512<4>};
#else
    (void)isa;
#endif
  }
  double bytes() const { return double(each_) * double(times_) * pool_.size(); }  // of a run
  void run(std::size_t way) {
    pool_.run(pool_.size(), [&](Index t, int) {
      for (Index i = 0; i < times_; ++i) ways_[way](static_cast<const std::byte*>(buffer_.data()) + t * each_, each_);
    });
  }
  static constexpr std::size_t kWays = 3;  // one, two or four streams a thread

 private:
  cpu::ThreadPool& pool_;
  Index each_ = 0, times_ = 1;
  Buffer buffer_;
  std::array<detail::Read, kWays> ways_;
};

// Bytes a second: the best of the ways.
inline Rate measure_read(cpu::Isa isa, Tier tier, cpu::ThreadPool& pool, double seconds = 0.2) {
  Reader reader(isa, tier, pool);
  Rate best;
  for (std::size_t way = 0; way < Reader::kWays; ++way) {
    const Rate r =
        rate(reader.bytes(), best_of(4, seconds / double(Reader::kWays), pool.size(), [&] { reader.run(way); }));
    best = {std::max(best.wall, r.wall), std::max(best.cpu, r.cpu)};
  }
  return best;
}

// Peaks of one instruction set and thread count, measured when first asked for.
class Peaks {
 public:
  Peaks(cpu::Isa isa, int threads) : isa_(isa), pool_(threads) {}
  // 0 where the level has no such unit.
  Rate compute(Unit u) {
    const detail::Burst burst = find_burst(isa_, u);
    if (!burst) return {};
    auto [it, fresh] = compute_.try_emplace(u);
    if (fresh) it->second = measure_burst(burst, pool_);
    return it->second;
  }
  Rate read(Tier t) {
    auto [it, fresh] = read_.try_emplace(t);
    if (fresh) it->second = measure_read(isa_, t, pool_);
    return it->second;
  }
  cpu::Isa isa() const { return isa_; }
  int threads() const { return pool_.size(); }

 private:
  cpu::Isa isa_;
  cpu::ThreadPool pool_;
  std::map<Unit, Rate> compute_;
  std::map<Tier, Rate> read_;
};

}  // namespace facellava::bench

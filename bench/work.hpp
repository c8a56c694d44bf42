// What a piece of work needs at least, and how long this machine needs for that at least: the roofline.
#pragma once
#include "facellava/core/format.hpp"
#include "facellava/cpu/device.hpp"
#include "peaks.hpp"

namespace facellava::bench {

struct Work {
  double operations = 0;  // a multiply and an add are two
  double bytes = 0;       // read or written at least once
  Unit unit = Unit::kFp32;
  Tier tier = Tier::kDram;  // where the bytes are
};

// The unit that multiplies with matrices of a format.
inline Unit unit_of(Format f, const cpu::Device& dev) {
  if (dev.precision() == cpu::Precision::kExact) return Unit::kFp32;
  if (f == Format::kBf16 && dev.isa() >= cpu::Isa::kAvx512Bf16) return Unit::kBf16;
  if ((f == Format::kQ8 || f == Format::kQ4) && dev.isa() >= cpu::Isa::kAvx2) return Unit::kInt8;
  return Unit::kFp32;
}

// The smallest level that holds this many bytes, with room to spare.
inline Tier tier_of(double bytes, int threads) {
  const CacheSizes cache = cache_sizes();
  if (bytes / threads <= double(cache.l2) / 2) return Tier::kL2;
  return bytes <= double(cache.l3) * 3 / 4 ? Tier::kL3 : Tier::kDram;
}

inline double least_seconds(const Work& w, Peaks& peaks, Clock clock) {
  double seconds = w.bytes / peaks.read(w.tier).by(clock);
  if (w.operations > 0) seconds = std::max(seconds, w.operations / peaks.compute(w.unit).by(clock));
  return seconds;
}

}  // namespace facellava::bench

// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, the same numbers on every machine.
#pragma once
#include <cstdint>

namespace facellava {

class Rng {
 public:
  explicit constexpr Rng(std::uint64_t seed) : state_(seed) {}
  constexpr std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  // In [0, 1), 53 bits.
  constexpr double uniform() { return double(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace facellava

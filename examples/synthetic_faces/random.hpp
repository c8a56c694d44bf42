// Random numbers of a sample: a function of the seed, the sample's number and what they are for, so that sample i is
// the same whatever came before it, and a change in one stage leaves the others as they are.
#pragma once
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "facellava/core/rng.hpp"

namespace synthetic_faces {

enum class Stream : std::uint64_t { kIdentity, kExpression, kScene, kSkin, kMesh, kCamera, kFake, kMotion, kWording };

class Dice {
 public:
  Dice(std::uint64_t seed, std::uint64_t sample, Stream stream, std::uint64_t part = 0)
      : rng_(mixed(mixed(mixed(seed) + sample) + std::uint64_t(stream) * 1024 + part)) {}

  std::uint64_t seed() { return rng_.next(); }
  float uniform() { return float(rng_.next() >> 40) * 0x1p-24f; }  // [0, 1)
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  bool chance(float part) { return uniform() < part; }
  int below(int n) { return int((rng_.next() >> 32) * std::uint64_t(n) >> 32); }
  // Mean 0, deviation 1: a sum of twelve uniform numbers, which needs no libm and never strays beyond 6.
  float normal() {
    float sum = -6;
    for (int i = 0; i < 12; ++i) sum += uniform();
    return sum;
  }
  int weighted(std::initializer_list<float> weights) {
    float all = 0;
    for (const float w : weights) all += w;
    float at = uniform() * all;
    int i = 0;
    for (const float w : weights) {
      if (at < w) return i;
      at -= w;
      ++i;
    }
    return int(weights.size()) - 1;
  }
  template <class T, std::size_t N>
  const T& pick(const T (&from)[N]) {
    return from[std::size_t(below(int(N)))];
  }

 private:
  static std::uint64_t mixed(std::uint64_t x) { return facellava::Rng(x).next(); }
  facellava::Rng rng_;
};

}  // namespace synthetic_faces

// Rotary tables: plain, linear and llama3 scaling, against the formulas written out in double.
#include "facellava/models/llama.hpp"

#include <doctest/doctest.h>

#include "support/random.hpp"

using namespace facellava;

namespace {

constexpr LlamaConfig with(RopeConfig rope) {
  return {.vocab = 8, .layers = 1, .block = {.dim = 16, .ffn = 8, .heads = 2, .kv_heads = 2}, .rope = rope};
}
constexpr RopeConfig kLlama3{.theta = 5e5f,
                             .scaling = RopeScaling::kLlama3,
                             .factor = 8,
                             .low_frequency_factor = 1,
                             .high_frequency_factor = 4,
                             .original_positions = 64};

template <RopeConfig R>
void check_table(double (*frequency)(int k)) {
  using L = Llama<with(R)>;
  constexpr Index kPositions = 200;
  test::Random<float> table(kPositions, L::kHeadDim, 1);
  L::fill_table(View<float, Host, kDyn, L::kHeadDim>(table.values.data(), kPositions));
  for (Index t = 0; t < kPositions; t += 7)
    for (int k = 0; k < L::kHeadDim / 2; ++k) {
      const double angle = double(t) * frequency(k);
      // the angle is rounded to fp32: 2^-24 of up to 200
      CHECK(table.matrix()(t, k) == doctest::Approx(std::cos(angle)).epsilon(2e-5));
      CHECK(std::abs(double(table.matrix()(t, L::kHeadDim / 2 + k)) - std::sin(angle)) < 2e-5);
    }
}

}  // namespace

TEST_CASE("plain") {
  check_table<RopeConfig{}>([](int k) { return std::pow(1e4, -2.0 * k / 8); });
}
TEST_CASE("linear: positions shrink by the factor") {
  check_table<RopeConfig{.theta = 1e4f, .scaling = RopeScaling::kLinear, .factor = 4}>(
      [](int k) { return std::pow(1e4, -2.0 * k / 8) / 4; });
}
TEST_CASE("llama3: long waves shrink, short ones stay, a blend between") {
  check_table<kLlama3>([](int k) {
    const double f = std::pow(5e5, -2.0 * k / 8), wave = 2 * 3.14159265358979 / f;
    if (wave < 64.0 / 4) return f;
    if (wave > 64.0 / 1) return f / 8;
    const double smooth = (64 / wave - 1) / (4 - 1);
    return (1 - smooth) * f / 8 + smooth * f;
  });
}

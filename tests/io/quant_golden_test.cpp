// NF4 with double quantisation, bit for bit against tensors that bitsandbytes wrote (goldens/quant).
#include <doctest/doctest.h>

#include "facellava/core/quantise.hpp"
#include "facellava/io/safetensors.hpp"

using namespace facellava;

TEST_CASE("nf4 equals bitsandbytes") {
  for (const std::string name : {"w0_128x192", "w1_48x80", "w2_10x33"}) {
    CAPTURE(name);
    const io::Safetensors golden(std::string(FACELLAVA_GOLDENS) + "/quant/" + name + ".safetensors");
    const auto weight = io::to_floats(golden.at("weight_fp16"));
    const auto theirs = [&](const char* tensor) { return io::to_floats(golden.at(tensor)); };
    const auto same = [](const std::vector<float>& a, const auto& b) {
      REQUIRE(a.size() == b.size());
      int different = 0;
      for (std::size_t i = 0; i < a.size(); ++i) different += a[i] != float(b[i]);
      return different;
    };
    CHECK(same(theirs("nf4_code"), kNf4Code) == 0);
    CHECK(same(theirs("nested.code"), kDynamicCode) == 0);

    const Nf4Matrix ours = quantise_nf4(weight.data(), Index(weight.size()));
    std::vector<int> packed;
    for (std::byte b : ours.packed) packed.push_back(std::to_integer<int>(b));
    CHECK(same(theirs("packed"), packed) == 0);
    CHECK(same(theirs("nested.absmax"), ours.nested) == 0);
    CHECK(theirs("absmax_offset")[0] == ours.offset);
    // the one scale where bitsandbytes did not take the nearest code: one step apart (README of the goldens)
    const auto absmax = theirs("absmax_quantised_u8");
    int apart = 0;
    for (std::size_t i = 0; i < absmax.size(); ++i) {
      const int steps = std::abs(int(absmax[i]) - int(ours.absmax[i]));
      CHECK(steps <= 1);
      apart += steps;
    }
    CHECK(apart <= (name == "w0_128x192" ? 1 : 0));

    // reading what bitsandbytes wrote
    std::vector<std::uint8_t> codes;
    for (float c : absmax) codes.push_back(std::uint8_t(c));
    const auto nested = theirs("nested.absmax");
    const std::byte* bytes = golden.at("packed").bytes.data();
    const Nf4Scales scales{bytes, codes.data(), nested.data(), theirs("absmax_offset")[0]};
    const auto scale = theirs("absmax_dequantised"), values = theirs("dequantised_fp32");
    int wrong = 0;
    for (std::size_t b = 0; b < scale.size(); ++b) wrong += scales.scale(Index(b)) != scale[b];
    for (std::size_t i = 0; i < values.size(); ++i)
      wrong += decode(Format::kNf4, bytes, Index(i), &scales) != values[i];
    CHECK(wrong == 0);
  }
}

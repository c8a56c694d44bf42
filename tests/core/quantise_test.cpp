// Storage formats: NF4 against tensors of bitsandbytes; the others against their definition.
#include "facellava/core/quantise.hpp"

#include <doctest/doctest.h>

#include "support/random.hpp"

using namespace facellava;
using test::Random;

TEST_CASE("fp16 rounds to nearest, ties to even") {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float x = to_float(f16{std::uint16_t(bits)});
    if (x != x) continue;
    REQUIRE(to_f16(x).bits == bits);
    if ((bits & 0x7fff) >= 0x7bff) continue;
    const float next = to_float(f16{std::uint16_t(bits + 1)}), middle = x + (next - x) / 2;
    REQUIRE(to_f16(middle).bits == (bits % 2 == 0 ? bits : bits + 1));
    REQUIRE(to_f16(std::nextafter(middle, next)).bits == bits + 1);
  }
  CHECK(to_f16(65519.f).bits == 0x7bff);
  CHECK(to_f16(65520.f).bits == 0x7c00);
  CHECK(to_float(to_f16(std::nanf(""))) != to_float(to_f16(std::nanf(""))));
}

TEST_CASE("block formats: rows are padded to whole blocks; errors stay below half a step") {
  for (Index n : {1, 31, 32, 33, 64, 80, 100}) {
    CAPTURE(n);
    const Random<float> x(1, n, unsigned(n));
    for (Format f : {Format::kF32, Format::kF16, Format::kBf16, Format::kQ8, Format::kQ4, Format::kQ4Offset}) {
      CAPTURE(format_name(f));
      const Index bytes = row_bytes(f, n);
      CHECK(bytes == (n + block_size(f) - 1) / block_size(f) * block_bytes(f));
      std::vector<std::byte> row(std::size_t(bytes) + 1, std::byte(0x5a));
      quantise_row(f, row.data(), x.values.data(), n);
      CHECK(row.back() == std::byte(0x5a));
      for (Index b = 0; b < n; b += 32) {
        float low = 0, high = 0;
        for (Index i = b; i < std::min(n, b + 32); ++i) {
          low = std::min(low, x.values[std::size_t(i)]);
          high = std::max(high, x.values[std::size_t(i)]);
        }
        // the width of a step, and what rounding the scale itself to fp16 adds; q4 may clip what it puts at +8
        const float top = std::max(-low, high);
        const float step = f == Format::kF32    ? 0
                           : f == Format::kF16  ? top * 0x1p-10f
                           : f == Format::kBf16 ? top * 0x1p-7f
                           : f == Format::kQ8   ? top / 127 * 1.1f
                           : f == Format::kQ4   ? top / 7 * 2
                                                : (high - low) / 15 * 1.1f;
        for (Index i = b; i < std::min(n, b + 32); ++i)
          CHECK(std::abs(decode(f, row.data(), i) - x.values[std::size_t(i)]) <= step / 2);
      }
    }
  }
}

TEST_CASE("q4 is never worse than ggml's rule for Q4_0, which puts the largest weight at −8") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    const Random<float> x(1, 32, seed);
    std::byte block[18];
    quantise_row(Format::kQ4, block, x.values.data(), 32);
    float top = 0;
    for (Index i = 0; i < 32; ++i)
      if (std::abs(x.values[std::size_t(i)]) > std::abs(top)) top = x.values[std::size_t(i)];
    const float d = top / -8;
    double ours = 0, theirs = 0;
    for (Index i = 0; i < 32; ++i) {
      const float v = x.values[std::size_t(i)];
      const float q = float(std::min(15, int(v / d + 8.5f)) - 8) * to_float(to_f16(d));
      ours += double(decode(Format::kQ4, block, i) - v) * double(decode(Format::kQ4, block, i) - v);
      theirs += double(q - v) * double(q - v);
    }
    CHECK(ours <= theirs * 1.0000001);
  }
}

TEST_CASE("a zero block and a zero row stay zero") {
  const std::vector<float> zero(64);
  for (Format f : kFormats) {
    if (f == Format::kNf4) continue;
    std::vector<std::byte> row(std::size_t(row_bytes(f, 64)), std::byte(0xff));
    quantise_row(f, row.data(), zero.data(), 64);
    for (Index i = 0; i < 64; ++i) CHECK(decode(f, row.data(), i) == 0);
  }
  const Nf4Matrix m = quantise_nf4(zero.data(), 64);
  const Nf4Scales s = m.scales();
  for (Index i = 0; i < 64; ++i) CHECK(decode(Format::kNf4, m.packed.data(), i, &s) == 0);
}

TEST_CASE("what is not finite does not vanish in the rounding") {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()})
    for (Index at : {0, 17, 40}) {
      std::vector<float> x(64, 1.f);
      x[std::size_t(at)] = bad;
      for (Format f : {Format::kQ8, Format::kQ4, Format::kQ4Offset}) {
        std::vector<std::byte> row(std::size_t(row_bytes(f, 64)));
        quantise_row(f, row.data(), x.data(), 64);
        for (Index i = 0; i < 64; ++i) CHECK(std::isfinite(decode(f, row.data(), i)) == (i / 32 != at / 32));
      }
      const Nf4Matrix m = quantise_nf4(x.data(), 64);
      const Nf4Scales s = m.scales();
      CHECK_FALSE(std::isfinite(decode(Format::kNf4, m.packed.data(), at, &s)));
    }
}

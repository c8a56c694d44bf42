#include "facellava/io/tensor_entry.hpp"

#include <array>
#include <cmath>

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

TensorEntry entry(DType dtype, std::string_view bytes) {
  return {dtype, {Index(bytes.size()) / dtype_size(dtype)}, as_bytes(bytes)};
}

}  // namespace

TEST_CASE("values of every element type, from bytes that are not aligned") {
  const auto misaligned = [](const std::string& bytes) { return "?" + bytes; };
  const auto floats = [&](DType type, const std::string& bytes) {
    const std::string shifted = misaligned(bytes);
    return to_floats(entry(type, std::string_view(shifted).substr(1)));
  };
  using Floats = std::vector<float>;
  CHECK(floats(DType::kF64, le(1.5) + le(-2.0)) == Floats{1.5f, -2.f});
  CHECK(floats(DType::kF32, le(0.1f) + le(-2.f)) == Floats{0.1f, -2.f});
  CHECK(floats(DType::kF16, le(std::uint16_t(0x3c00)) + le(std::uint16_t(0xc500))) == Floats{1.f, -5.f});
  CHECK(floats(DType::kBf16, le(std::uint16_t(0x3f80)) + le(std::uint16_t(0xc0a0))) == Floats{1.f, -5.f});
  CHECK(floats(DType::kI64, le(std::int64_t(-9))) == Floats{-9.f});
  CHECK(floats(DType::kBool, std::string("\x00\x01", 2)) == Floats{0.f, 1.f});
  CHECK(floats(DType::kF32, "").empty());

  const auto integers = [&](DType type, const std::string& bytes) { return to_integers(entry(type, bytes)); };
  using Integers = std::vector<std::int64_t>;
  CHECK(integers(DType::kI64, le(std::int64_t(1) << 62)) == Integers{std::int64_t(1) << 62});
  CHECK(integers(DType::kI32, le(-7)) == Integers{-7});
  CHECK(integers(DType::kI16, le(std::int16_t(-300))) == Integers{-300});
  CHECK(integers(DType::kI8, "\xff") == Integers{-1});
  CHECK(integers(DType::kU8, "\xff") == Integers{255});
  CHECK(mentions(error_of(ErrorKind::kArgument, [&] { integers(DType::kF16, "ab"); }), "found one of f16"));
}

TEST_CASE("products of sizes do not overflow") {
  constexpr Index big = Index(1) << 62;
  const auto count = [](std::vector<Index> shape) { return checked_count(shape); };
  CHECK(count({}) == 1);
  CHECK(count({3, 5, 7}) == 105);
  CHECK(count({0, big, big}) == 0);
  CHECK_FALSE(count({big, 2}));
  CHECK_FALSE(count({3, -1}));
  CHECK_FALSE(checked_bytes(DType::kF32, std::array<Index, 1>{big}));
  CHECK(checked_bytes(DType::kU8, std::array<Index, 1>{big}) == big);
  CHECK(shape_text(std::array<Index, 2>{2, 3}) == "[2, 3]");
  CHECK(shape_text({}) == "[]");
}

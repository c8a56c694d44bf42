// What is written is what a reader finds, in the layout of torch.save.
#include "facellava/io/torch_bin_writer.hpp"

#include <array>
#include <fstream>

#include "facellava/io/torch_bin.hpp"
#include "scratch.hpp"

using namespace facellava;
using namespace facellava::test;

TEST_CASE("tensors of every type and rank come back from a .bin") {
  const std::array<float, 6> wide{1, -2, 3.5f, 0, 1e-30f, -7};
  const std::array<f16, 2> half{to_f16(1.5f), to_f16(-2)};
  const std::array<bf16, 3> brain{to_bf16(1), to_bf16(2), to_bf16(3)};
  const auto bytes = [](const auto& a) { return std::as_bytes(std::span(a)); };
  const io::NamedTensor tensors[] = {{"a.weight", io::DType::kF32, {2, 3}, bytes(wide)},
                                     {"h", io::DType::kF16, {2}, bytes(half)},
                                     {"b", io::DType::kBf16, {1, 3, 1}, bytes(brain)},
                                     {"scalar", io::DType::kF32, {}, bytes(wide).first(4)},
                                     {"empty", io::DType::kF32, {0, 3}, {}}};
  const Scratch folder;
  io::write_torch_bin(folder.at("m.bin"), tensors);
  const io::TorchBin read(folder.at("m.bin"));
  REQUIRE(read.tensors().size() == 5);
  for (const io::NamedTensor& t : tensors) {
    CAPTURE(t.name);
    const io::TensorEntry& found = read.at(t.name);
    CHECK(found.dtype == t.dtype);
    CHECK(found.shape == t.shape);
    CHECK(std::equal(found.bytes.begin(), found.bytes.end(), t.bytes.begin(), t.bytes.end()));
  }
}

TEST_CASE("checksums of a .bin are those of zip") {
  const std::string text = "123456789";  // the check value of CRC-32
  CHECK(io::detail::crc32(std::as_bytes(std::span(text))) == 0xcbf43926u);
}

TEST_CASE("tensors that torch lacks or whose bytes are not their shape's are refused, and the old file stays") {
  const Scratch folder;
  const std::string path = folder.write("m.bin", "old");
  const std::array<std::byte, 8> bytes{};
  const auto refuse = [&](io::DType type, const std::vector<Index>& shape, const char* word) {
    const io::NamedTensor t[] = {{"t", type, shape, bytes}};
    CHECK_THROWS_WITH_AS(io::write_torch_bin(path, t), doctest::Contains(word), Error);
  };
  refuse(io::DType::kI64, {1}, "expected f32, f16 or bf16");
  refuse(io::DType::kF32, {3}, "expected 12, found 8");
  std::ifstream file(path);
  std::string kept;
  file >> kept;
  CHECK(kept == "old");
}

#include "facellava/io/safetensors_writer.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

TEST_CASE("what is written is read back, aligned for its type") {
  const Scratch scratch;
  const std::string bytes(60, '\5');
  const auto part = [&](std::size_t n) { return as_bytes(bytes).first(n); };
  const std::vector<NamedTensor> tensors{{"odd \"name\"", DType::kU8, {3, 1}, part(3)},
                                         {"half", DType::kF16, {5}, part(10)},
                                         {"wide", DType::kF64, {}, part(8)},
                                         {"empty", DType::kI32, {2, 0}, part(0)},
                                         {"float", DType::kF32, {3, 5}, part(60)}};
  const std::string path = scratch.at("w.safetensors");
  write_safetensors(path, tensors, {{"format", "pt"}});
  const Safetensors file(path);
  CHECK(file.tensors().size() == tensors.size());
  CHECK(file.metadata().at("format") == "pt");
  for (const auto& t : tensors) {
    const auto& found = file.at(t.name);
    CHECK(found.dtype == t.dtype);
    CHECK(found.shape == t.shape);
    CHECK(std::equal(found.bytes.begin(), found.bytes.end(), t.bytes.begin(), t.bytes.end()));
    CHECK(reinterpret_cast<std::uintptr_t>(found.bytes.data()) % std::uintptr_t(dtype_size(t.dtype)) == 0);
  }
  CHECK(reinterpret_cast<std::uintptr_t>(file.at("wide").bytes.data()) % 64 == 0);
  write_safetensors(path, {});
  CHECK(Safetensors(path).tensors().empty());
}

TEST_CASE("a real checkpoint survives being written again, onto itself") {
  const Scratch scratch;
  const std::string path = scratch.write(
      "again.safetensors",
      slurp(std::string(FACELLAVA_GOLDENS) + "/model_tiny/ckpt_safetensors_bf16/model-00002-of-00003.safetensors"));
  const Safetensors before(path);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, t] : before.tensors()) tensors.push_back({name, t.dtype, t.shape, t.bytes});
  write_safetensors(path, tensors, before.metadata());
  const Safetensors after(path);
  REQUIRE(after.tensors().size() == before.tensors().size());
  for (const auto& [name, t] : before.tensors()) CHECK(to_floats(after.at(name)) == to_floats(t));
}

TEST_CASE("nonsense is refused before anything is written") {
  const Scratch scratch;
  const std::string path = scratch.at("w.safetensors"), bytes(8, 'x');
  const auto fails = [&](std::vector<NamedTensor> tensors) {
    return error_of(ErrorKind::kArgument, [&] { write_safetensors(path, tensors); });
  };
  const NamedTensor good{"a", DType::kF32, {2}, as_bytes(bytes)};
  CHECK(mentions(fails({good, good}), "given twice"));
  CHECK(mentions(fails({{"a", DType::kF32, {3}, as_bytes(bytes)}}), "expected 12, found 8"));
  CHECK(mentions(fails({{"a", DType::kF32, {-2}, as_bytes(bytes)}}), "negative or too large"));
  CHECK(mentions(fails({{"__metadata__", DType::kF32, {2}, as_bytes(bytes)}}), "reserved"));
  CHECK(mentions(fails({{"\xff", DType::kF32, {2}, as_bytes(bytes)}}), "UTF-8"));
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("block formats come back as what they are") {
  const Scratch scratch;
  const std::string path = scratch.at("blocks.safetensors");
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<std::byte>> data;
  for (DType t : {DType::kQ8, DType::kQ4, DType::kQ4Offset, DType::kNf4}) {
    const std::vector<Index> shape{3, 48};
    auto& bytes = data.emplace_back(std::size_t(*checked_bytes(t, shape)));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i % 50);
    tensors.emplace_back(dtype_name(t), t, shape, bytes);
  }
  write_safetensors(path, tensors);
  const Safetensors file(path);
  for (const NamedTensor& t : tensors) {
    const TensorEntry& found = file.at(t.name);
    CHECK(found.dtype == t.dtype);
    CHECK(found.shape == t.shape);
    CHECK(std::equal(found.bytes.begin(), found.bytes.end(), t.bytes.begin(), t.bytes.end()));
    CHECK(to_floats(found).size() == 144);
  }
  const std::vector<std::byte> bytes(12);
  for (const char* kind : {"q4", "q4 3", "q4 3 4 5", "q3 3 48", "f32 1 3", "q4 -1 48", "q4 1 48",
                           "q8 4611686018427387904 4611686018427387904"}) {
    write_safetensors(path, std::vector<NamedTensor>{{"w", DType::kU8, {12}, bytes}}, {{"w", kind}});
    CAPTURE(kind);
    CHECK(mentions(error_of(ErrorKind::kFormat, [&] { Safetensors again(path); }), "\"w\""));
  }
}

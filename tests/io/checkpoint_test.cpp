#include "facellava/io/checkpoint.hpp"

#include "facellava/io/naming.hpp"
#include "facellava/io/safetensors_writer.hpp"
#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::string golden(const std::string& name) { return std::string(FACELLAVA_GOLDENS) + "/model_tiny/" + name; }

// A safetensors file of float vectors of length one.
void write_ones(const std::string& path, const std::vector<std::string>& names, float value = 1.f) {
  const std::string bytes = le(value);
  std::vector<NamedTensor> tensors;
  for (const auto& name : names) tensors.push_back({name, DType::kF32, {1}, as_bytes(bytes)});
  write_safetensors(path, tensors);
}
float value_of(const Checkpoint& c, const std::string& name) { return to_floats(c.at(name)).at(0); }

}  // namespace

TEST_CASE("the same model from .bin and from safetensors has the same values") {
  const Checkpoint bin(golden("ckpt_bin_fp16")), safe(golden("ckpt_safetensors_bf16"), Load::kCopy);
  CHECK(bin.tensors().size() == 253);
  REQUIRE(bin.tensors().size() == safe.tensors().size());
  CHECK(bin.file_of("lm_head.weight").ends_with("pytorch_model-00003-of-00003.bin"));
  CHECK(safe.file_of("lm_head.weight").ends_with("model-00003-of-00003.safetensors"));
  for (const auto& [name, tensor] : bin.tensors()) {
    INFO(name);
    CHECK(tensor.dtype == DType::kF16);
    CHECK(safe.at(name).dtype == DType::kBf16);
    CHECK(tensor.shape == safe.at(name).shape);
    // Parameters are exact in both formats; the frequency tables were rounded from fp32 to each, and nobody reads them.
    if (!is_ignored(name)) CHECK(to_floats(tensor) == to_floats(safe.at(name)));
  }
}

TEST_CASE("which file of a folder is read") {
  const Scratch scratch;
  const std::string folder = scratch.at("m");
  std::filesystem::create_directory(folder);
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { Checkpoint c(folder); }), "found 0 .safetensors"));
  write_ones(folder + "/lone.safetensors", {"a"}, 1.f);
  CHECK(value_of(Checkpoint(folder), "a") == 1.f);
  CHECK(value_of(Checkpoint(folder + "/lone.safetensors"), "a") == 1.f);
  write_ones(folder + "/other.safetensors", {"a"}, 2.f);
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { Checkpoint c(folder); }), "found 2 .safetensors"));
  scratch.write(
      "m/pytorch_model.bin",
      make_zip({{"m/data.pkl",
                 pickle_dict(pickle_text("a") + pickle_tensor(pickle_storage("FloatStorage", "0", 1), 0, {1}, {1}))},
                {"m/data/0", le(3.f)}}));
  CHECK(value_of(Checkpoint(folder), "a") == 3.f);
  scratch.write("m/pytorch_model.bin.index.json", R"({"weight_map": {"a": "pytorch_model.bin"}})");
  CHECK(value_of(Checkpoint(folder), "a") == 3.f);
  write_ones(folder + "/model.safetensors", {"a"}, 4.f);
  CHECK(value_of(Checkpoint(folder), "a") == 4.f);
  scratch.write("m/model.safetensors.index.json", R"({"weight_map": {"a": "other.safetensors"}})");
  CHECK(value_of(Checkpoint(folder), "a") == 2.f);
}

TEST_CASE("an index that does not tell the truth is refused") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.at("m"));
  write_ones(scratch.at("outside.safetensors"), {"a"});
  write_ones(scratch.at("m/one.safetensors"), {"a", "b"});
  write_ones(scratch.at("m/two.safetensors"), {"c"});
  const auto fails = [&](const std::string& map, ErrorKind kind = ErrorKind::kFormat) {
    scratch.write("m/model.safetensors.index.json", map);
    return error_of(kind, [&] { Checkpoint c(scratch.at("m")); });
  };
  scratch.write("m/model.safetensors.index.json",
                R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}})");
  CHECK(Checkpoint(scratch.at("m")).tensors().size() == 3);
  CHECK(mentions(fails(R"({"weight_map": {"a": "../outside.safetensors"}})"), "beside the index"));
  CHECK(mentions(fails(R"({"weight_map": {"a": ")" + scratch.at("outside.safetensors") + "\"}}"), "beside the index"));
  CHECK(mentions(fails(R"({"weight_map": {"a": ".."}})"), "beside the index"));
  CHECK(mentions(fails(R"({"weight_map": {"a": ""}})"), "beside the index"));
  CHECK(mentions(fails(R"({"weight_map": {"a": 1}})"), "the shard of a"));
  CHECK(mentions(fails(R"({"weight_map": []})"), "weight_map"));
  CHECK(mentions(fails(R"({})"), "weight_map"));
  CHECK(mentions(fails(R"({"weight_map": {"a": "none.safetensors"}})", ErrorKind::kFile), "none.safetensors"));
  CHECK(mentions(fails(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "d": "two.safetensors"}})"),
                 "\"d\""));
  CHECK(mentions(fails(R"({"weight_map": {"a": "one.safetensors"}})"), "not in the index"));
}

TEST_CASE("paths that lead nowhere are errors of this library") {
  const Scratch scratch;
  error_of(ErrorKind::kFile, [&] { Checkpoint c(scratch.at("none")); });
  error_of(ErrorKind::kFile, [&] { Checkpoint c(scratch.at(std::string(5000, 'x'))); });
  error_of(ErrorKind::kFormat, [&] { Checkpoint c(scratch.write("noise.bin", "noise that is no archive")); });
}

#include "facellava/io/safetensors.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::string with_header(const std::string& header, const std::string& data) {
  return le(std::uint64_t(header.size())) + header + data;
}
std::string small() {
  return with_header(
      R"({"__metadata__":{"by":"hand"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("s":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"e":{"dtype":"F16","shape":[0,4],"data_offsets":[32,32]}} )",
      le(0.f) + le(1.f) + le(2.f) + le(3.f) + le(4.f) + le(5.f) + le(std::int64_t(-8)));
}
std::string refusal(const Scratch& scratch, const std::string& bytes) {
  return error_of(ErrorKind::kFormat, [&] { Safetensors(scratch.write("bad.safetensors", bytes)); });
}
// One tensor "t" of such a description, before 16 bytes of data.
std::string one(const std::string& description) {
  return with_header("{\"t\":{" + description + "}}", std::string(16, '\1'));
}

}  // namespace

TEST_CASE("tensors and metadata of a small file") {
  const Scratch scratch;
  for (const Load load : {Load::kMap, Load::kCopy}) {
    const Safetensors file(scratch.write("small.safetensors", small()), load);
    CHECK(file.tensors().size() == 3);
    CHECK(file.metadata().at("by") == "hand");
    CHECK(file.at("w").shape == std::vector<Index>{2, 3});
    CHECK(to_floats(file.at("w")) == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(to_integers(file.at("s")) == std::vector<std::int64_t>{-8});
    CHECK(file.at("e").count() == 0);
    const auto text = error_of(ErrorKind::kFormat, [&] { file.at("absent"); });
    CHECK(mentions(text, "\"absent\""));
    CHECK(mentions(text, file.path()));
  }
}

TEST_CASE("headers that lie are refused, with what is wrong") {
  const Scratch scratch;
  const auto fails = [&](const std::string& bytes) { return refusal(scratch, bytes); };
  CHECK(mentions(fails("short"), "at least 8 bytes"));
  CHECK(mentions(fails(le(~std::uint64_t(0)) + "{}"), "claims 18446744073709551615"));
  CHECK(mentions(fails(le(std::uint64_t(3)) + "{}"), "claims 3"));
  CHECK(mentions(fails(with_header("[]", "")), "must start with '{'"));
  CHECK(mentions(fails(with_header("{\"a\":", "")), "not valid JSON"));
  CHECK(mentions(fails(with_header(R"({"__metadata__":{"a":1}})", "")), "__metadata__.a"));
  CHECK(mentions(fails(with_header(R"({"t":3})", "")), "tensor \"t\""));
  CHECK(mentions(fails(one(R"("dtype":"F8_E4M3","shape":[16],"data_offsets":[0,16])")), "\"F8_E4M3\""));
  CHECK(mentions(fails(one(R"("dtype":"F32","data_offsets":[0,16])")), "\"shape\""));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[5],"data_offsets":[0,16])")), "expected 20, found 16"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[-4],"data_offsets":[0,16])")), "negative or too large"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[4.0],"data_offsets":[0,16])")), "\"shape\""));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,16])")), "\"shape\""));
  CHECK(mentions(fails(one(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])")), "too large"));
  CHECK(mentions(fails(one(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])")), "too large"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[4],"data_offsets":[16,0])")), "data_offsets"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[4],"data_offsets":[1,17])")), "data_offsets"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[4],"data_offsets":[0])")), "data_offsets"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])")), "end at byte 12"));
  CHECK(mentions(fails(one(R"("dtype":"F32","shape":[3],"data_offsets":[4,16])")), "hole"));
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  CHECK(mentions(
      fails(with_header("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", std::string(12, '\1'))),
      "overlap at byte 4"));
  CHECK(mentions(fails(with_header("{" + a + "," + a + "}", std::string(8, '\1'))), "twice"));
}

TEST_CASE("a truncated file is refused at every length") {
  const Scratch scratch;
  const std::string real =
      slurp(std::string(FACELLAVA_GOLDENS) + "/model_tiny/ckpt_safetensors_bf16/model-00002-of-00003.safetensors");
  REQUIRE(real.size() > 8);
  std::uint64_t header = 0;
  std::memcpy(&header, real.data(), 8);
  for (std::size_t n = 1; n < 300; ++n) refusal(scratch, real.substr(0, n));
  for (std::size_t n = header; n < header + 16; ++n) refusal(scratch, real.substr(0, n));
  for (std::size_t part = 1; part < 50; ++part) refusal(scratch, real.substr(0, real.size() * part / 50));
  refusal(scratch, real + "x");
  const std::string tiny = small();
  for (std::size_t n = 1; n < tiny.size(); ++n) refusal(scratch, tiny.substr(0, n));
}

TEST_CASE("a damaged file is read or refused, never worse") {
  const Scratch scratch;
  mutate(small(), small().size() - 32, 4000, [&](const std::string& mutant) {
    survives([&] {
      const Safetensors file(scratch.write("mutant.safetensors", mutant));
      for (const auto& [name, tensor] : file.tensors()) CHECK(to_floats(tensor).size() == std::size_t(tensor.count()));
    });
  });
}

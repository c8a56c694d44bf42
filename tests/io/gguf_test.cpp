#include "facellava/io/gguf.hpp"

#include <cmath>

#include "facellava/core/quantise.hpp"
#include "facellava/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/gguf_writer.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;
using Strings = std::vector<std::string>;
using Views = std::vector<std::string_view>;

namespace {

GgufWriter sample() {
  GgufWriter w;
  const float x[6] = {1, -2, 3, -4, 5, -6};
  w.add("general.architecture", std::string("llama"))
      .add("a.list", std::vector<std::int32_t>{-1, 0, 7})
      .add("words", Strings{"one", "", "three"})
      .add("on", true)
      .tensor("w", {2, 3}, x)
      .tensor("v", {3}, x);
  return w;
}

// Opens the bytes, which must be refused; the message.
std::string refused(const Scratch& scratch, const std::string& bytes) {
  const std::string path = scratch.write("bad.gguf", bytes);
  return error_of(ErrorKind::kFormat, [&] { Gguf{path}; });
}

// Reads all that a file has, so that a sanitizer sees every byte.
void touch(const std::string& path) {
  const Gguf file(path);
  for (const auto& [name, t] : file.tensors()) to_floats(t);
  file.optional<std::vector<std::string_view>>("words");
  file.optional<std::vector<int>>("a.list");
}

}  // namespace

TEST_CASE("metadata of every type, read as what fits") {
  const Scratch scratch;
  GgufWriter w;
  w.add("u8", std::uint8_t(200))
      .add("i8", std::int8_t(-3))
      .add("u16", std::uint16_t(65535))
      .add("i16", std::int16_t(-9));
  w.add("u32", std::uint32_t(4000000000)).add("i32", std::int32_t(-5)).add("u64", std::uint64_t(1) << 63);
  w.add("i64", std::int64_t(-1))
      .add("f32", 1.5f)
      .add("f64", 1e300)
      .add("no", false)
      .add("text", std::string("h\xC3\xA9"));
  w.add("empty", Strings{}).add("words", Strings{"a", "bc"}).add("floats", std::vector<float>{0.5f, -2.f});
  for (const std::uint32_t version : {2u, 3u}) {
    w.version = version;
    const Gguf file(scratch.write("m.gguf", w.bytes()));
    CHECK(file.tensors().empty());
    CHECK(file.require<int>("u8") == 200);
    CHECK(file.require<std::int64_t>("i8") == -3);
    CHECK(file.require<float>("u16") == 65535.f);
    CHECK(file.require<int>("i16") == -9);
    CHECK(file.require<std::uint64_t>("u32") == 4000000000u);
    CHECK(file.require<int>("i32") == -5);
    CHECK(file.require<std::uint64_t>("u64") == std::uint64_t(1) << 63);
    CHECK(file.require<double>("f64") == 1e300);
    CHECK(file.require<float>("f32") == 1.5f);
    CHECK_FALSE(file.require<bool>("no"));
    CHECK(file.require<std::string_view>("text") == "h\xC3\xA9");
    CHECK(file.require<Views>("empty").empty());
    CHECK(file.require<Views>("words") == Views{"a", "bc"});
    CHECK(file.require<std::vector<float>>("floats") == std::vector<float>{0.5f, -2.f});
    CHECK(file.contains("u8"));
    CHECK_FALSE(file.optional<int>("absent"));
  }
  const Gguf file(scratch.at("m.gguf"));
  const auto fails = [&](auto&& body, std::string_view part) {
    CHECK(mentions(error_of(ErrorKind::kFormat, body), part));
  };
  fails([&] { file.require<int>("absent"); }, "\"absent\" is missing");
  fails([&] { file.require<int>("u32"); }, "\"u32\": expected a number that fits, found 4000000000");
  fails([&] { file.require<std::uint32_t>("i8"); }, "found -3");
  fails([&] { file.require<int>("f32"); }, "expected an integer");
  fails([&] { file.require<float>("f64"); }, "expected a number that fits");
  fails([&] { file.require<int>("text"); }, "expected a number, found string");
  fails([&] { file.require<bool>("u8"); }, "expected a bool, found u8");
  fails([&] { file.require<std::string_view>("words"); }, "expected a string, found array");
  fails([&] { file.require<Views>("text"); }, "expected an array, found string");
  fails([&] { file.require<std::vector<int>>("words"); }, "expected a number, found string");
}

TEST_CASE("tensors of every type lie in the file, innermost size first") {
  const Scratch scratch;
  std::vector<float> values(128);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(float(i)) * 3;
  constexpr std::pair<std::uint32_t, Format> kTypes[] = {{0, Format::kF32}, {1, Format::kF16}, {30, Format::kBf16},
                                                         {8, Format::kQ8},  {2, Format::kQ4},  {3, Format::kQ4Offset}};
  for (const std::uint64_t alignment : {32u, 64u}) {
    GgufWriter w;
    w.alignment = alignment;
    w.add("general.alignment", std::uint32_t(alignment));
    for (const auto& [type, format] : kTypes) {
      std::string rows(std::size_t(2 * row_bytes(format, 64)), '\0');
      for (Index r = 0; r < 2; ++r)
        quantise_row(format, reinterpret_cast<std::byte*>(rows.data()) + r * row_bytes(format, 64),
                     &values[std::size_t(64 * r)], 64);
      w.tensor(format_name(format), type, {2, 64}, rows);
    }
    w.tensor("cube", {2, 3, 4}, values.data());
    const Checkpoint checkpoint(scratch.write("t.gguf", w.bytes()));
    REQUIRE(checkpoint.gguf() != nullptr);
    CHECK(checkpoint.tensors().size() == 7);
    CHECK(checkpoint.at("cube").shape == std::vector<Index>{2, 3, 4});
    CHECK(checkpoint.file_of("cube") == checkpoint.path());
    CHECK(to_floats(checkpoint.at("f32")) == values);
    for (const auto& [type, format] : kTypes) {
      CAPTURE(format_name(format));
      const TensorEntry& t = checkpoint.at(format_name(format));
      CHECK(t.shape == std::vector<Index>{2, 64});
      CHECK(format_of(t.dtype) == format);
      // Half a step of the coarsest: 4 bits over ±3.
      const auto read = to_floats(t);
      for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::abs(read[i] - values[i]) < 0.25f);
    }
  }
}

TEST_CASE("a file that is no GGUF of a known version") {
  const Scratch scratch;
  const std::string good = sample().bytes();
  CHECK(mentions(refused(scratch, "GGML" + good.substr(4)), "expected the letters GGUF"));
  GgufWriter w = sample();
  for (const std::uint32_t version : {0u, 1u, 4u}) {
    w.version = version;
    CHECK(mentions(refused(scratch, w.bytes()), "expected version 2 or 3, found " + std::to_string(version)));
  }
  w.version = 3u << 24;
  CHECK(mentions(refused(scratch, w.bytes()), "a big-endian file?"));
}

TEST_CASE("a file cut anywhere is refused, a whole one is read") {
  const Scratch scratch;
  const std::string good = sample().bytes();
  touch(scratch.write("good.gguf", good));
  for (std::size_t bytes = 1; bytes < good.size(); ++bytes) {
    CAPTURE(bytes);
    refused(scratch, good.substr(0, bytes));
  }
}

TEST_CASE("damaged files are read or refused") {
  const Scratch scratch;
  const std::string good = sample().bytes();
  mutate(good, good.size() - 64, 4000, [&](const std::string& mutant) {
    if (!mutant.empty()) survives([&] { touch(scratch.write("mutant.gguf", mutant)); });
  });
}

TEST_CASE("hostile counts and lengths") {
  const Scratch scratch;
  using gguf::raw;
  constexpr std::uint64_t kHuge[] = {std::uint64_t(1) << 63, ~std::uint64_t(0), std::uint64_t(1) << 40};
  for (const std::uint64_t n : kHuge) {
    CAPTURE(n);
    const std::string head = "GGUF" + raw(3u);
    CHECK(mentions(refused(scratch, head + raw(n) + raw(std::uint64_t(0))), "tensors: expected at most"));
    CHECK(mentions(refused(scratch, head + raw(std::uint64_t(0)) + raw(n)), "metadata: expected at most"));
    const std::string one = head + raw(std::uint64_t(0)) + raw(std::uint64_t(1));
    CHECK(mentions(refused(scratch, one + raw(n) + "key"), "expected a key of 1 to 65535 bytes"));
    const std::string key = one + gguf::text("k");
    const std::string text = raw(std::uint32_t(GgufType::kString)), list = raw(std::uint32_t(GgufType::kArray));
    CHECK(mentions(refused(scratch, key + text + raw(n) + "x"), "more bytes, found 1"));
    for (const GgufType element : {GgufType::kU8, GgufType::kF64, GgufType::kString, GgufType::kArray})
      CHECK(mentions(refused(scratch, key + list + raw(std::uint32_t(element)) + raw(n) + std::string(40, 0)),
                     "an array claims"));
    GgufWriter w;
    w.info("t", 0, {n, n}, 0);
    CHECK(mentions(refused(scratch, w.bytes()), "too large"));
  }
  CHECK(mentions(
      refused(scratch, "GGUF" + raw(3u) + raw(std::uint64_t(0)) + raw(std::uint64_t(1000)) + std::string(80, 0)),
      "a key"));
}

TEST_CASE("arrays in arrays are read over, to a depth") {
  const Scratch scratch;
  std::string nested = gguf::array(std::vector<std::uint8_t>{1, 2});
  const auto wrap = [](const std::string& inner) {
    return gguf::raw(std::uint32_t(GgufType::kArray)) + gguf::raw(std::uint64_t(1)) + inner;
  };
  for (int depth = 1; depth < kMaxGgufDepth; ++depth) nested = wrap(nested);
  GgufWriter w = sample();
  w.add_raw("nested", GgufType::kArray, nested);
  const Gguf file(scratch.write("n.gguf", w.bytes()));
  CHECK(file.tensors().size() == 2);
  CHECK(mentions(error_of(ErrorKind::kFormat, [&] { file.require<std::vector<int>>("nested"); }), "found array"));
  w.add_raw("deeper", GgufType::kArray, wrap(nested));
  CHECK(mentions(refused(scratch, w.bytes()), "nested more than 4 deep"));
}

TEST_CASE("tensors that do not fit into the file") {
  const Scratch scratch;
  const auto with = [&](auto&& change) {
    GgufWriter w = sample();
    change(w);
    return refused(scratch, w.bytes());
  };
  CHECK(mentions(with([](auto& w) { w.info("far", 0, {4}, std::uint64_t(1) << 40); }), "bytes at offset"));
  CHECK(mentions(with([](auto& w) { w.info("far", 0, {4}, ~std::uint64_t(31)); }), "bytes at offset"));
  CHECK(mentions(with([](auto& w) { w.info("odd", 0, {1}, 4); }), "aligned to 32, found 4"));
  CHECK(mentions(with([](auto& w) { w.info("on", 0, {1}, 0); }), "overlap"));
  CHECK(mentions(with([](auto& w) { w.info("w", 0, {0}, 0); }), "\"w\" is given twice"));
  CHECK(mentions(with([](auto& w) { w.info("flat", 0, {}, 0); }), "1 to 4 dimensions, found 0"));
  CHECK(mentions(with([](auto& w) { w.info("deep", 0, {1, 1, 1, 1, 1}, 0); }), "1 to 4 dimensions, found 5"));
  CHECK(mentions(with([](auto& w) { w.info("wide", 0, {1u << 31, 1u << 31, 1u << 31}, 0); }), "too large"));
  CHECK(mentions(with([](auto& w) { w.info("q", 8, {2, 33}, 0); }), "whole blocks of 32, found 33"));
  CHECK(mentions(with([](auto& w) { w.add("on", true); }), "the key \"on\" is given twice"));
}

TEST_CASE("tensor types that cannot be run are refused by name") {
  const Scratch scratch;
  constexpr std::pair<std::uint32_t, const char*> kTypes[] = {{6, "Q5_0"},
                                                              {12, "Q4_K"},
                                                              {14, "Q6_K"},
                                                              {20, "IQ4_NL"},
                                                              {24, "I8"},
                                                              {39, "MXFP4"},
                                                              {4, "the unknown type 4"},
                                                              {0xffffffffu, "the unknown type 4294967295"}};
  for (const auto& [type, name] : kTypes) {
    GgufWriter w;
    w.tensor("blk.0.attn_q.weight", type, {1, 256}, std::string(256, '\0'));
    const std::string what = refused(scratch, w.bytes());
    CHECK(mentions(what,
                   "\"blk.0.attn_q.weight\": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found " + std::string(name)));
  }
}

TEST_CASE("alignments that are none") {
  const Scratch scratch;
  for (const std::uint32_t alignment : {0u, 3u, 48u}) {
    GgufWriter w = sample();
    w.add("general.alignment", alignment);
    CHECK(mentions(refused(scratch, w.bytes()), "expected a power of two, found " + std::to_string(alignment)));
  }
  GgufWriter w = sample();
  w.add("general.alignment", std::uint32_t(1u << 31));
  CHECK(mentions(refused(scratch, w.bytes()), "bytes at offset 0 of the data, which has 0"));
}

TEST_CASE("which paths are GGUF files") {
  const Scratch scratch;
  CHECK(is_gguf("some/model.gguf"));
  CHECK_FALSE(is_gguf("model.safetensors"));
  std::filesystem::create_directory(scratch.at("folder.gguf"));
  CHECK_FALSE(is_gguf(scratch.at("folder.gguf")));
  // A shard of an index is never one.
  std::filesystem::create_directory(scratch.at("sharded"));
  scratch.write("sharded/a.gguf", sample().bytes());
  scratch.write("sharded/model.safetensors.index.json", R"({"weight_map": {"w": "a.gguf"}})");
  error_of(ErrorKind::kFormat, [&] { Checkpoint{scratch.at("sharded")}; });
}

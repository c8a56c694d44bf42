#include "facellava/io/convert.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::shared_ptr<const Checkpoint> tiny() {
  return std::make_shared<Checkpoint>(std::string(FACELLAVA_GOLDENS) + "/model_tiny/ckpt_safetensors_bf16");
}
struct Cut {};

}  // namespace

TEST_CASE("every format: each tensor is there, vectors and positions as they were, matrices within a step") {
  const auto from = tiny();
  for (Format f : kFormats) {
    CAPTURE(format_name(f));
    const Scratch scratch;
    std::size_t last = 0;
    const Converter convert(
        {{from}},
        {.format = f, .shard_bytes = 300'000, .threads = 3, .progress = [&](std::size_t done, std::size_t all) {
           CHECK(done >= last);
           CHECK(done <= all);
           last = done;
         }});
    CHECK(convert.shards() > 1);
    convert.write(scratch.at("out"));
    CHECK(last == convert.bytes());
    const Checkpoint to(scratch.at("out"));
    REQUIRE(to.tensors().size() == from->tensors().size());
    int changed = 0;
    for (const auto& [name, before] : from->tensors()) {
      CAPTURE(name);
      const TensorEntry& after = to.at(name);
      CHECK(after.shape == before.shape);
      const auto a = to_floats(before), b = to_floats(after);
      REQUIRE(a.size() == b.size());
      changed += after.dtype != before.dtype;
      float top = 0, worst = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        top = std::max(top, std::abs(a[i]));
        worst = std::max(worst, std::abs(a[i] - b[i]));
      }
      if (after.dtype == before.dtype || !is_block_type(after.dtype))
        CHECK(worst == 0);  // the goldens' weights are the same in fp32, fp16 and bf16
      else
        CHECK(worst <= top * (after.dtype == DType::kQ8 ? 0.005f : 0.2f));
      if (name.find("position_embedding") != name.npos || name.ends_with("bias"))
        CHECK_FALSE(is_block_type(after.dtype));
      if (is_block_format(f) && (name == "lm_head.weight" || name == "model.embed_tokens.weight"))
        CHECK(after.dtype == DType::kQ8);
    }
    CHECK((changed > 0) == (f != Format::kBf16));
  }
}

TEST_CASE("a conversion that is cut off at any tensor is no checkpoint, and goes on where it stopped") {
  const auto from = tiny();
  const Scratch scratch;
  const auto whole = scratch.at("whole");
  const ConvertOptions plain{.format = Format::kQ4, .shard_bytes = 300'000, .threads = 1};
  Converter({{from}}, plain).write(whole);
  int calls = 0;
  for (int stop = 0;; ++stop) {
    const std::string folder = scratch.at("cut" + std::to_string(stop));
    calls = 0;
    ConvertOptions o = plain;
    o.progress = [&](std::size_t, std::size_t) {
      if (calls++ == stop * 7) throw Cut{};
    };
    bool cut = false;
    try {
      Converter({{from}}, o).write(folder);
    } catch (const Cut&) {
      cut = true;
    }
    if (!cut) break;
    if (std::filesystem::exists(folder)) CHECK_THROWS_AS(Checkpoint{folder}, Error);
    Converter({{from}}, plain).write(folder);
    for (const auto& file : std::filesystem::directory_iterator(whole)) {
      const std::string name = file.path().filename();
      REQUIRE(slurp(folder + "/" + name) == slurp(whole + "/" + name));
    }
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(folder)) ++files;
    CHECK(files == std::size_t(std::distance(std::filesystem::directory_iterator(whole), {})));
    std::filesystem::remove_all(folder);
  }
  CHECK(calls > 30);
}

TEST_CASE("another conversion's shards are refused; names may change their prefix") {
  const auto from = tiny();
  const Scratch scratch;
  Converter({{from}}, {.format = Format::kQ8, .shard_bytes = 300'000}).write(scratch.at("out"));
  const auto message = error_of(ErrorKind::kArgument, [&] {
    Converter({{from}}, {.format = Format::kQ8, .shard_bytes = 300'000, .threads = 1}).write(scratch.at("out"));
    Converter({{from}}, {.format = Format::kNf4, .shard_bytes = 300'000}).write(scratch.at("out"));
  });
  CHECK(mentions(message, "not a part of this"));

  Converter({{from, "model.image_tower.image_tower.", "vision_model."}}, {}).write(scratch.at("tower"));
  const Checkpoint tower(scratch.at("tower"));
  CHECK(tower.tensors().size() > 10);
  for (const auto& [name, entry] : tower.tensors()) CHECK(name.starts_with("vision_model."));
  CHECK(mentions(error_of(ErrorKind::kArgument, [&] { Converter({{from, "no such prefix"}}, {}); }), "found none"));
  CHECK(mentions(error_of(ErrorKind::kArgument, [&] { Converter({{from}, {from}}, {}); }), "two checkpoints"));
}

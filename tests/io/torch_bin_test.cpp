#include "facellava/io/torch_bin.hpp"

#include <limits>

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

using Sizes = std::vector<std::int64_t>;

const std::string kFloats = le(0.f) + le(1.f) + le(2.f) + le(3.f) + le(4.f) + le(5.f);

// A checkpoint with the tensor "w" of such a pickle, and a storage "0" of six floats.
std::string bin_of(const std::string& tensor, std::vector<ZipItem> more = {}) {
  std::vector<ZipItem> items{{"m/data.pkl", pickle_dict(pickle_text("w") + tensor)},
                             {"m/byteorder", "little"},
                             {"m/data/0", kFloats, 0, 0, "FB\x04ZZZZ"},
                             {"m/version", "3\n"}};
  items.insert(items.end(), more.begin(), more.end());
  return make_zip(items);
}
std::string window(std::int64_t offset, const Sizes& shape, const Sizes& strides, std::int64_t count = 6) {
  return bin_of(pickle_tensor(pickle_storage("FloatStorage", "0", count), offset, shape, strides));
}

}  // namespace

TEST_CASE("windows into a shared storage") {
  const Scratch scratch;
  const std::string storage = pickle_storage("FloatStorage", "0", 6);
  const std::string tensors = pickle_tensor(storage, 0, {2, 3}, {3, 1}) + pickle_text("row") +
                              pickle_tensor(storage, 3, {1, 3}, {77, 1}) + pickle_text("scalar") +
                              pickle_tensor(storage, 5, {}, {}) + pickle_text("none") +
                              pickle_tensor(storage, 6, {0, 4}, {9, 9});
  for (const Load load : {Load::kMap, Load::kCopy}) {
    const TorchBin bin(scratch.write("a.bin", bin_of(tensors)), load);
    CHECK(bin.tensors().size() == 4);
    CHECK(bin.at("w").shape == std::vector<Index>{2, 3});
    CHECK(to_floats(bin.at("w")) == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(to_floats(bin.at("row")) == std::vector<float>{3, 4, 5});
    CHECK(to_floats(bin.at("scalar")) == std::vector<float>{5});
    CHECK(bin.at("none").count() == 0);
    CHECK(mentions(error_of(ErrorKind::kFormat, [&] { bin.at("absent"); }), "\"absent\""));
  }
}

TEST_CASE("tensors that leave their storage, and other lies, are refused by name") {
  const Scratch scratch;
  const auto fails = [&](const std::string& bytes) {
    return error_of(ErrorKind::kFormat, [&] { TorchBin(scratch.write("bad.bin", bytes)); });
  };
  constexpr std::int64_t big = std::int64_t(1) << 62;
  CHECK(mentions(fails(window(0, {7}, {1})), "tensor \"w\": shape [7] from element 0 on leaves its storage of 6"));
  CHECK(mentions(fails(window(1, {6}, {1})), "leaves its storage"));
  CHECK(mentions(fails(window(-1, {2}, {1})), "leaves its storage"));
  CHECK(mentions(fails(window(7, {0}, {1})), "leaves its storage"));
  CHECK(mentions(fails(window(std::numeric_limits<std::int64_t>::max(), {2}, {1})), "leaves its storage"));
  CHECK(mentions(fails(window(0, {big, 4}, {4, 1})), "leaves its storage"));
  CHECK(mentions(fails(window(0, {-2, -3}, {3, 1})), "leaves its storage"));
  CHECK(mentions(fails(window(0, {2, 3}, {1, 2})), "not contiguous"));
  CHECK(mentions(fails(window(0, {2, 2}, {3, 1})), "not contiguous"));
  CHECK(mentions(fails(window(0, {6}, {0})), "not contiguous"));
  CHECK(mentions(fails(window(0, {6}, {-1})), "not contiguous"));
  CHECK(mentions(fails(window(0, {2}, {1}, 5)), "should have 5 elements of f32, found 24 bytes"));
  CHECK(mentions(fails(window(0, {2}, {1}, big)), "should have"));
  CHECK(mentions(fails(window(0, {2}, {1}, -6)), "should have"));
  const std::string lost = pickle_tensor(pickle_storage("FloatStorage", "../0", 6), 0, {6}, {1});
  CHECK(mentions(fails(bin_of(lost)), "data/../0 is missing"));
  CHECK(
      mentions(fails(bin_of(pickle_tensor(pickle_storage("FloatStorage", "0", 6), 0, {6}, {1}), {{"n/data.pkl", ""}})),
               "two pickles"));
  CHECK(mentions(fails(make_zip({{"m/data.pkl", pickle_dict("")}, {"m/byteorder", "big"}})), "found \"big\""));
  CHECK(mentions(fails(make_zip({{"m/weights", "x"}})), "not a PyTorch checkpoint"));
  CHECK(mentions(fails("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."),
                 "before version 1.6"));
  CHECK(mentions(fails(make_zip({{"m/data.pkl", "\x80\x02" + pickle_global("os", "system") + "(" +
                                                    pickle_text("touch /tmp/owned") + "tR."}})),
                 "os.system"));
}

TEST_CASE("a truncated shard is refused at every length") {
  const Scratch scratch;
  const auto fails = [&](const std::string& bytes) {
    error_of(ErrorKind::kFormat, [&] { TorchBin(scratch.write("cut.bin", bytes)); });
  };
  const std::string real =
      slurp(std::string(FACELLAVA_GOLDENS) + "/model_tiny/ckpt_bin_fp16/pytorch_model-00002-of-00003.bin");
  REQUIRE(real.size() > 50);
  for (std::size_t part = 1; part < 50; ++part) fails(real.substr(0, real.size() * part / 50));
  for (std::size_t n = 1; n < 100; ++n) fails(real.substr(0, real.size() - n));
  const std::string tiny = window(0, {2, 3}, {3, 1});
  for (std::size_t n = 1; n < tiny.size(); ++n) fails(tiny.substr(0, n));
}

TEST_CASE("a damaged shard is read or refused, never worse") {
  const Scratch scratch;
  const auto read = [&](const std::string& bytes) {
    survives([&] {
      const TorchBin bin(scratch.write("mutant.bin", bytes), Load::kCopy);
      for (const auto& [name, tensor] : bin.tensors()) CHECK(to_floats(tensor).size() == std::size_t(tensor.count()));
    });
  };
  const std::string tiny = window(0, {2, 3}, {3, 1});
  mutate(tiny, tiny.size(), 4000, [&](const std::string& mutant) {
    if (!mutant.empty()) read(mutant);
  });
  const std::string real =
      slurp(std::string(FACELLAVA_GOLDENS) + "/model_tiny/ckpt_bin_fp16/pytorch_model-00002-of-00003.bin");
  mutate(real, 35666, 100, read);  // the real pickle fills the first 35 kB
}

// Reading TensorFlow Lite models: the two nets of the tool, and files that are not what they claim.
#include "facellava/io/tflite.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

const std::string kNets = std::string(FACELLAVA_TEST_DATA) + "/../examples/facellava/nets/";

std::vector<std::byte> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}
std::size_t count_of(const TfliteGraph& g, TfliteOp op) {
  return std::size_t(std::count_if(g.nodes.begin(), g.nodes.end(), [&](const TfliteNode& n) { return n.op == op; }));
}

}  // namespace

TEST_CASE("the detector's graph") {
  const Tflite file(kNets + "face_detector.tflite");
  const TfliteGraph& g = file.graph();
  REQUIRE(g.inputs.size() == 1);
  REQUIRE(g.outputs.size() == 2);
  CHECK(g.tensors[std::size_t(g.inputs[0])].shape == std::vector<Index>{1, 128, 128, 3});
  CHECK(g.tensors[std::size_t(g.outputs[0])].name == "regressors");
  CHECK(g.tensors[std::size_t(g.outputs[1])].shape == std::vector<Index>{1, 896, 1});
  CHECK(count_of(g, TfliteOp::kConv) == 21);
  CHECK(count_of(g, TfliteOp::kDepthwiseConv) == 16);
  CHECK(count_of(g, TfliteOp::kMaxPool) == 3);
  const auto first =
      std::find_if(g.nodes.begin(), g.nodes.end(), [](const TfliteNode& n) { return n.op == TfliteOp::kConv; });
  CHECK(first->stride_x == 2);
  CHECK(first->same_padding);
}

TEST_CASE("other files are refused in words") {
  const Scratch scratch;
  std::ofstream(scratch.at("a.tflite")) << "not a model at all";
  const auto message = [](auto f) -> std::string {
    try {
      f();
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::kFormat);
      return e.what();
    }
    return "";
  };
  CHECK(message([&] { Tflite t(scratch.at("a.tflite")); }).find("TFL3") != std::string::npos);
  const auto bytes = bytes_of(kNets + "face_detector.tflite");
  CHECK(message([&] { Tflite::read(std::span(bytes).first(7), "short"); }).find("short") != std::string::npos);
  for (std::size_t part = 0; part < 50; ++part)
    CHECK(message([&] { Tflite::read(std::span(bytes).first(bytes.size() * part / 50), "cut"); }) != "");
}

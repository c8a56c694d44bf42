// Nets of files that are not what they claim; what sound ones compute: detector_test.cpp, and the ops' own tests.
#include "facellava/faces/conv_net.hpp"

#include <doctest/doctest.h>

#include <random>

#include "facellava/cpu/device.hpp"
#include "io/scratch.hpp"
#include "support/tflite_writer.hpp"

using namespace facellava;
using test::Scratch;

namespace {

std::vector<std::byte> detector_file() {
  const io::MappedFile file(std::string(FACELLAVA_TEST_DATA) + "/../examples/facellava/nets/face_detector.tflite");
  return {file.bytes().begin(), file.bytes().end()};
}

}  // namespace

// Whatever is done to a file, reading it and building a net of it gives an Error or a net; nothing is read out of
// bounds (the suite runs under ASan too).
TEST_CASE("nets of truncated and altered files") {
  const Scratch scratch;
  const auto whole = detector_file();
  const auto attempt = [&](const std::vector<std::byte>& bytes) {
    const std::string path = scratch.at("altered.tflite");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
    try {
      faces::ConvNet net(path);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  REQUIRE(attempt(whole));
  for (std::size_t part = 0; part < 50; ++part)
    CHECK_FALSE(attempt({whole.begin(), whole.begin() + std::ptrdiff_t(whole.size() * part / 50)}));
  std::mt19937 engine(7);
  int refused = 0;
  // The tables stand at the end, behind the weights.
  std::uniform_int_distribution<std::size_t> place(whole.size() - 40000, whole.size() - 1);
  for (int i = 0; i < 400; ++i) {
    auto bytes = whole;
    for (int k = 0; k <= i % 4; ++k) bytes[place(engine)] = std::byte(engine() & 255);
    refused += !attempt(bytes);
  }
  CHECK(refused > 20);
}

namespace {

constexpr int kConv = 3, kRelu = 19;

// n convolutions of 1 x 1 pixel and as many channels, all of the same weights.
test::TfliteModel chain(int n, int channels) {
  const auto count = std::size_t(channels);
  test::TfliteModel m;
  m.op = kConv;
  std::string weights(4 * count * count, '\0');
  const float two = 2;
  for (std::size_t i = 0; i < count; ++i) std::memcpy(weights.data() + 4 * (i * count + i), &two, 4);
  m.buffers = {"", weights, std::string(4 * count, '\0')};
  m.tensors = {{{channels, 1, 1, channels}, 0, 1}, {{channels}, 0, 2}, {{1, 1, 1, channels}, 0, 0}};
  for (int i = 0; i < n; ++i) {
    m.tensors.push_back(m.tensors[2]);
    m.nodes.push_back({{2 + i, 0, 1}, {3 + i}});
  }
  m.inputs = {2};
  m.outputs = {2 + n};
  return m;
}

}  // namespace

// A small file must not ask for much more memory than it is large: what it may ask for is bounded, and refused before.
TEST_CASE("nets that ask for too much memory are refused") {
  const Scratch scratch;
  const auto net = [&](const test::TfliteModel& m) {
    return faces::ConvNet(scratch.write("net.tflite", test::TfliteWriter(m).bytes));
  };
  const auto refused = [&](const test::TfliteModel& m) { return test::error_of(ErrorKind::kFormat, [&] { net(m); }); };
  const faces::ConvNet sound = net(chain(3, 2));
  faces::ConvNet::Workspace work;
  cpu::Device dev({.threads = 1});
  CHECK(sound.run(dev, std::vector<float>{1, -3}, 1, work)[0] == std::vector<float>{8, -24});

  // 2^20 numbers of weights in the file, used by 17 convolutions
  CHECK(test::mentions(refused(chain(17, 1024)), "more than 16777216 numbers of constants"));

  test::TfliteModel relu;
  relu.op = kRelu;
  relu.nodes = {{{0}, {1}}};
  relu.inputs = {0};
  relu.outputs = {1};
  relu.tensors = {{{1, 4000, 4000, 1}}, {{1, 4000, 4000, 1}}};
  CHECK(test::mentions(refused(relu), "needs room for 32000000 numbers"));
  for (const int side : {5000, 65536, 0x7fffffff}) {
    relu.tensors = {{{1, side, side, 1}}, {{1, side, side, 1}}};
    refused(relu);
  }
  relu.tensors = {{{1, 1, 1, 1}}, {{1, 1, 1, 1}}};
  REQUIRE(net(relu).workspace_size() == 2);
  relu.outputs.assign(65, 1);  // each would be a copy
  CHECK(test::mentions(refused(relu), "expected a list of at most 64 elements, found 65"));
  relu.tensors = {{{1, 2000, 2000, 1}}, {{1, 2000, 2000, 1}}};
  relu.outputs.assign(5, 1);
  CHECK(test::mentions(refused(relu), "gives 20000000 numbers a picture"));
  relu.outputs = {1};
  relu.tensors[1].shape.assign(1 << 20, 1);
  CHECK(test::mentions(refused(relu), "expected a list of at most 64 elements"));
  relu.tensors[1].shape = {1, 1, 1, 1};
  relu.tensors.resize((1 << 14) + 1);
  CHECK(test::mentions(refused(relu), "expected a list of at most 16384 elements, found 16385"));
}

// Nets of files that are not what they claim; what sound ones compute: detector_test.cpp, and the ops' own tests.
#include "facellava/faces/conv_net.hpp"

#include <doctest/doctest.h>

#include <random>

#include "io/scratch.hpp"

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

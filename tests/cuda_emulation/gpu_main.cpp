// The device's tests on a real GPU. Exit status 77, which CTest counts as skipped, where there is none.
// --list-test-cases needs no GPU.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "facellava/cuda/device.hpp"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  const bool lists = std::any_of(argv, argv + argc, [](std::string_view a) { return a == "--list-test-cases"; });
  try {
    if (!lists) facellava::cuda::Device device;
  } catch (const facellava::Error& e) {
    if (e.kind() != facellava::ErrorKind::kDevice) throw;
    std::printf("Skipped, no CUDA device can be used: %s\n", e.what());
    return kSkipped;
  }
  return doctest::Context(argc, argv).run();
}

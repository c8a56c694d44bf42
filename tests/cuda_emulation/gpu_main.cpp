// The device's tests on a real GPU. Exit status 77, which CTest counts as skipped, where there is none.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "facellava/cuda/device.hpp"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  try {
    facellava::cuda::Device device;
  } catch (const facellava::Error& e) {
    if (e.kind() != facellava::ErrorKind::kDevice) throw;
    std::printf("Skipped, no CUDA device can be used: %s\n", e.what());
    return kSkipped;
  }
  return doctest::Context(argc, argv).run();
}

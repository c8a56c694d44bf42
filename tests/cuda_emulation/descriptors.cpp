// The real cuBLASLt, which needs no GPU for this, accepts every attribute that the library sets; so the emulator's
// stand-in and the real one cannot drift apart.
#include <cstdio>
#include <tuple>

#include "facellava/cuda/matmul.cuh"

int main() {
  using namespace facellava;
  using cuda::Lies;
  alignas(256) float memory[64] = {};
  try {
    for (const float* extra : {static_cast<const float*>(nullptr), static_cast<const float*>(memory + 32)})
      for (auto [rows, x_lies, w_lies] : {std::tuple{1, Lies::kPlain, Lies::kPlain},
                                          {3, Lies::kPlain, Lies::kPlain},
                                          {3, Lies::kPlain, Lies::kTurned},
                                          {3, Lies::kTurned, Lies::kTurned}})
        cuda::MatmulPlan({.y = memory,
                          .x = memory + 1,
                          .w = memory + 8,
                          .bias = extra,
                          .residual = extra,
                          .rows = rows,
                          .out = 3,
                          .in = 2,
                          .y_stride = 4,
                          .x_stride = 3,
                          .w_stride = 5,
                          .residual_stride = 3,
                          .x_lies = x_lies,
                          .w_lies = w_lies},
                         1 << 20);
  } catch (const Error& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
  return 0;
}

// The TinyStories checkpoint of 260,000 weights: its geometry and files.
#pragma once
#include <string>

#include "facellava/models/config.hpp"

namespace facellava::test {

inline constexpr FaceLlavaConfig kStories{
    .llama = {.vocab = 512,
              .layers = 5,
              .block = {.dim = 64, .ffn = 172, .heads = 8, .kv_heads = 4, .head_dim = 8},
              .head = Head::kTied}};

inline std::string asset(const std::string& name) {
  return std::string(FACELLAVA_TEST_DATA) + "/assets/stories260k/" + name;
}

}  // namespace facellava::test

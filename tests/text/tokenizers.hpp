// The tokenizers and vectors that tests of text/ share.
#pragma once
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

inline constexpr const char* kLlamaModel = FACELLAVA_GOLDENS "/model_tiny/ckpt_bin_fp16/tokenizer.model";
inline constexpr const char* kProbeModel = FACELLAVA_TEST_DATA "/assets/probe_tokenizer.model";
inline constexpr const char* kUnknownModel = FACELLAVA_TEST_DATA "/assets/unknown_tokenizer.model";

inline nlohmann::json read_vectors(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

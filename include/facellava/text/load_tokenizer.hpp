// The tokenizer of a model: of a folder in Hugging Face's layout (tokenizer.model and tokenizer_config.json), or of a
// GGUF file.
#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <system_error>

#include "facellava/core/error.hpp"
#include "facellava/io/json.hpp"
#include "facellava/text/gguf_tokenizer.hpp"
#include "facellava/text/tokenizer.hpp"

namespace facellava::text {

// The key `legacy` of a tokenizer_config.json. As in transformers 4.31 an absent file or key means true, and null
// false. Error as io::read_json, kFormat if it is no JSON object or the key is something else.
inline Legacy read_legacy(const std::string& tokenizer_config) {
  std::error_code status;
  if (std::filesystem::status(tokenizer_config, status).type() == std::filesystem::file_type::not_found)
    return Legacy::kYes;
  const nlohmann::json json = io::read_json(tokenizer_config);
  const auto legacy = io::optional<bool>(json, "legacy", tokenizer_config);
  const bool is_null = !legacy && json.contains("legacy");
  return legacy.value_or(!is_null) ? Legacy::kYes : Legacy::kNo;
}

// Errors as Tokenizer::from_file and read_legacy, or as io::Gguf and gguf_tokenizer.
inline Tokenizer load_tokenizer(const std::string& folder_or_gguf) {
  if (io::is_gguf(folder_or_gguf)) return gguf_tokenizer(io::Gguf(folder_or_gguf));
  const std::filesystem::path at(folder_or_gguf);
  return Tokenizer::from_file((at / "tokenizer.model").string(), read_legacy((at / "tokenizer_config.json").string()));
}

}  // namespace facellava::text

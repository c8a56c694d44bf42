// The tokenizer that a GGUF file carries in its metadata: tokenizer.ggml.model "gpt2" (byte-level BPE) or "llama"
// (SentencePiece BPE). Absent keys mean what they mean to llama.cpp.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/io/gguf.hpp"
#include "facellava/text/tokenizer.hpp"

namespace facellava::text {

namespace detail {

inline std::vector<PieceType> gguf_types(const io::Gguf& file) {
  std::vector<PieceType> types;
  for (const int type : file.require<std::vector<int>>("tokenizer.ggml.token_type")) {
    if (type < 1 || type > 6)
      throw Error(ErrorKind::kFormat,
                  file.path() + ": \"tokenizer.ggml.token_type\": expected 1 to 6, found " + std::to_string(type));
    types.push_back(PieceType(type));
  }
  return types;
}

inline ByteLevelTokenizer gguf_byte_level(const io::Gguf& file) {
  ByteLevelModel model;
  model.pre =
      pre_tokenizer_from_name(file.optional<std::string_view>("tokenizer.ggml.pre").value_or("default"), file.path());
  model.tokens = file.require<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  model.types = gguf_types(file);
  model.merges = file.require<std::vector<std::string_view>>("tokenizer.ggml.merges");
  model.begins_with_bos =
      file.optional<bool>("tokenizer.ggml.add_bos_token").value_or(model.pre == PreTokenizer::kLlamaBpe);
  model.bos = file.optional<int>("tokenizer.ggml.bos_token_id").value_or(-1);
  model.eos = file.optional<int>("tokenizer.ggml.eos_token_id").value_or(-1);
  return {model, file.path()};
}

inline SentencePieceTokenizer gguf_sentencepiece(const io::Gguf& file) {
  SentencePieceModel model;
  const auto tokens = file.require<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  const auto scores = file.require<std::vector<float>>("tokenizer.ggml.scores");
  const auto types = gguf_types(file);
  check_equal(tokens.size(), scores.size(), file.path() + ": scores of tokens", ErrorKind::kFormat);
  check_equal(tokens.size(), types.size(), file.path() + ": types of tokens", ErrorKind::kFormat);
  check_at_most(SentencePieceModel::kMostPieces, tokens.size(), file.path() + ": tokens", ErrorKind::kFormat);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] == PieceType::kUnused)
      throw Error(ErrorKind::kFormat, file.path() + ": token " + std::to_string(i) + " is unused: not supported");
    model.byte_fallback = model.byte_fallback || types[i] == PieceType::kByte;
    model.pieces.push_back({tokens[i], scores[i], types[i]});
  }
  const auto piece = [&](const char* key, int absent) {
    const int id = file.optional<int>(key).value_or(absent);
    if (id < 0 || std::size_t(id) >= tokens.size())
      throw Error(ErrorKind::kFormat, file.path() + ": \"" + key + "\": expected an id below " +
                                          std::to_string(tokens.size()) + ", found " + std::to_string(id));
    return tokens[std::size_t(id)];
  };
  model.bos_piece = piece("tokenizer.ggml.bos_token_id", 1);
  model.eos_piece = piece("tokenizer.ggml.eos_token_id", 2);
  if (!file.optional<bool>("tokenizer.ggml.add_bos_token").value_or(true))
    throw Error(ErrorKind::kFormat, file.path() + ": \"tokenizer.ggml.add_bos_token\": false is not supported");
  model.add_dummy_prefix = file.optional<bool>("tokenizer.ggml.add_space_prefix").value_or(true);
  model.remove_extra_whitespaces = file.optional<bool>("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  return {model, file.path(), Legacy::kYes};
}

}  // namespace detail

// Error kFormat for any other kind of tokenizer, naming it, and for contents that make no sense.
inline Tokenizer gguf_tokenizer(const io::Gguf& file) {
  const auto kind = file.require<std::string_view>("tokenizer.ggml.model");
  if (file.optional<bool>("tokenizer.ggml.add_eos_token").value_or(false))
    throw Error(ErrorKind::kFormat, file.path() + ": \"tokenizer.ggml.add_eos_token\": true is not supported");
  if (kind == "gpt2") return detail::gguf_byte_level(file);
  if (kind == "llama") return detail::gguf_sentencepiece(file);
  throw Error(ErrorKind::kFormat,
              file.path() + ": \"tokenizer.ggml.model\": expected gpt2 or llama, found \"" + std::string(kind) + "\"");
}

}  // namespace facellava::text

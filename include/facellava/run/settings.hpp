// How a model is to be asked: its prompt template, its context, the tokens that end an answer.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/faces/crop_kind.hpp"
#include "facellava/faces/landmarks.hpp"
#include "facellava/io/gguf.hpp"
#include "facellava/media/preprocess.hpp"
#include "facellava/text/media_tokens.hpp"

namespace facellava::run {

// Beside the geometry: what the released code keeps in its scripts. From "facellava" in config.json, else the released
// code's own; or from the metadata of a GGUF file.
struct Settings {
  text::Template prompt_template = text::Template::kLlavaV1;
  text::BosPlacement bos = text::BosPlacement::kStart;
  faces::LandmarkNormalisation landmarks = faces::LandmarkNormalisation::kBy256;
  faces::CropKind crop = faces::CropKind::kCentred;
  media::Padding training_padding = media::Padding::kNone;  // of pictures that it was, and is to be, trained on
  int positions = 2048;                                     // the context
  std::vector<int> ends = {2};                              // tokens that end an answer
};

inline constexpr int kMaxPositions = 1 << 24;  // beyond any context: a corrupt number would become memory

// What a GGUF file says of its model. Errors: kFormat.
inline Settings gguf_settings(const io::Gguf& file, int vocabulary) {
  // Ends of answers by their text, which files need not name otherwise.
  constexpr std::string_view kEnds[] = {"<|im_end|>", "<|endoftext|>",   "<|eot_id|>",
                                        "<|eom_id|>", "<|end_of_text|>", "</s>"};
  constexpr int kControl = 3;
  Settings s;
  s.positions = file.require<int>("llama.context_length");
  check_at_most(kMaxPositions, s.positions, file.path() + ": \"llama.context_length\"", ErrorKind::kFormat);
  if (s.positions < 1)
    throw Error(ErrorKind::kFormat, file.path() + ": \"llama.context_length\": expected a positive number, found " +
                                        std::to_string(s.positions));
  s.prompt_template = text::template_of_chat(file.optional<std::string_view>("tokenizer.chat_template").value_or(""));
  const auto tokens = file.require<std::vector<std::string_view>>("tokenizer.ggml.tokens");
  check_equal(vocabulary, tokens.size(), file.path() + ": tokens of a model with that many embeddings",
              ErrorKind::kFormat);
  s.ends.clear();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const auto id = file.optional<int>(key)) {
      if (*id < 0 || *id >= vocabulary)
        throw Error(ErrorKind::kFormat, file.path() + ": \"" + key + "\": expected an id below " +
                                            std::to_string(vocabulary) + ", found " + std::to_string(*id));
      s.ends.push_back(*id);
    }
  const auto types = file.optional<std::vector<int>>("tokenizer.ggml.token_type").value_or(std::vector<int>());
  for (std::size_t i = 0; i < std::min(tokens.size(), types.size()); ++i)
    if (types[i] == kControl && std::find(std::begin(kEnds), std::end(kEnds), tokens[i]) != std::end(kEnds) &&
        std::find(s.ends.begin(), s.ends.end(), int(i)) == s.ends.end())
      s.ends.push_back(int(i));
  return s;
}

}  // namespace facellava::run

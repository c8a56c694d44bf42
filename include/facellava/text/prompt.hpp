// Prompt templates: questions and conversations to the text that is tokenised.
//   v1        training of the released models: system sentence about a "user", the frames of a video without spaces
//   llava_v1  their inference: system sentence about a "human", frames with single spaces between
//   plain     small models of this library: no system sentence, the media before everything
//   chatml    turns between <|im_start|> and <|im_end|>, no system turn
//   smollm2   the same behind SmolLM2's own system turn
//   raw       the texts as they are: models without a chat template
// Turns of the first three are `USER: {text} ` and `ASSISTANT: {text}</s>`, one behind the other; an empty text leaves
// `ROLE:` alone.
// A picture stands as one `<image>`, a video as kVideoFrames of them. Source: Face-LLaVA, Video-LLaVA, Vicuna, SmolLM2.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::text {

// kUnknown: a model has a template that is none of these; its questions must be given one, or be whole prompts.
enum class Template { kV1, kLlavaV1, kPlain, kChatMl, kSmolLm2, kRaw, kUnknown };
enum class Role { kUser, kAssistant };
enum class Medium { kImage, kVideo };

struct Turn {
  Role role;
  std::string text;
};

// What the assistant adds to a prompt: bytes [first, last) behind `ASSISTANT:`, with the token that ends the turn.
struct AnswerSpan {
  std::size_t first, last;
};

inline constexpr std::string_view kImageTag = "<image>";
inline constexpr std::string_view kVideoTag = "<video>";
inline constexpr int kVideoFrames = 8;
inline constexpr int kMostImages = 16;  // in one training text; a longer unbroken row is cut to this

namespace detail {

struct TurnRules {
  std::string_view begin, before_text, end;  // an empty text leaves `begin` alone
};
struct TemplateRules {
  std::string_view name, system, between_frames;
  TurnRules user, assistant;
};

inline constexpr TurnRules kVicunaUser{"USER:", " ", " "}, kVicunaAssistant{"ASSISTANT:", " ", "</s>"},
    kChatMlUser{"<|im_start|>user\n", "", "<|im_end|>\n"},
    kChatMlAssistant{"<|im_start|>assistant\n", "", "<|im_end|>\n"};

inline constexpr std::array<TemplateRules, 6> kTemplates{{
    {"v1",
     "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
     "and polite answers to the user's questions. ",
     "", kVicunaUser, kVicunaAssistant},
    {"llava_v1",
     "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
     "and polite answers to the human's questions. ",
     " ", kVicunaUser, kVicunaAssistant},
    {"plain", "", "", kVicunaUser, kVicunaAssistant},
    {"chatml", "", "", kChatMlUser, kChatMlAssistant},
    {"smollm2", "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n",
     "", kChatMlUser, kChatMlAssistant},
    {"raw", "", "", {}, {}},
}};

// Error kArgument for kUnknown.
inline const TemplateRules& rules(Template t) {
  if (t == Template::kUnknown)
    throw Error(
        ErrorKind::kArgument,
        "the model has a chat template of its own that is not known: name another template, or give whole prompts");
  return kTemplates[std::size_t(t)];
}

inline int count(std::string_view text, std::string_view tag) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(tag, at)) != std::string_view::npos; at += tag.size()) ++n;
  return n;
}

inline std::string image_row(int images, std::string_view between) {
  std::string row;
  for (int i = 0; i < images; ++i) row.append(i > 0 ? between : "").append(kImageTag);
  return row;
}

inline std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (std::size_t at; (at = text.find(from)) != std::string_view::npos; text.remove_prefix(at + from.size()))
    out.append(text.substr(0, at)).append(to);
  return out.append(text);
}

inline std::string expand_videos(Template t, std::string_view text) {
  return replace_all(text, kVideoTag, image_row(kVideoFrames, rules(t).between_frames));
}

inline void append_turn(std::string& prompt, Template t, Role role, std::string_view text) {
  const TurnRules& turn = role == Role::kUser ? rules(t).user : rules(t).assistant;
  prompt += turn.begin;
  if (!text.empty()) prompt.append(turn.before_text).append(text).append(turn.end);
}

// A training text with its media written out.
inline std::string training_text(Template t, const std::string& text) {
  check_at_most(1, count(text, kVideoTag), "<video> in one training text", ErrorKind::kArgument);
  const int images = count(text, kImageTag);
  if (images <= kMostImages) return expand_videos(t, text);
  return expand_videos(t, replace_all(text, image_row(images, ""), image_row(kMostImages, "")));
}

// Error unless the tags that a question has already are the media, in order, or one <image> for each frame.
inline void check_tags(std::string_view question, std::span<const Medium> media) {
  const int images = count(question, kImageTag), videos = count(question, kVideoTag);
  const auto given_videos = int(std::count(media.begin(), media.end(), Medium::kVideo));
  const int given_images = int(media.size()) - given_videos;
  if (videos == 0 && images == given_images + kVideoFrames * given_videos) return;
  bool same = images == given_images && videos == given_videos;
  std::size_t at = 0;
  for (const Medium medium : media) {
    const std::size_t image = question.find(kImageTag, at), video = question.find(kVideoTag, at);
    same = same && (medium == Medium::kImage ? image < video : video < image);
    at = std::min(image, video);
    at = at == std::string_view::npos ? question.size() : at + kImageTag.size();
  }
  if (!same)
    throw Error(ErrorKind::kArgument, "media of a question: expected " + std::to_string(images) + " images and " +
                                          std::to_string(videos) + " videos in the order of its tags, found " +
                                          std::to_string(given_images) + " images and " + std::to_string(given_videos) +
                                          " videos");
}

}  // namespace detail

// Error kArgument, which lists the names, for any other name.
inline Template template_from_name(std::string_view name) {
  std::string names;
  for (std::size_t i = 0; i < detail::kTemplates.size(); ++i) {
    if (name == detail::kTemplates[i].name) return Template(i);
    names.append(i > 0 ? ", " : "").append(detail::kTemplates[i].name);
  }
  throw Error(ErrorKind::kArgument,
              "prompt template: expected one of " + names + ", found \"" + std::string(name) + "\"");
}

inline std::string_view name_of(Template t) { return t == Template::kUnknown ? "unknown" : detail::rules(t).name; }

// The template that a model's chat template (Jinja) writes, recognised by what it contains; kRaw if it is empty.
inline Template template_of_chat(std::string_view jinja) {
  const auto has = [&](std::string_view part) { return jinja.find(part) != std::string_view::npos; };
  if (jinja.empty()) return Template::kRaw;
  if (!has("<|im_start|>") || !has("<|im_end|>")) return Template::kUnknown;
  if (has("You are a helpful AI assistant named SmolLM, trained by Hugging Face")) return Template::kSmolLm2;
  return Template::kChatMl;
}

// A whole conversation, as for training. A leading message of the assistant is dropped, texts stay as they are (spaces
// too), more than kMostImages adjacent <image> become that many. Error kArgument: no turn of the user, two turns of one
// role in a row, two <video> in one text. answers: where the texts of the assistant stand, appended; empty ones do not.
inline std::string render(Template t, std::span<const Turn> turns, std::vector<AnswerSpan>* answers = nullptr) {
  if (!turns.empty() && turns.front().role == Role::kAssistant) turns = turns.subspan(1);
  if (turns.empty()) throw Error(ErrorKind::kArgument, "conversation: expected a turn of the user, found none");
  std::string prompt(detail::rules(t).system);
  Role expected = Role::kUser;
  for (const Turn& turn : turns) {
    if (turn.role != expected)
      throw Error(ErrorKind::kArgument, "conversation: expected turns that alternate, found two of one role in a row");
    const std::size_t first = prompt.size() + detail::rules(t).assistant.begin.size();
    detail::append_turn(prompt, t, turn.role, detail::training_text(t, turn.text));
    if (answers && turn.role == Role::kAssistant && !turn.text.empty())
      answers->push_back({first, prompt.find_last_not_of(" \n") + 1});
    expected = turn.role == Role::kUser ? Role::kAssistant : Role::kUser;
  }
  return prompt;
}

// The prompt of one question, ending in `ASSISTANT:`. Tags in the question say where its media stand and must match
// them; without tags each medium comes first, on a line of its own (plain: before `USER:`, no lines). Error kArgument.
inline std::string question_prompt(Template t, std::string_view question, std::span<const Medium> media) {
  const bool tagged =
      question.find(kImageTag) != std::string_view::npos || question.find(kVideoTag) != std::string_view::npos;
  if (tagged) detail::check_tags(question, media);
  std::string tags;
  for (const Medium medium : tagged ? std::span<const Medium>() : media)
    tags.append(medium == Medium::kImage ? kImageTag : kVideoTag).append(t == Template::kPlain ? "" : "\n");
  tags = detail::expand_videos(t, tags);
  const std::string text = detail::expand_videos(t, question);
  std::string prompt(detail::rules(t).system);
  if (t == Template::kPlain) {
    prompt += tags;
    tags.clear();
  }
  detail::append_turn(prompt, t, Role::kUser, tags + text);
  detail::append_turn(prompt, t, Role::kAssistant, "");
  return prompt;
}

}  // namespace facellava::text

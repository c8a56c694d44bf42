// Conversations to token ids and labels: what a model is trained to say, and what is only context.
//   kReference  as the released code masks: the rounds between `</s>` are tokenised each for itself and their lengths
//               added up; where the sum misses the tokens of the whole, every label of the sample is ignored
//   kCorrected  by where the answers stand in the prompt: never drops a sample
// On conversations that the reference does not drop by its counting, both give the same labels. Source: LLaVA, Vicuna.
#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/text/media_tokens.hpp"

namespace facellava::text {

inline constexpr int kIgnored = -100;  // in labels: nothing to learn here

enum class MaskPolicy { kReference, kCorrected };

struct LabelOptions {
  MaskPolicy policy = MaskPolicy::kReference;
  BosPlacement bos = BosPlacement::kStart;
  int most_text_tokens = 2048;  // to which kReference cuts conversations without media
};

// What the released code prints when it ignores a whole sample: tokens counted round by round, and of the whole.
struct TokenMismatch {
  int counted, found;
};

struct LabelledText {
  std::string prompt;
  std::vector<int> ids;     // kMediaSlot: one picture or frame
  std::vector<int> labels;  // one an id, not shifted: the id where it is to be learned, else kIgnored
  std::optional<TokenMismatch> mismatch;
  int cut = 0;  // tokens that kReference took off the end
};

inline int supervised(std::span<const int> labels) {
  return int(labels.size() - std::size_t(std::count(labels.begin(), labels.end(), kIgnored)));
}

namespace detail {

inline constexpr std::string_view kRoundEnd = "</s>", kAnswerMark = " ASSISTANT: ";

inline void label_by_rounds(LabelledText& out, const Tokenizer& tokenizer, const LabelOptions& options) {
  const bool media = out.prompt.find(kImageTag) != std::string::npos;
  if (!media && int(out.ids.size()) > options.most_text_tokens) {
    out.cut = int(out.ids.size()) - options.most_text_tokens;
    out.ids.resize(std::size_t(options.most_text_tokens));
  }
  const int all = int(out.ids.size());
  out.labels = out.ids;
  const auto ignore = [&](int first, int last) {
    for (int i = std::max(first, 0); i < std::min(last, all); ++i) out.labels[std::size_t(i)] = kIgnored;
  };
  const auto tokens = [&](std::string_view text) { return int(encode_prompt(tokenizer, text).size()); };
  int at = 1;
  ignore(0, 1);
  for (std::string_view rest = out.prompt; !rest.empty();) {
    const std::string_view round = rest.substr(0, rest.find(kRoundEnd));
    if (round.empty() || count(round, kAnswerMark) != 1) break;
    // The BOS of a round counts for the end token that the split removed; the space behind the mark is the answer's.
    ignore(at, at + tokens(round.substr(0, round.find(kAnswerMark) + kAnswerMark.size())) - 2);
    at += tokens(round);
    rest.remove_prefix(std::min(rest.size(), round.size() + kRoundEnd.size()));
  }
  ignore(at, all);
  const int unknown = tokenizer.sentencepiece()->unk();  // pads too, in the released code, and does not count
  const int found = all - int(std::count(out.ids.begin(), out.ids.end(), unknown));
  if (at < options.most_text_tokens && at != found) {
    out.mismatch = TokenMismatch{at, found};
    ignore(0, all);
  }
}

// How many ids lie before byte `at` of the prompt: as many as equal those of the text before it alone. A token that
// goes over the place lies behind it.
inline std::size_t ids_before(const LabelledText& out, std::size_t at, const Tokenizer& tokenizer, BosPlacement bos) {
  const std::string_view text = std::string_view(out.prompt).substr(0, at);
  const bool media_first = bos == BosPlacement::kAfterMedia;
  const auto before = encode_prompt(tokenizer, text, bos);
  const auto same = std::mismatch(before.begin() + (media_first ? count(text, kImageTag) : 0), before.end(),
                                  out.ids.begin() + (media_first ? count(out.prompt, kImageTag) : 0), out.ids.end());
  return std::size_t(same.second - out.ids.begin());
}

inline void label_by_spans(LabelledText& out, std::span<const AnswerSpan> answers, const Tokenizer& tokenizer,
                           BosPlacement bos) {
  out.labels.assign(out.ids.size(), kIgnored);
  for (const AnswerSpan& answer : answers) {
    const std::size_t last = ids_before(out, answer.last, tokenizer, bos);
    for (std::size_t i = ids_before(out, answer.first, tokenizer, bos); i < last; ++i)
      if (out.ids[i] != kMediaSlot) out.labels[i] = out.ids[i];
  }
}

}  // namespace detail

// Error kArgument unless conversations can be labelled so: kReference needs a SentencePiece tokenizer, one of the
// templates v1 and llava_v1, and BOS at the start; kCorrected a template with turns.
inline void check_label_options(const Tokenizer& tokenizer, Template t, const LabelOptions& options) {
  const auto refuse = [&](const std::string& expected) {
    throw Error(ErrorKind::kArgument,
                "label masks: expected " + expected + ", found the template " + std::string(name_of(t)));
  };
  if (t == Template::kRaw || t == Template::kUnknown) refuse("a template that marks the turns");
  if (options.policy == MaskPolicy::kCorrected) return;
  if ((t != Template::kV1 && t != Template::kLlavaV1) || options.bos != BosPlacement::kStart ||
      !tokenizer.sentencepiece())
    refuse(
        "the template v1 or llava_v1, BOS at the start and a SentencePiece tokenizer for the policy reference "
        "(corrected "
        "takes others)");
}

// Labels of a conversation, which stays whole but for kReference's cut of long texts without media; a sample of which
// nothing is left to learn is the caller's to refuse. Errors: as render and check_label_options.
inline LabelledText label_conversation(const Tokenizer& tokenizer, Template t, std::span<const Turn> turns,
                                       const LabelOptions& options = {}) {
  check_label_options(tokenizer, t, options);
  std::vector<AnswerSpan> answers;
  LabelledText out;
  out.prompt = render(t, turns, &answers);
  out.ids = encode_prompt(tokenizer, out.prompt, options.bos);
  if (options.policy == MaskPolicy::kReference)
    detail::label_by_rounds(out, tokenizer, options);
  else
    detail::label_by_spans(out, answers, tokenizer, options.bos);
  return out;
}

}  // namespace facellava::text

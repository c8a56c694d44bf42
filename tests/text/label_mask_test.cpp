#include "facellava/text/label_mask.hpp"

#include <doctest/doctest.h>

#include "text/tokenizers.hpp"

using namespace facellava::text;

namespace {

std::vector<Turn> turns_of(const nlohmann::json& conversations) {
  std::vector<Turn> turns;
  for (const auto& turn : conversations)
    turns.push_back({turn["from"] == "human" ? Role::kUser : Role::kAssistant, turn["value"].get<std::string>()});
  return turns;
}

std::string printed(const LabelledText& text) {
  if (!text.mismatch) return "";
  return "WARNING: tokenization mismatch: " + std::to_string(text.mismatch->counted) + " vs. " +
         std::to_string(text.mismatch->found) + ". (ignored)";
}

std::vector<Turn> conversation(std::initializer_list<const char*> texts) {
  std::vector<Turn> turns;
  for (const char* text : texts) turns.push_back({turns.size() % 2 == 0 ? Role::kUser : Role::kAssistant, text});
  return turns;
}

LabelledText corrected(const Tokenizer& tokenizer, std::initializer_list<const char*> texts) {
  return label_conversation(tokenizer, Template::kV1, conversation(texts), {.policy = MaskPolicy::kCorrected});
}

// What is learned: its pieces, with spaces.
std::string learned(const Tokenizer& tokenizer, const LabelledText& text) {
  std::string pieces;
  for (const int label : text.labels)
    if (label != kIgnored) pieces += tokenizer.piece(label);
  return detail::replace_all(pieces, kSpaceMark, " ");
}

}  // namespace

TEST_CASE("masks of the released code: every golden conversation, both legacy values") {
  const auto golden = read_vectors(FACELLAVA_GOLDENS "/train_step/labels.json");
  REQUIRE(golden["cases"].size() == 22);
  int refused = 0, dropped = 0;
  for (const auto& c : golden["cases"])
    for (const char* legacy : {"legacy_true", "legacy_false"}) {
      CAPTURE(c["name"].get<std::string>());
      CAPTURE(legacy);
      const Tokenizer tokenizer =
          Tokenizer::from_file(kLlamaModel, std::string_view(legacy) == "legacy_true" ? Legacy::kYes : Legacy::kNo);
      const auto& expected = c[legacy].is_string() ? c["legacy_true"] : c[legacy];
      const auto turns = turns_of(c["conversations"]);
      if (expected.contains("exception")) {
        CHECK_THROWS_AS(label_conversation(tokenizer, Template::kV1, turns), facellava::Error);
        ++refused;
        continue;
      }
      const LabelledText found = label_conversation(tokenizer, Template::kV1, turns);
      if (!c["prompt"].get<std::string>().starts_with("(long")) CHECK(found.prompt == c["prompt"].get<std::string>());
      CHECK(found.ids == expected["input_ids"].get<std::vector<int>>());
      CHECK(found.labels == expected["labels"].get<std::vector<int>>());
      CHECK(supervised(found.labels) == expected["num_supervised"].get<int>());
      CHECK(printed(found) == expected["printed"].get<std::string>());
      CHECK((found.cut > 0) == (c["name"] == "long_text_truncated_at_2048"));
      dropped += found.mismatch.has_value();
      // Where the reference drops nothing, both policies agree.
      const auto ours = label_conversation(tokenizer, Template::kV1, turns, {.policy = MaskPolicy::kCorrected});
      CHECK_FALSE(ours.mismatch);
      if (found.mismatch || found.cut > 0) continue;
      CHECK(ours.labels == found.labels);
    }
  CHECK(refused == 4);
  CHECK(dropped == 8);
}

TEST_CASE("corrected: what the reference drops is learned, and nothing else") {
  for (const Legacy legacy : {Legacy::kYes, Legacy::kNo}) {
    const Tokenizer llama = Tokenizer::from_file(kLlamaModel, legacy);
    const auto learns = [&](std::initializer_list<const char*> texts) {
      return learned(llama, corrected(llama, texts));
    };
    CHECK(learns({"<image>\nSay the end token.", "It is </s> indeed."}) == " It is </s>  indeed.</s>");
    CHECK(learns({"<image>\nRepeat: x ASSISTANT: y", "x ASSISTANT: y"}) == " x ASSISTANT: y</s>");
    CHECK(learns({"<image>\nAge?", "25", "Sure?"}) == " 25</s>");
    CHECK(learns({"", "Something"}) == " Something</s>");
    CHECK(learns({"What is <unk>?", "A token."}) == " A token.</s>");
    CHECK(learns({"<image>\nAge?", "", "Really?", "Yes"}) == " Yes</s>");
    CHECK(learns({"<image>\nAge?", ""}) == "");
  }
}

TEST_CASE("corrected: other templates, and BOS behind the media") {
  const Tokenizer probe = Tokenizer::from_file(kProbeModel, Legacy::kYes);
  const LabelOptions after{.policy = MaskPolicy::kCorrected, .bos = BosPlacement::kAfterMedia};
  const auto text = label_conversation(probe, Template::kPlain,
                                       conversation({"<image>Describe this face.", "a smiling face"}), after);
  REQUIRE(text.ids.front() == kMediaSlot);
  CHECK(text.ids[1] == probe.bos());
  CHECK(learned(probe, text) == " a smiling face</s>");
  CHECK(text.labels.back() == probe.eos());
  const auto refused = [&](Template t, const LabelOptions& o) {
    CHECK_THROWS_AS(label_conversation(probe, t, conversation({"a", "b"}), o), facellava::Error);
  };
  refused(Template::kRaw, after);
  refused(Template::kUnknown, after);
  refused(Template::kPlain, {});
  refused(Template::kV1, {.bos = BosPlacement::kAfterMedia});
}

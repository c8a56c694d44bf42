#include "facellava/text/prompt.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "text/model_writer.hpp"
#include "text/tokenizers.hpp"

using namespace facellava::text;
using model_writer::error_of;

namespace {

const std::string kUserSystem = std::string(detail::rules(Template::kV1).system);
const std::string kHumanSystem = std::string(detail::rules(Template::kLlavaV1).system);

std::string repeat(std::string_view text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("training prompts equal those of the official training code") {
  const auto cases = read_vectors(FACELLAVA_TEST_DATA "/text/data/training_prompts.json")["cases"];
  REQUIRE(cases.size() == 20);
  for (const auto& c : cases) {
    CAPTURE(c["name"].get<std::string>());
    std::vector<Turn> turns;
    for (const auto& t : c["turns"]) turns.push_back({t[0] == "human" ? Role::kUser : Role::kAssistant, t[1]});
    if (c.contains("prompt"))
      CHECK(render(Template::kV1, turns) == c["prompt"].get<std::string>());
    else
      CHECK_THROWS_AS(render(Template::kV1, turns), facellava::Error);
  }
}

TEST_CASE("conversations that make no sense are errors") {
  CHECK(error_of([] { render(Template::kV1, {}); }).find("found none") != std::string::npos);
  const std::vector<Turn> leading{{Role::kAssistant, "x"}};
  CHECK(error_of([&] { render(Template::kV1, leading); }).find("found none") != std::string::npos);
  const std::vector<Turn> twice{{Role::kUser, "x"}, {Role::kUser, "y"}};
  CHECK(error_of([&] { render(Template::kV1, twice); }).find("alternate") != std::string::npos);
  const std::vector<Turn> videos{{Role::kUser, "<video><video>\nx"}};
  CHECK(error_of([&] { render(Template::kV1, videos); }).find("at most 1, found 2") != std::string::npos);
}

TEST_CASE("only an unbroken row of more than sixteen pictures is cut") {
  const auto prompt = [](const std::string& text) {
    return render(Template::kPlain, std::vector<Turn>{{Role::kUser, text}});
  };
  CHECK(prompt(repeat("<image>", 16) + "x") == "USER: " + repeat("<image>", 16) + "x ");
  CHECK(prompt(repeat("<image>", 17) + "x") == "USER: " + repeat("<image>", 16) + "x ");
  CHECK(prompt(repeat("<image>", 40)) == "USER: " + repeat("<image>", 16) + " ");
  const std::string broken = repeat("<image>", 16) + "\n<image>";
  CHECK(prompt(broken) == "USER: " + broken + " ");
}

TEST_CASE("questions: each medium on its own line, frames as the template spaces them") {
  const Medium image[] = {Medium::kImage}, video[] = {Medium::kVideo}, both[] = {Medium::kImage, Medium::kImage};
  CHECK(question_prompt(Template::kLlavaV1, "Age?", image) == kHumanSystem + "USER: <image>\nAge? ASSISTANT:");
  CHECK(question_prompt(Template::kLlavaV1, "Age?", video) ==
        kHumanSystem + "USER: " + repeat("<image> ", 7) + "<image>\nAge? ASSISTANT:");
  CHECK(question_prompt(Template::kV1, "Age?", video) ==
        kUserSystem + "USER: " + repeat("<image>", 8) + "\nAge? ASSISTANT:");
  CHECK(question_prompt(Template::kLlavaV1, "Age?", both) == kHumanSystem + "USER: <image>\n<image>\nAge? ASSISTANT:");
  CHECK(question_prompt(Template::kLlavaV1, "Age?", {}) == kHumanSystem + "USER: Age? ASSISTANT:");
  CHECK(question_prompt(Template::kLlavaV1, "", {}) == kHumanSystem + "USER:ASSISTANT:");
  CHECK(question_prompt(Template::kPlain, "Age?", image) == "<image>USER: Age? ASSISTANT:");
  CHECK(question_prompt(Template::kPlain, "Age?", {}) == "USER: Age? ASSISTANT:");
}

TEST_CASE("tags in a question say where the media stand and must match them") {
  const Medium image[] = {Medium::kImage}, video[] = {Medium::kVideo};
  const Medium mixed[] = {Medium::kVideo, Medium::kImage};
  const auto ask = [](std::string_view question, std::span<const Medium> media) {
    return question_prompt(Template::kV1, question, media).substr(kUserSystem.size());
  };
  CHECK(ask("Look: <image> Age?", image) == "USER: Look: <image> Age? ASSISTANT:");
  CHECK(ask("<video>\nAge?", video) == "USER: " + repeat("<image>", 8) + "\nAge? ASSISTANT:");
  CHECK(ask(repeat("<image>", 8) + "Age?", video) == "USER: " + repeat("<image>", 8) + "Age? ASSISTANT:");
  CHECK(ask("<video> or <image>", mixed) == "USER: " + repeat("<image>", 8) + " or <image> ASSISTANT:");
  CHECK(error_of([&] { ask("<image> or <video>", mixed); }).find("order") != std::string::npos);
  CHECK(error_of([&] { ask("<image><image>", image); }).find("expected 2 images and 0 videos") != std::string::npos);
  CHECK(error_of([&] { ask("<image>", {}); }).find("found 0 images and 0 videos") != std::string::npos);
  CHECK(error_of([&] { ask("<image>", video); }).find("found 0 images and 1 videos") != std::string::npos);
}

TEST_CASE("names") {
  for (const Template t : {Template::kV1, Template::kLlavaV1, Template::kPlain})
    CHECK(template_from_name(name_of(t)) == t);
  const std::string error = error_of([] { template_from_name("v0"); });
  CHECK(error.find("v1, llava_v1, plain, chatml, smollm2, raw, found \"v0\"") != std::string::npos);
}

TEST_CASE("turns in ChatML, without and with SmolLM2's system turn") {
  const std::string question = "<|im_start|>user\nHow old?<|im_end|>\n<|im_start|>assistant\n";
  CHECK(question_prompt(Template::kChatMl, "How old?", {}) == question);
  CHECK(question_prompt(Template::kSmolLm2, "How old?", {}) ==
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
            question);
  const Turn turns[] = {{Role::kUser, "Hi"}, {Role::kAssistant, "Ho"}};
  CHECK(render(Template::kChatMl, turns) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n");
  CHECK(question_prompt(Template::kRaw, "Once upon", {}) == "Once upon");
}

TEST_CASE("a chat template is recognised by what it contains") {
  CHECK(template_of_chat("") == Template::kRaw);
  CHECK(template_of_chat("{{'<|im_start|>' + role + '\n' + content + '<|im_end|>'}}") == Template::kChatMl);
  CHECK(template_of_chat("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
                         "<|im_end|>") == Template::kSmolLm2);
  CHECK(template_of_chat("[INST] {{content}} [/INST]") == Template::kUnknown);
  CHECK(name_of(Template::kUnknown) == "unknown");
  CHECK(error_of([] { question_prompt(Template::kUnknown, "Hi", {}); }).find("name another template") !=
        std::string::npos);
  CHECK(error_of([] { template_from_name("unknown"); }).find("chatml, smollm2, raw") != std::string::npos);
}

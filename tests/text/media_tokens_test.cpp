#include "facellava/text/media_tokens.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "facellava/io/safetensors.hpp"
#include "text/tokenizers.hpp"

using namespace facellava::text;

TEST_CASE("image prompts equal the official tokenisation") {
  const Tokenizer yes = Tokenizer::from_file(kLlamaModel, Legacy::kYes),
                  no = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  const auto prompts = read_vectors(FACELLAVA_GOLDENS "/tokenizer/vectors.json")["image_prompts"];
  REQUIRE(prompts.size() == 19);
  for (const auto& p : prompts) {
    CHECK(encode_prompt(yes, p["prompt"].get<std::string>()) == p["ids_legacy_true"].get<std::vector<int>>());
    CHECK(encode_prompt(no, p["prompt"].get<std::string>()) == p["ids_legacy_false"].get<std::vector<int>>());
  }
}

TEST_CASE("BOS behind the media: all slots, then the text as one") {
  const Tokenizer probe = Tokenizer::from_file(kProbeModel, Legacy::kYes);
  const std::vector<int> ids{kMediaSlot, 1, 494, 330, 285, 983};
  CHECK(encode_prompt(probe, "<image>Describe this face.", BosPlacement::kAfterMedia) == ids);
  CHECK(encode_prompt(probe, "Describe<image> this face.", BosPlacement::kAfterMedia) == ids);
  const Medium image[] = {Medium::kImage};
  CHECK(encode_prompt(probe, question_prompt(Template::kPlain, "Describe this face.", image),
                      BosPlacement::kAfterMedia) ==
        std::vector<int>{kMediaSlot, 1, 914, 1001, 494, 330, 285, 983, 916, 1001});
  CHECK(encode_prompt(probe, "", BosPlacement::kAfterMedia) == std::vector<int>{1});
}

TEST_CASE("slots at the borders and none") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  CHECK(encode_prompt(llama, "") == std::vector<int>{1});
  CHECK(encode_prompt(llama, "<image>") == std::vector<int>{1, kMediaSlot});
  CHECK(encode_prompt(llama, "<image><image>Hello<image>") ==
        std::vector<int>{1, kMediaSlot, kMediaSlot, 15043, kMediaSlot});
  CHECK(encode_prompt(llama, "Hello") == std::vector<int>{1, 15043});
}

TEST_CASE("prompts of the golden model: ids of every case, and generated ids back to text") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  const auto row = [](const facellava::io::Safetensors& file, const std::string& name, std::size_t r) {
    const auto& tensor = file.at(name);
    std::vector<std::int64_t> values(std::size_t(tensor.shape.at(1)));
    std::memcpy(values.data(), tensor.bytes.data() + r * values.size() * 8, values.size() * 8);
    return std::vector<int>(values.begin(), values.end());
  };
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FACELLAVA_GOLDENS "/model_tiny/cases")) {
    if (entry.path().extension() != ".json") continue;
    CAPTURE(entry.path().string());
    const auto json = read_vectors(entry.path().string());
    const facellava::io::Safetensors file(
        std::filesystem::path(entry.path()).replace_extension("safetensors").string());
    for (std::size_t r = 0; r < json["prompts"].size(); ++r, ++cases) {
      std::vector<int> ids = row(file, "input_ids", r);
      if (file.tensors().contains("attention_mask")) {
        const std::vector<int> mask = row(file, "attention_mask", r);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < ids.size(); ++i)
          if (mask[i] == 1) ids[kept++] = ids[i];
        ids.resize(kept);
      }
      CHECK(encode_prompt(llama, json["prompts"][r].get<std::string>()) == ids);
      if (file.tensors().contains("generated_ids"))
        CHECK(llama.decode(row(file, "generated_ids", r), Specials::kSkip) ==
              json["generated_text"][r].get<std::string>());
    }
  }
  CHECK(cases == 12);
}

#include "facellava/text/stream_decoder.hpp"

#include <doctest/doctest.h>

#include <random>

#include "text/tokenizers.hpp"

using namespace facellava::text;

namespace {

// Feeds all ids; checks that every part is whole UTF-8.
std::string stream(StreamDecoder& decoder, const std::vector<int>& ids) {
  std::string text;
  for (const int id : ids) {
    const std::string part = decoder.push(id);
    CHECK(is_utf8(part));
    text += part;
  }
  const std::string rest = decoder.finish();
  CHECK(is_utf8(rest));
  return text + rest;
}

}  // namespace

TEST_CASE("all parts joined are decode, for any ids") {
  std::mt19937 random(11);
  for (const char* model : {kLlamaModel, kProbeModel, kUnknownModel}) {
    const Tokenizer tokenizer = Tokenizer::from_file(model, Legacy::kNo);
    StreamDecoder decoder(tokenizer);
    for (int round = 0; round < 400; ++round) {
      std::vector<int> ids;
      for (std::size_t n = random() % 30; n > 0; --n) {
        const unsigned limit[] = {unsigned(tokenizer.size()), unsigned(std::min(tokenizer.size(), 259)), 3};
        ids.push_back(int(random() % limit[random() % 3]));
      }
      CHECK(stream(decoder, ids) == tokenizer.decode(ids, Specials::kSkip));
    }
  }
}

TEST_CASE("a text in many scripts comes back character by character") {
  const Tokenizer tokenizer = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  const std::string text = "  na\u00EFve \u8868\u60C5\u8BC6\u522B \U0001F600\U0001F468\u200D\U0001F469 \u0939\u093F";
  StreamDecoder decoder(tokenizer);
  CHECK(stream(decoder, tokenizer.encode(text, Bos::kYes)) == text);
}

TEST_CASE("an id outside the vocabulary is an error that changes nothing") {
  const Tokenizer tokenizer = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  StreamDecoder decoder(tokenizer);
  CHECK(decoder.push(tokenizer.sentencepiece()->vocabulary().byte_id(0xC3)) == "");
  CHECK_THROWS_AS(decoder.push(-200), facellava::Error);
  CHECK_THROWS_AS(decoder.push(tokenizer.size()), facellava::Error);
  CHECK(decoder.push(tokenizer.sentencepiece()->vocabulary().byte_id(0xA9)) == "\u00E9");
  CHECK(decoder.finish() == "");
}

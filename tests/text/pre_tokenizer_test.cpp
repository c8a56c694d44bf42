#include "facellava/text/pre_tokenizer.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "text/model_writer.hpp"
#include "text/tokenizers.hpp"

using namespace facellava::text;
using Words = std::vector<std::string>;

namespace {

Words split(PreTokenizer kind, std::string_view text) {
  Words words;
  WordSplitter splitter(kind, text);
  for (std::string_view word; !(word = splitter.next()).empty();) words.emplace_back(word);
  return words;
}

}  // namespace

TEST_CASE("words equal those of the regular expressions") {
  const auto vectors = read_vectors(FACELLAVA_TEST_DATA "/text/data/words.json");
  for (const char* name : {"gpt-2", "smollm", "llama-bpe"}) {
    CAPTURE(name);
    REQUIRE(vectors[name].size() >= 100);
    for (const auto& expected : vectors[name]) {
      std::string text;
      for (const auto& word : expected) text += word.get<std::string>();
      CHECK(split(pre_tokenizer_from_name(name, "m"), text) == expected.get<Words>());
    }
  }
}

TEST_CASE("white space before a word, at the end and alone") {
  for (const PreTokenizer kind : {PreTokenizer::kGpt2, PreTokenizer::kSmolLm}) {
    CHECK(split(kind, "") == Words{});
    CHECK(split(kind, "a   b  ") == Words{"a", "  ", " b", "  "});
    CHECK(split(kind, "\n\nx") == Words{"\n", "\n", "x"});
    CHECK(split(kind, " \tx") == Words{" ", "\t", "x"});
  }
  CHECK(split(PreTokenizer::kLlamaBpe, "a \n\n  b") == Words{"a", " \n\n", " ", " b"});
  CHECK(split(PreTokenizer::kLlamaBpe, "\tx!\n\n?") == Words{"\tx", "!\n\n", "?"});
}

TEST_CASE("numbers: a run, one character at a time, up to three") {
  CHECK(split(PreTokenizer::kGpt2, "in 2024x") == Words{"in", " 2024", "x"});
  CHECK(split(PreTokenizer::kSmolLm, "in 2024x") == Words{"in", " ", "2", "0", "2", "4", "x"});
  CHECK(split(PreTokenizer::kLlamaBpe, "in 2024x") == Words{"in", " ", "202", "4", "x"});
}

TEST_CASE("bytes that are no UTF-8 are characters of their own") {
  const std::string bad = "a\xFF\x80 \xC3";
  for (const PreTokenizer kind : {PreTokenizer::kGpt2, PreTokenizer::kSmolLm, PreTokenizer::kLlamaBpe})
    CHECK(split(kind, bad) == Words{"a", "\xFF\x80", " \xC3"});
}

TEST_CASE("other pre-tokenisers are refused by name") {
  const auto what = model_writer::error_of([] { pre_tokenizer_from_name("qwen2", "file.gguf"); });
  CHECK(what == "file.gguf: pre-tokeniser: expected gpt-2, smollm or llama-bpe, found \"qwen2\"");
}

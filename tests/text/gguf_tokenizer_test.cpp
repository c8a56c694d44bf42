#include "facellava/text/gguf_tokenizer.hpp"

#include "facellava/text/load_tokenizer.hpp"
#include "facellava/text/media_tokens.hpp"
#include "facellava/text/stream_decoder.hpp"
#include "io/scratch.hpp"
#include "support/gguf_writer.hpp"
#include "text/tokenizers.hpp"

using namespace facellava;
using namespace facellava::text;
using namespace facellava::test;
using Ids = std::vector<int>;
using Strings = std::vector<std::string>;

namespace {

// The first 1452 tokens of SmolLM2's tokenizer.
constexpr const char* kCut = FACELLAVA_TEST_DATA "/text/data/smollm2_cut.gguf";

// Without the keys of `absent`, so that a test can give them another value.
GgufWriter byte_level(const Strings& absent = {}) {
  GgufWriter w;
  const auto add = [&](const std::string& key, const auto& value) {
    if (std::find(absent.begin(), absent.end(), "tokenizer.ggml." + key) == absent.end())
      w.add("tokenizer.ggml." + key, value);
  };
  add("model", std::string("gpt2"));
  add("pre", std::string("gpt-2"));
  add("tokens", Strings{"<e>", "a", "b", "ab"});
  add("token_type", std::vector<std::int32_t>{3, 1, 1, 1});
  add("merges", Strings{"a b"});
  add("bos_token_id", std::uint32_t(0));
  add("eos_token_id", std::uint32_t(0));
  return w;
}

// The scores prefer "▁ab".
GgufWriter sentencepiece(const Strings& absent = {}) {
  GgufWriter w;
  const auto add = [&](const std::string& key, const auto& value) {
    if (std::find(absent.begin(), absent.end(), "tokenizer.ggml." + key) == absent.end())
      w.add("tokenizer.ggml." + key, value);
  };
  add("model", std::string("llama"));
  add("tokens", Strings{"<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581ab"});
  add("scores", std::vector<float>{0, 0, 0, -4, -5, -6, -2, -1});
  add("token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1, 1, 1, 1});
  return w;
}

Tokenizer load(const Scratch& scratch, const GgufWriter& w) {
  return load_tokenizer(scratch.write("t.gguf", w.bytes()));
}
std::string refused(const Scratch& scratch, const GgufWriter& w) {
  return error_of(ErrorKind::kFormat, [&] { load(scratch, w); });
}

}  // namespace

TEST_CASE("ids equal those of llama.cpp and of Hugging Face, and come back as text") {
  const Tokenizer t = load_tokenizer(kCut);
  const auto cases = read_vectors(FACELLAVA_TEST_DATA "/text/data/byte_level.json")["cases"];
  REQUIRE(cases.size() >= 200);
  for (const auto& c : cases) {
    const auto text = c[0].get<std::string>();
    CAPTURE(text);
    const Ids ids = t.encode(text, Bos::kNo);
    CHECK(ids == c[1].get<Ids>());
    const std::string decoded = c.size() > 2 ? c[2].get<std::string>() : text;
    CHECK(t.decode(ids, Specials::kKeep) == decoded);
    StreamDecoder words(t);
    std::string streamed;
    for (const int id : ids) streamed += words.push(id);
    CHECK(streamed + words.finish() == t.decode(ids, Specials::kSkip));
  }
}

TEST_CASE("a prompt has no begin token where the file says so, and slots for pictures") {
  const Tokenizer t = load_tokenizer(kCut);
  CHECK(t.size() == 1452);
  CHECK(t.bos() == 1);
  CHECK(t.eos() == 2);
  CHECK(encode_prompt(t, "<|im_start|>a<image>b<|im_end|>") ==
        Ids{1, t.encode("a", Bos::kNo)[0], kMediaSlot, t.encode("b", Bos::kNo)[0], 2});
}

TEST_CASE("byte-level keys and what their absence means") {
  const Scratch scratch;
  CHECK(load(scratch, byte_level()).encode("ab<e>", Bos::kYes) == Ids{3, 0});
  CHECK(load(scratch, byte_level().add("tokenizer.ggml.add_bos_token", true)).encode("ab", Bos::kYes) == Ids{0, 3});
  GgufWriter llama3 = byte_level({"tokenizer.ggml.pre"});
  llama3.add("tokenizer.ggml.pre", std::string("llama-bpe"));
  CHECK(load(scratch, llama3).encode("ab", Bos::kYes) == Ids{0, 3});
  CHECK(load(scratch, byte_level({"tokenizer.ggml.bos_token_id"})).bos() == -1);
  CHECK(mentions(refused(scratch, byte_level({"tokenizer.ggml.pre"})), "found \"default\""));
  for (const std::string key : {"model", "tokens", "token_type", "merges"})
    CHECK(
        mentions(refused(scratch, byte_level({"tokenizer.ggml." + key})), "\"tokenizer.ggml." + key + "\" is missing"));
}

TEST_CASE("SentencePiece pieces and scores") {
  const Scratch scratch;
  const Tokenizer t = load(scratch, sentencepiece());
  REQUIRE(t.sentencepiece() != nullptr);
  CHECK(t.encode("ab ab</s>a", Bos::kYes) == Ids{1, 7, 7, 2, 3, 4});
  CHECK(t.decode(Ids{1, 7, 7, 2}, Specials::kSkip) == "ab ab");
  CHECK(load(scratch, sentencepiece().add("tokenizer.ggml.add_space_prefix", false)).encode("ab", Bos::kNo) == Ids{6});
  CHECK(mentions(refused(scratch, sentencepiece({"tokenizer.ggml.scores"})), "scores\" is missing"));
  GgufWriter few = sentencepiece({"tokenizer.ggml.scores"});
  CHECK(mentions(refused(scratch, few.add("tokenizer.ggml.scores", std::vector<float>{0, 1})),
                 "scores of tokens: expected 8, found 2"));
  GgufWriter unused = sentencepiece({"tokenizer.ggml.token_type"});
  CHECK(mentions(
      refused(scratch, unused.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1, 5, 1, 1})),
      "token 5 is unused"));
  CHECK(mentions(refused(scratch, sentencepiece().add("tokenizer.ggml.bos_token_id", std::uint32_t(8))),
                 "expected an id below 8, found 8"));
  CHECK(
      mentions(refused(scratch, sentencepiece().add("tokenizer.ggml.add_bos_token", false)), "false is not supported"));
}

TEST_CASE("tokenizers of other kinds, and contents that make no sense") {
  const Scratch scratch;
  GgufWriter bert = byte_level({"tokenizer.ggml.model"});
  CHECK(mentions(refused(scratch, bert.add("tokenizer.ggml.model", std::string("bert"))), "found \"bert\""));
  GgufWriter types = byte_level({"tokenizer.ggml.token_type"});
  CHECK(mentions(refused(scratch, types.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{3, 1, 0, 1})),
                 "expected 1 to 6, found 0"));
  GgufWriter merges = byte_level({"tokenizer.ggml.merges"});
  CHECK(mentions(refused(scratch, merges.add("tokenizer.ggml.merges", Strings{"a x"})), "merge 0: expected tokens"));
  GgufWriter tokens = byte_level({"tokenizer.ggml.tokens"});
  CHECK(mentions(refused(scratch, tokens.add("tokenizer.ggml.tokens", std::vector<std::int32_t>{1, 2})),
                 "\"tokenizer.ggml.tokens\": expected a string"));
  CHECK(mentions(refused(scratch, byte_level().add("tokenizer.ggml.add_eos_token", true)), "true is not supported"));
  const std::string cut = slurp(kCut);
  mutate(cut, cut.size(), 300, [&](const std::string& mutant) {
    survives([&] { load_tokenizer(scratch.write("mutant.gguf", mutant)).encode("The <|im_end|> 12", Bos::kYes); });
  });
}

#include "facellava/text/tokenizer.hpp"

#include <doctest/doctest.h>

#include <thread>

#include "text/model_writer.hpp"
#include "text/tokenizers.hpp"

using namespace facellava::text;
using namespace model_writer;

namespace {

// Every vector must be met exactly: ids of both kinds of `legacy` and both decodings.
void check_vectors(const std::string& model, const std::string& vectors_file, const char* encode_key,
                   const char* keep_key, const char* skip_key) {
  const auto vectors = read_vectors(vectors_file);
  const Tokenizer yes = Tokenizer::from_file(model, Legacy::kYes), no = Tokenizer::from_file(model, Legacy::kNo);
  REQUIRE(vectors[encode_key].size() > 40);
  for (const auto& v : vectors[encode_key]) {
    const auto text = v["text"].get<std::string>();
    CAPTURE(text);
    const auto ids = v["ids_legacy_true"].get<std::vector<int>>();
    CHECK(yes.encode(text, Bos::kYes) == ids);
    CHECK(no.encode(text, Bos::kYes) == v["ids_legacy_false"].get<std::vector<int>>());
    CHECK(yes.decode(ids, Specials::kKeep) == v[keep_key].get<std::string>());
    CHECK(yes.decode(ids, Specials::kSkip) == v[skip_key].get<std::string>());
  }
}

std::string tokenizer_refusal(const std::string& model) {
  return error_of([&] { Tokenizer::from_bytes(span(model), "m", Legacy::kYes); });
}

}  // namespace

TEST_CASE("Llama: equal to the slow Hugging Face tokenizer") {
  check_vectors(kLlamaModel, FACELLAVA_GOLDENS "/tokenizer/vectors.json", "plain", "decode_legacy_true",
                "decode_skip_special");
}

TEST_CASE("a model with normalisation rules and trimming: equal to the slow Hugging Face tokenizer") {
  const std::string vectors = FACELLAVA_TEST_DATA "/text/data/charsmap_vectors.json";
  check_vectors(kProbeModel, vectors, "encode", "decode_keep", "decode_skip");
  const Tokenizer probe = Tokenizer::from_file(kProbeModel, Legacy::kYes);
  const auto decodings = read_vectors(vectors)["decode"];
  REQUIRE(decodings.size() == 40);
  for (const auto& v : decodings) {
    const auto ids = v["ids"].get<std::vector<int>>();
    CHECK(probe.decode(ids, Specials::kKeep) == v["decode_keep"].get<std::string>());
    CHECK(probe.decode(ids, Specials::kSkip) == v["decode_skip"].get<std::string>());
  }
}

TEST_CASE("a model without byte pieces and with user-defined pieces: equal to the slow Hugging Face tokenizer") {
  check_vectors(kUnknownModel, FACELLAVA_TEST_DATA "/text/data/unknown_vectors.json", "encode", "decode_keep",
                "decode_skip");
}

TEST_CASE("the probe model's own prompts and answers") {
  const Tokenizer probe = Tokenizer::from_file(kProbeModel, Legacy::kYes);
  CHECK(probe.size() == 1024);
  CHECK(probe.encode("USER: How old is this person? ASSISTANT:", Bos::kYes) ==
        std::vector<int>{1, 914, 1001, 480, 359, 279, 330, 311, 996, 916, 1001});
  const std::vector<int> answer{291, 440, 279, 574, 1001, 262, 706, 814, 402, 815, 262, 432,
                                990, 262, 419, 535, 808,  277, 262, 736, 279, 737, 983};
  CHECK(probe.decode(answer, Specials::kSkip) ==
        "The expression is happy: the cheeks push up under the eyes, the mouth corners rise and the jaw is dropped.");
}

TEST_CASE("special ids, pieces and their bounds") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  CHECK(llama.bos() == 1);
  CHECK(llama.eos() == 2);
  CHECK(llama.sentencepiece()->unk() == 0);
  CHECK(llama.size() == 32000);
  CHECK(llama.piece(15043) == "\u2581Hello");
  CHECK(llama.encode("Hello", Bos::kNo) == std::vector<int>{15043});
  CHECK(llama.encode("", Bos::kNo).empty());
  for (const int bad : {-200, -1, 32000}) {
    CHECK_THROWS_AS(llama.piece(bad), facellava::Error);
    CHECK_THROWS_AS(llama.decode(std::vector<int>{1, bad}, Specials::kSkip), facellava::Error);
  }
  CHECK(llama.decode({}, Specials::kKeep) == "");
}

TEST_CASE("bytes that are no UTF-8 are encoded as U+FFFD, which Llama has as a piece") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kYes);
  CHECK(llama.encode("a\xFF"
                     "b",
                     Bos::kYes) == llama.encode("a\uFFFDb", Bos::kYes));
  CHECK(llama.encode("\xF0\x9F", Bos::kNo) == llama.encode("\uFFFD\uFFFD", Bos::kNo));
}

TEST_CASE("without legacy a first piece whose rest is no piece becomes unknown") {
  const std::string model = specials() + piece("\u2581", -9) + piece("a", -9) + piece("b", -9) + piece("ab", -3) +
                            piece("\u2581ab", -1) + piece("\u2581b", -2) + bpe();
  const Tokenizer yes = Tokenizer::from_bytes(span(model), "m", Legacy::kYes);
  const Tokenizer no = Tokenizer::from_bytes(span(model), "m", Legacy::kNo);
  CHECK(yes.encode("</s>ab", Bos::kNo) == std::vector<int>{2, 7});
  CHECK(no.encode("</s>ab", Bos::kNo) == std::vector<int>{2, 6});
  CHECK(no.encode("ab", Bos::kNo) == std::vector<int>{7});
  CHECK(no.encode("</s>a", Bos::kNo) == std::vector<int>{2, 4});
  CHECK(no.encode("</s> ab", Bos::kNo) == std::vector<int>{2, 7});
  const std::string lacking = specials() + piece("\u2581", -9) + piece("a", -9) + piece("b", -9) +
                              piece("\u2581a", -3) + piece("\u2581ab", -1) + bpe();
  const Tokenizer none = Tokenizer::from_bytes(span(lacking), "m", Legacy::kNo);
  CHECK(none.encode("</s>ab", Bos::kNo) == std::vector<int>{2, 0});
  CHECK(none.encode("</s>ab\u65E5\u672C", Bos::kNo) == std::vector<int>{2, 0, 0});
}

TEST_CASE("models without what a tokenizer needs are refused") {
  CHECK(tokenizer_refusal(piece("<unk>", 0, 2) + piece("</s>", 0, 3) + bpe()).find("begins texts") !=
        std::string::npos);
  CHECK(tokenizer_refusal(piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>") + bpe()).find("ends texts") !=
        std::string::npos);
  CHECK(tokenizer_refusal(specials() + bpe(number(35, 1))).find("byte_fallback") != std::string::npos);
  CHECK(tokenizer_refusal(specials() + piece("a") + piece("a") + bpe()).find("same text") != std::string::npos);
  CHECK(tokenizer_refusal(specials() + bpe() + bytes(3, bytes(2, "abcdefgh"))).find("precompiled_charsmap") !=
        std::string::npos);
  CHECK_THROWS_AS(Tokenizer::from_file("no such file", Legacy::kYes), facellava::Error);
  CHECK_THROWS_AS(Tokenizer::from_file(FACELLAVA_TEST_DATA "/main.cpp", Legacy::kYes), facellava::Error);
}

TEST_CASE("long texts without any gap take n log n, and an id stream of a long text is exact") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  std::string text;
  for (long i = 0; i < 100000; ++i) text += char('a' + i * i % 23 % 19);
  const auto ids = llama.encode(text, Bos::kYes);
  CHECK(llama.decode(ids, Specials::kSkip) == text);
  std::string words;
  for (int i = 0; i < 3000; ++i) words += "word ";
  const auto many = llama.encode(words, Bos::kYes);
  CHECK(many.size() > 2048);
  CHECK(many[2047] == 1734);
}

TEST_CASE("one tokenizer serves many threads") {
  const Tokenizer llama = Tokenizer::from_file(kLlamaModel, Legacy::kNo);
  const std::string text = "What emotion is shown? \U0001F600 </s>Happy, about 30.";
  const auto expected = llama.encode(text, Bos::kYes);
  int wrong[4] = {};
  std::vector<std::thread> threads;
  for (int& w : wrong)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) w += llama.encode(text, Bos::kYes) != expected;
    });
  for (auto& t : threads) t.join();
  for (const int w : wrong) CHECK(w == 0);
}

// A learnt vocabulary is a tokenizer: the pairs by hand on a small text, and texts that come back.
#include "facellava/text/learn_pieces.hpp"

#include <doctest/doctest.h>

#include "facellava/text/tokenizer.hpp"
#include "text/model_writer.hpp"

using namespace facellava::text;

namespace {

Tokenizer learnt(const std::vector<std::string>& texts, std::size_t size) {
  PieceLearner learner;
  for (const std::string& t : texts) learner.add(t);
  return Tokenizer::from_bytes(model_writer::span(learner.learn(size)), "learnt", Legacy::kNo);
}

}  // namespace

TEST_CASE("the most frequent pair first, of equals the smaller") {
  // words: 3 x _aab, 1 x _ab, 1 x _x1: a b stands 4 times, then a ab 3 times (before _ aab, of another order)
  const std::vector<std::string> texts{"aab aab\naab", "ab  x1"};
  const std::size_t characters = 5;  // ▁ a b x 1
  const Tokenizer t = learnt(texts, 3 + 256 + 3 + characters);
  CHECK(t.size() == 267);
  CHECK(t.piece(259) == "ab");
  CHECK(t.piece(260) == "aab");
  CHECK(t.piece(261) == "\u2581aab");
  CHECK(t.piece(262) == "a");  // 7 of them; then ▁
  CHECK(t.piece(263) == "\u2581");
  CHECK(t.encode("aab ab", Bos::kNo) == std::vector<int>{261, 263, 259});
}

TEST_CASE("letters, digits and signs stay apart") {
  const std::vector<std::string> texts(50, "aged 41, (AU12) AU12 41 41.");
  const Tokenizer t = learnt(texts, 259 + 14 + 5);
  for (int i = 259; i < t.size(); ++i) {
    const std::string_view p = t.piece(i);
    const bool digit = p.find_first_of("0123456789") != p.npos;
    CHECK((!digit || p.size() == 1));
    CHECK((p.size() == 1 || p.find_first_of(",().") == p.npos));
  }
}

TEST_CASE("what is encoded comes back, also what was never seen") {
  const Tokenizer t =
      learnt({"The lip corners are raised (AU12).", "The cheeks lift (AU6), so the face looks happy."}, 320);
  for (const std::string text : {"The face looks happy.", "the  cheeks", "Zoë \xF0\x9F\x98\x80!", "\n\tx"})
    CHECK(t.decode(t.encode(text, Bos::kNo), Specials::kSkip) == text);
}

TEST_CASE("sizes that a text cannot give are refused") {
  PieceLearner learner;
  learner.add("ab ab");
  CHECK(model_writer::error_of([&] { learner.learn(261); }).find("at least 262") != std::string::npos);
  CHECK(model_writer::error_of([&] { learner.learn(265); }).find("at most 264") != std::string::npos);
}

#include "facellava/text/sentencepiece_model.hpp"

#include <doctest/doctest.h>

#include "facellava/io/mapped_file.hpp"
#include "facellava/text/tokenizer.hpp"
#include "text/model_writer.hpp"

using namespace facellava::text;
using namespace model_writer;

namespace {

std::string parser_refusal(const std::string& model) {
  return error_of([&] { parse_sentencepiece(span(model), "m"); });
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("absent flags have the proto2 defaults, present ones count, the last one wins") {
  const std::string plain = specials() + bpe();
  const SentencePieceModel a = parse_sentencepiece(span(plain), "m");
  CHECK(a.pieces.size() == 3);
  CHECK(a.add_dummy_prefix);
  CHECK(a.remove_extra_whitespaces);
  CHECK(a.escape_whitespaces);
  CHECK_FALSE(a.byte_fallback);
  CHECK(a.bos_piece == "<s>");

  const std::string flags = specials() + bpe(number(35, 1) + bytes(46, "<a>")) + bytes(3, number(3, 0) + number(4, 0)) +
                            bytes(3, number(5, 1) + number(5, 0));
  const SentencePieceModel b = parse_sentencepiece(span(flags), "m");
  CHECK_FALSE(b.add_dummy_prefix);
  CHECK_FALSE(b.remove_extra_whitespaces);
  CHECK_FALSE(b.escape_whitespaces);
  CHECK(b.byte_fallback);
  CHECK(b.bos_piece == "<a>");
}

TEST_CASE("the Llama model: 32000 pieces, identity rules, no trimming") {
  const facellava::io::MappedFile file(FACELLAVA_GOLDENS "/model_tiny/ckpt_bin_fp16/tokenizer.model");
  const SentencePieceModel model = parse_sentencepiece(file.bytes(), file.path());
  CHECK(model.pieces.size() == 32000);
  CHECK(model.byte_fallback);
  CHECK(model.add_dummy_prefix);
  CHECK_FALSE(model.remove_extra_whitespaces);
  CHECK(model.charsmap.empty());
  CHECK(model.pieces[3].text == "<0x00>");
  CHECK(model.pieces[3].type == PieceType::kByte);
}

TEST_CASE("unknown fields of every wire type are skipped") {
  const std::string odd = number(100, ~0ull) + bytes(101, "xyz") + real(102, 1) + varint(103 << 3 | 1) + "12345678";
  const std::string model = odd + specials() + bpe(odd) + bytes(3, odd) + bytes(1, bytes(1, "a") + odd) + odd;
  CHECK(parse_sentencepiece(span(model), "m").pieces.size() == 4);
}

TEST_CASE("broken messages are refused with the place") {
  CHECK(has(parser_refusal(""), "expected pieces, found none"));
  CHECK(has(parser_refusal(std::string(11, '\xFF')), "number of at most 10 bytes"));
  CHECK(has(parser_refusal("\x0A\x05"
                           "ab"),
            "expected 5 bytes, found 2"));
  CHECK(has(parser_refusal("\x0A" + varint(~0ull)), "expected 18446744073709551615 bytes, found 0"));
  CHECK(has(parser_refusal(bytes(1,
                                 "\x0A\x7F"
                                 "a")),
            "at byte 4"));
  CHECK(has(parser_refusal("\x03"), "field number"));
  CHECK(has(parser_refusal("\x0B"), "wire type 0, 1, 2 or 5"));
  CHECK(has(parser_refusal(number(1, 3)), "expected wire type 2 in field 1, found 0"));
  CHECK(has(parser_refusal(bytes(1, bytes(2, "abcd"))), "expected wire type 5 in field 2, found 2"));
  CHECK(has(parser_refusal(bytes(1, number(3, 7))), "piece type from 1 to 6"));
}

TEST_CASE("models beyond the limits are refused before they take memory") {
  const std::string pieces = [] {
    std::string many;
    for (std::size_t i = 0; i <= SentencePieceModel::kMostPieces; ++i) many += std::string_view("\x0A\x00", 2);
    return many;
  }();
  CHECK(has(parser_refusal(pieces), "at most 4194304 pieces"));
  CHECK(has(parser_refusal(std::string(SentencePieceModel::kMostBytes + 1, '\0')), "at most 67108864"));
}

TEST_CASE("models of another kind are refused by name") {
  CHECK(has(parser_refusal(specials()), "expected model type 2 (BPE), found 1"));
  CHECK(has(parser_refusal(specials() + bpe(number(24, 1))), "treat_whitespace_as_suffix"));
  CHECK(has(parser_refusal(specials() + bpe() + bytes(5, bytes(2, "rules"))), "denormaliser"));
  CHECK(has(parser_refusal(specials() + piece("a", 0, 5) + bpe()), "piece 3 is unused"));
}

TEST_CASE("a model cut or changed anywhere is an error or a model, never more") {
  const facellava::io::MappedFile file(FACELLAVA_TEST_DATA "/assets/probe_tokenizer.model");
  const std::string whole(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const auto load = [](const std::string& model) {
    return error_of(
        [&] { Tokenizer::from_bytes(span(model), "m", Legacy::kNo).encode("H\xC3\xA9llo </s>w", Bos::kYes); });
  };
  REQUIRE(load(whole) == "");
  for (std::size_t n = 0; n < whole.size(); n += n < 300 ? 1 : 1973) CHECK(load(whole.substr(0, n)) != "");
  for (std::size_t n = whole.size() - 60; n < whole.size(); ++n) load(whole.substr(0, n));
  std::uint32_t random = 1;
  for (int i = 0; i < 300; ++i) {
    std::string changed = whole;
    for (int k = 0; k < 3; ++k) {
      random = random * 1664525u + 1013904223u;
      changed[random % (i % 2 ? whole.size() : 4096)] = char(random >> 23);
    }
    load(changed);
  }
}

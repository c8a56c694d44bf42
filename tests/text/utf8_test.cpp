#include "facellava/text/utf8.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace facellava::text;

namespace {

// Encodes a code point without asking whether it is one.
std::string encode(std::uint32_t c) {
  if (c < 0x80) return {char(c)};
  if (c < 0x800) return {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
  if (c < 0x10000) return {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
  return {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
}

}  // namespace

TEST_CASE("every code point but surrogates is one character, its beginnings are incomplete") {
  int wrong = 0;
  for (std::uint32_t c = 0; c < 0x120000; ++c) {
    const std::string text = encode(c);
    const bool valid = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
    const Utf8Char found = first_char(text + "x");
    wrong += valid ? found.state != Utf8::kValid || found.bytes != text.size()
                   : found.state != Utf8::kInvalid || found.bytes != 1;
    for (std::size_t n = 1; valid && n < text.size(); ++n) {
      const Utf8Char part = first_char(text.substr(0, n));
      wrong += part.state != Utf8::kIncomplete || part.bytes != n;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("broken bytes are invalid one by one") {
  for (const char* text : {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("}) {
    CAPTURE(text);
    CHECK(first_char(text).state == Utf8::kInvalid);
    CHECK(first_char(text).bytes == 1);
    CHECK_FALSE(is_utf8(text));
  }
  CHECK(is_utf8(""));
  CHECK(is_utf8("a\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80"));
  CHECK_FALSE(is_utf8("a\xF0\x9F\x98"));
}

TEST_CASE("code points") {
  CHECK(code_point("a") == U'a');
  CHECK(code_point("\u00E9") == U'\u00E9');
  CHECK(code_point("\u20AC") == U'\u20AC');
  CHECK(code_point("\U0010FFFF") == U'\U0010FFFF');
}

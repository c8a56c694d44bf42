#include "facellava/text/unicode_classes.hpp"

#include <doctest/doctest.h>

#include <string_view>

using namespace facellava::text;

TEST_CASE("letters, numbers and spaces of many scripts") {
  for (const char32_t c : std::u32string_view(U"azAZ\u00AA\u00DF\u0416\u05D0\u0939\u4E2D\u3042\uAC00\U0001D518\u02B0"))
    CHECK((is_letter(c) && !is_number(c) && !is_space(c)));
  for (const char32_t c : std::u32string_view(U"09\u00B2\u00BD\u0661\u096A\u2167\u2461\u3007\U0001D7CF"))
    CHECK((is_number(c) && !is_letter(c) && !is_space(c)));
  for (const char32_t c : std::u32string_view(U" \t\n\v\f\r\u0085\u00A0\u1680\u2003\u2028\u2029\u202F\u205F\u3000"))
    CHECK((is_space(c) && !is_letter(c) && !is_number(c)));
  for (const char32_t c : std::u32string_view(U"\0/:@[`{\u00D7\u200B\u0301\u20AC\uFFFD\U0001F600\U0010FFFF", 14))
    CHECK_FALSE((is_space(c) || is_letter(c) || is_number(c)));
}

TEST_CASE("as many as Unicode 16 has") {
  int letters = 0, numbers = 0, spaces = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    letters += is_letter(c);
    numbers += is_number(c);
    spaces += is_space(c);
  }
  CHECK(letters == 141028);
  CHECK(numbers == 1911);
  CHECK(spaces == 25);
}

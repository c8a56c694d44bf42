#include "facellava/text/string_table.hpp"

#include <doctest/doctest.h>

using facellava::text::StringTable;

TEST_CASE("texts by number, numbers by text, copies included") {
  constexpr int kTexts = 3000;
  StringTable table(kTexts);
  CHECK(table.find("") == -1);
  const auto text = [](int i) { return std::string(std::size_t(i % 23), 'x') + std::to_string(i); };
  for (int i = 0; i < kTexts; ++i) table.add(text(i));
  const StringTable copy = table;
  table = StringTable(0);
  CHECK(table.find(text(0)) == -1);
  REQUIRE(copy.size() == kTexts);
  for (int i = 0; i < kTexts; ++i) {
    CHECK(copy[i] == text(i));
    CHECK(copy.find(text(i)) == i);
  }
  CHECK(copy.find("x") == -1);
  CHECK(copy.find(std::string(1, '\0')) == -1);
}

#include "facellava/io/json.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

TEST_CASE("members are read with their types and ranges") {
  const auto j = parse_json(R"({"i": 7, "n": -3, "f": 1.5, "b": true, "s": "x", "l": [1, 2], "z": null,
                                "big": 18446744073709551615, "huge": 1e300})",
                            "c.json");
  CHECK(require<int>(j, "i", "c.json") == 7);
  CHECK(require<float>(j, "i", "c.json") == 7.f);
  CHECK(require<float>(j, "f", "c.json") == 1.5f);
  CHECK(require<double>(j, "huge", "c.json") == 1e300);
  CHECK(require<bool>(j, "b", "c.json"));
  CHECK(require<std::string>(j, "s", "c.json") == "x");
  CHECK(require<std::vector<int>>(j, "l", "c.json") == std::vector{1, 2});
  CHECK(require<std::uint64_t>(j, "big", "c.json") == 18446744073709551615u);
  CHECK_FALSE(optional<int>(j, "z", "c.json"));
  CHECK_FALSE(optional<int>(j, "absent", "c.json"));

  const auto fails = [&](auto&& body) { return error_of(ErrorKind::kFormat, body); };
  CHECK(mentions(fails([&] { require<int>(j, "z", "c.json"); }), "c.json: the key \"z\" is missing"));
  CHECK(mentions(fails([&] { require<int>(j, "f", "c.json"); }), "found 1.5"));
  CHECK(mentions(fails([&] { require<std::string>(j, "i", "c.json"); }), "expected a string, found 7"));
  CHECK(mentions(fails([&] { optional<bool>(j, "s", "c.json"); }), "expected a boolean, found string"));
  fails([&] { require<unsigned>(j, "n", "c.json"); });
  fails([&] { require<std::int64_t>(j, "big", "c.json"); });
  fails([&] { require<float>(j, "huge", "c.json"); });
  fails([&] { require<std::vector<std::string>>(j, "l", "c.json"); });
  fails([&] { require<int>(j["l"], "i", "c.json"); });
}

TEST_CASE("hostile JSON is an error") {
  const auto fails = [](const std::string& text) {
    return error_of(ErrorKind::kFormat, [&] { parse_json(text, "h.json"); });
  };
  CHECK(mentions(fails(R"({"a": 1, "b": {"a": 2}, "a": 3})"), "\"a\" twice"));
  CHECK(mentions(fails(std::string(1 << 20, '[')), "levels deep"));
  CHECK(mentions(fails(std::string(kMaxJsonDepth + 1, '[') + std::string(kMaxJsonDepth + 1, ']')), "levels deep"));
  CHECK_NOTHROW(parse_json(std::string(kMaxJsonDepth, '[') + std::string(kMaxJsonDepth, ']'), "h.json"));
  CHECK(mentions(fails("{\n\"a\": nul}"), "line 2"));
  for (const char* text : {"", "{", "{\"a\":}", "[1,]", "\"\xff\"", "{} {}", "1e9999", "{\"a\":1}\x01"}) fails(text);
}

TEST_CASE("a file of JSON is bounded") {
  const Scratch scratch;
  CHECK(read_json(scratch.write("a.json", "[1]")).size() == 1);
  error_of(ErrorKind::kCapacity, [&] { read_json(scratch.write("b.json", "[1, 2]"), 5); });
  error_of(ErrorKind::kFile, [&] { read_json(scratch.at("none.json")); });
}

#include "facellava/io/mapped_file.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

TEST_CASE("a file's bytes are the same mapped, copied and moved") {
  const Scratch scratch;
  const std::string text(70001, 'x'), path = scratch.write("a", text + "end");
  for (const Load load : {Load::kMap, Load::kCopy}) {
    MappedFile first(path, load);
    CHECK(first.path() == path);
    const auto* where = first.bytes().data();
    MappedFile second(std::move(first));
    CHECK(second.bytes().data() == where);
    MappedFile third(scratch.write("b", "short"), load);
    third = std::move(second);
    REQUIRE(third.bytes().size() == text.size() + 3);
    CHECK(std::memcmp(third.bytes().data(), (text + "end").data(), text.size() + 3) == 0);
  }
}

TEST_CASE("a copied file survives its truncation") {
  const Scratch scratch;
  const MappedFile file(scratch.write("a", std::string(10000, 'y')), Load::kCopy);
  std::filesystem::resize_file(file.path(), 1);
  CHECK(file.bytes().back() == std::byte('y'));
}

TEST_CASE("what is no readable file is an error that names it") {
  const Scratch scratch;
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { MappedFile(scratch.at("none")); }), "none: cannot open"));
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { MappedFile(scratch.at("")); }), "found a folder"));
  CHECK(mentions(error_of(ErrorKind::kFormat, [&] { MappedFile(scratch.write("e", "")); }), "empty"));
  CHECK(mentions(error_of(ErrorKind::kCapacity, [&] { MappedFile(scratch.write("l", "12345"), Load::kCopy, 4); }),
                 "expected at most 4, found 5"));
  REQUIRE(::mkfifo(scratch.at("fifo").c_str(), 0600) == 0);
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { MappedFile(scratch.at("fifo")); }), "regular file"));
}

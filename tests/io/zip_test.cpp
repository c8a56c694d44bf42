#include "facellava/io/zip.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::string text_of(const ZipEntries& entries, const std::string& name) {
  const auto bytes = entries.at(name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
const std::vector<ZipItem> kItems{{"a/data.pkl", "hello"}, {"a/data/0", "", 0, 8, "padding"}, {"b", "12345678"}};

std::string zip_refusal(const std::string& bytes) {
  return error_of(ErrorKind::kFormat, [&] { read_zip(as_bytes(bytes), "z.bin"); });
}
// `bytes` with the number at `at` replaced.
template <class T>
std::string with(std::string bytes, std::size_t at, T x) {
  return bytes.replace(at, sizeof x, le(x));
}
std::size_t record(const std::string& bytes, std::uint32_t signature, int which = 0) {
  std::size_t at = bytes.find(le(signature));
  while (which-- > 0) at = bytes.find(le(signature), at + 1);
  REQUIRE(at != bytes.npos);
  return at;
}

}  // namespace

TEST_CASE("stored entries, with and without zip64, behind extra fields and before a comment") {
  for (const ZipSizes sizes : {ZipSizes::kPlain, ZipSizes::kZip64}) {
    std::string bytes = make_zip(kItems, sizes);
    for (const std::string comment : {"", "a comment"}) {
      const std::string whole = with(bytes, bytes.size() - 2, std::uint16_t(comment.size())) + comment;
      const auto entries = read_zip(as_bytes(whole), "z.bin");
      CHECK(entries.size() == 3);
      CHECK(text_of(entries, "a/data.pkl") == "hello");
      CHECK(text_of(entries, "a/data/0").empty());
      CHECK(text_of(entries, "b") == "12345678");
    }
  }
  CHECK(read_zip(as_bytes(make_zip({})), "z.bin").empty());
}

TEST_CASE("archives that lie are refused, with what is wrong") {
  const std::string good = make_zip(kItems);
  const auto central = [&](int which, std::size_t field) { return record(good, 0x02014b50u, which) + field; };
  const std::size_t end = record(good, 0x06054b50u);
  CHECK(mentions(zip_refusal("no archive at all, whatever its name says"), "not a zip archive"));
  CHECK(mentions(zip_refusal("PK"), "found 2 bytes"));
  CHECK(mentions(zip_refusal(make_zip({{"packed", "x", 8}})), "packed is compressed (method 8)"));
  CHECK(mentions(zip_refusal(make_zip({{"secret", "x", 0, 1}})), "secret is encrypted"));
  CHECK(mentions(zip_refusal(make_zip({{"twin", "x"}, {"twin", "y"}})), "twin is there twice"));
  CHECK(mentions(zip_refusal(with(good, central(2, 42), std::uint32_t(0))), "local header of b"));
  CHECK(mentions(zip_refusal(with(good, central(2, 42), std::uint32_t(0x7fffffff))), "local header of b"));
  CHECK(mentions(zip_refusal(with(good, central(2, 20), std::uint32_t(9))), "two different sizes"));
  std::string larger = with(good, central(2, 20), std::uint32_t(0x7ffffff0));
  CHECK(mentions(zip_refusal(with(larger, central(2, 24), std::uint32_t(0x7ffffff0))), "b leaves the data"));
  larger = with(good, central(0, 20), std::uint32_t(8));
  CHECK(mentions(zip_refusal(with(larger, central(0, 24), std::uint32_t(8))), "overlap"));
  CHECK(mentions(zip_refusal(with(good, central(2, 30), std::uint16_t(60000))), "leaves the directory"));
  CHECK(mentions(zip_refusal(with(good, end + 10, std::uint16_t(60000))), "does not fit"));
  CHECK(mentions(zip_refusal(with(good, central(1, 0), std::uint32_t(0))), "directory record"));
  CHECK(mentions(zip_refusal(with(good, end + 16, std::uint32_t(0x7fffffff))), "does not fit"));

  const std::string wide = make_zip(kItems, ZipSizes::kZip64);
  const std::size_t end64 = record(wide, 0x06064b50u), locator = record(wide, 0x07064b50u);
  CHECK(mentions(zip_refusal(with(wide, locator + 8, ~std::uint64_t(0))), "zip64 locator"));
  CHECK(mentions(zip_refusal(with(wide, locator + 8, std::uint64_t(locator - 1))), "zip64 locator"));
  CHECK(mentions(zip_refusal(with(wide, end64 + 32, ~std::uint64_t(0))), "does not fit"));
  CHECK(mentions(zip_refusal(with(wide, end64 + 48, ~std::uint64_t(0))), "does not fit"));
  const std::size_t extra = wide.find(le<std::uint16_t>(1) + le<std::uint16_t>(24));
  CHECK(mentions(zip_refusal(with(wide, extra + 2, std::uint16_t(8))), "zip64 field is too short"));
  CHECK(mentions(zip_refusal(with(wide, extra + 2, std::uint16_t(60000))), "leaves its record"));
  CHECK(mentions(zip_refusal(with(with(wide, extra + 4, ~std::uint64_t(0)), extra + 12, ~std::uint64_t(0))),
                 "leaves the data"));
}

TEST_CASE("a truncated archive is refused at every length, a damaged one never does worse") {
  for (const ZipSizes sizes : {ZipSizes::kPlain, ZipSizes::kZip64}) {
    const std::string good = make_zip(kItems, sizes);
    for (std::size_t n = 0; n < good.size(); ++n) zip_refusal(good.substr(0, n));
    mutate(good, good.size(), 5000, [&](const std::string& mutant) {
      const std::vector<char> exact(mutant.begin(), mutant.end());  // so that a read past the end is seen
      survives([&] {
        std::size_t bytes = 0;
        for (const auto& [name, data] : read_zip(std::as_bytes(std::span(exact)), "z.bin"))
          for (const std::byte b : data) bytes += std::size_t(b);
        CHECK(bytes < exact.size() * 256);
      });
    });
  }
}

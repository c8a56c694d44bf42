// Files that a test makes and damages: a folder that vanishes with it, and the few writers that tests need.
#pragma once
#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::test {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "facellava-io-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::filesystem::remove_all(path_); }

  std::string at(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(at(name), std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
    return at(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// The little-endian bytes of a number.
template <class T>
std::string le(T x) {
  std::string bytes(sizeof x, '\0');
  std::memcpy(bytes.data(), &x, sizeof x);
  return bytes;
}

// The message of the Error that `body` throws, with a check of its kind; "" (and a failure) if there is none.
template <class Body>
std::string error_of(ErrorKind kind, Body&& body) {
  try {
    body();
  } catch (const Error& e) {
    CHECK(int(e.kind()) == int(kind));
    return e.what();
  }
  FAIL_CHECK("expected an error");
  return "";
}

inline bool mentions(const std::string& text, std::string_view part) {
  if (text.find(part) != text.npos) return true;
  MESSAGE(text);
  return false;
}

// `body` may succeed or throw an Error; anything else ends the test.
template <class Body>
void survives(Body&& body) {
  try {
    body();
  } catch (const Error&) {
  }
}

// Calls body(mutant) for `rounds` seeded mutants of `bytes`: one to four bytes replaced, flipped, inserted or removed.
// Half of them fall into the first `header` bytes, where a format keeps what can be lied about.
template <class Body>
void mutate(const std::string& bytes, std::size_t header, int rounds, Body&& body) {
  std::mt19937 random(20250411);
  const auto below = [&](std::size_t n) { return std::size_t(random()) % n; };
  for (int round = 0; round < rounds; ++round) {
    std::string mutant = bytes;
    for (std::size_t i = 0, n = 1 + below(4); i < n && !mutant.empty(); ++i) {
      const std::size_t at = below(round % 2 ? mutant.size() : std::min(header, mutant.size()));
      switch (below(5)) {
        case 0: mutant[at] = char(random()); break;
        case 1: mutant[at] = char(mutant[at] ^ (1 << below(8))); break;
        case 2: mutant.insert(at, 1, char(random())); break;
        case 3: mutant.erase(at, 1); break;
        default: mutant[at] = "\xff\x7f\x80\x00"[below(4)]; break;
      }
    }
    body(mutant);
  }
}

struct ZipItem {
  std::string name, bytes;
  std::uint16_t method = 0, flags = 0;
  std::string local_extra = {};  // bytes between local name and data
};
enum class ZipSizes { kPlain, kZip64 };

// A zip archive of stored entries.
inline std::string make_zip(const std::vector<ZipItem>& items, ZipSizes sizes = ZipSizes::kPlain) {
  const bool wide = sizes == ZipSizes::kZip64;
  std::string data, directory;
  for (const auto& item : items) {
    const std::uint64_t offset = data.size(), size = item.bytes.size();
    const auto u32 = [&](std::uint64_t x) { return le(wide ? 0xffffffffu : std::uint32_t(x)); };
    const std::string extra = wide ? le<std::uint16_t>(0x7777) + le<std::uint16_t>(2) + "zz" + le<std::uint16_t>(1) +
                                         le<std::uint16_t>(24) + le(size) + le(size) + le(offset)
                                   : "";
    const std::string common = le(item.flags) + le(item.method) + le(std::uint32_t(0)) + le(std::uint32_t(0));
    data += le(0x04034b50u) + le<std::uint16_t>(20) + common + le(std::uint32_t(size)) + le(std::uint32_t(size)) +
            le(std::uint16_t(item.name.size())) + le(std::uint16_t(item.local_extra.size())) + item.name +
            item.local_extra + item.bytes;
    directory += le(0x02014b50u) + le<std::uint16_t>(20) + le<std::uint16_t>(20) + common + u32(size) + u32(size) +
                 le(std::uint16_t(item.name.size())) + le(std::uint16_t(extra.size())) + le<std::uint16_t>(0) +
                 le<std::uint16_t>(0) + le<std::uint16_t>(0) + le(std::uint32_t(0)) + u32(offset) + item.name + extra;
  }
  const std::uint64_t count = items.size(), first = data.size(), bytes = directory.size();
  std::string end;
  if (wide)
    end = le(0x06064b50u) + le(std::uint64_t(44)) + le<std::uint16_t>(45) + le<std::uint16_t>(45) +
          le(std::uint32_t(0)) + le(std::uint32_t(0)) + le(count) + le(count) + le(bytes) + le(first) +
          le(0x07064b50u) + le(std::uint32_t(0)) + le(first + bytes) + le(std::uint32_t(1));
  const auto n16 = le(wide ? std::uint16_t(0xffff) : std::uint16_t(count));
  const auto n32 = [&](std::uint64_t x) { return le(wide ? 0xffffffffu : std::uint32_t(x)); };
  return data + directory + end + le(0x06054b50u) + le(std::uint32_t(0)) + n16 + n16 + n32(bytes) + n32(first) +
         le<std::uint16_t>(0);
}

// Pieces of pickles, protocol 2.
inline std::string pickle_text(std::string_view s) { return "X" + le(std::uint32_t(s.size())) + std::string(s); }
inline std::string pickle_int(std::int64_t x) { return std::string("\x8a\x08") + le(x); }
inline std::string pickle_sizes(const std::vector<std::int64_t>& sizes) {
  std::string out = "(";
  for (const auto s : sizes) out += pickle_int(s);
  return out + "t";
}
inline std::string pickle_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string pickle_storage(const std::string& type, const std::string& key, std::int64_t count) {
  return "(" + pickle_text("storage") + pickle_global("torch", type) + pickle_text(key) + pickle_text("cpu") +
         pickle_int(count) + "tQ";
}
inline std::string pickle_tensor(const std::string& storage, std::int64_t offset,
                                 const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  return pickle_global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + pickle_int(offset) +
         pickle_sizes(shape) + pickle_sizes(strides) + "\x89" + pickle_global("collections", "OrderedDict") + ")RtR";
}
// {name: value, ...}; each item is a pickled name and a pickled value.
inline std::string pickle_dict(const std::string& items) { return "\x80\x02}(" + items + "u."; }

}  // namespace facellava::test

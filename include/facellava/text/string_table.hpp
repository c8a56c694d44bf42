// Texts by number and numbers by text: open addressing, one allocation for all bytes. Lookups allocate nothing.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace facellava::text {

class StringTable {
 public:
  // capacity: the most texts that add will be given.
  explicit StringTable(std::size_t capacity) : slots_(2 * std::bit_ceil(capacity)) { spans_.reserve(capacity); }

  int size() const { return int(spans_.size()); }
  std::string_view operator[](int id) const {
    const Span& s = spans_[std::size_t(id)];
    return {texts_.data() + s.begin, s.bytes};
  }

  // The number of a text, -1 if it is not here.
  int find(std::string_view text) const {
    const std::uint64_t h = hash(text);
    for (std::size_t at = h & mask();; at = (at + 1) & mask()) {
      const Slot& slot = slots_[at];
      if (slot.id < 0 || (slot.tag == tag(h) && (*this)[slot.id] == text)) return slot.id;
    }
  }

  // Appends a copy of a text that is not here yet; its number is the former size.
  void add(std::string_view text) {
    const std::uint64_t h = hash(text);
    std::size_t at = h & mask();
    while (slots_[at].id >= 0) at = (at + 1) & mask();
    slots_[at] = {tag(h), size()};
    spans_.push_back({std::uint32_t(texts_.size()), std::uint32_t(text.size())});
    texts_ += text;
  }

 private:
  struct Span {
    std::uint32_t begin, bytes;
  };
  struct Slot {
    std::uint32_t tag = 0;
    std::int32_t id = -1;
  };

  static std::uint64_t hash(std::string_view text) {
    constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15u;
    const auto mix = [](std::uint64_t h, std::uint64_t word) {
      h = (h ^ word) * kOdd;
      return h ^ h >> 29;
    };
    std::uint64_t h = text.size() * kOdd, word = 0;
    for (; text.size() >= 8; text.remove_prefix(8)) {
      std::memcpy(&word, text.data(), 8);
      h = mix(h, word);
    }
    word = 0;
    for (const char c : text) word = word << 8 | std::uint8_t(c);
    return mix(h, word);
  }
  static std::uint32_t tag(std::uint64_t h) { return std::uint32_t(h >> 32); }
  std::size_t mask() const { return slots_.size() - 1; }

  std::string texts_;
  std::vector<Span> spans_;
  std::vector<Slot> slots_;  // at most half full
};

}  // namespace facellava::text

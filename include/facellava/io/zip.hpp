// Reads the directory of a zip archive whose entries are stored, not compressed: what torch.save writes, zip64
// included. Entries point into the archive's bytes. Checksums are not computed: a checkpoint of many gigabytes stays
// unread until its tensors are touched. Source: PKWARE APPNOTE.TXT, sections 4.3 and 4.5.3.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::io {

using ZipEntries = std::map<std::string, std::span<const std::byte>>;

namespace detail {

class ZipReader {
 public:
  ZipReader(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  ZipEntries read() {
    find_directory();
    ZipEntries entries;
    std::size_t at = directory_;
    for (std::uint64_t i = 0; i < count_; ++i) at = read_entry(at, entries);
    check_overlap();
    return entries;
  }

 private:
  static constexpr std::size_t kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20, kCentralBytes = 46,
                               kLocalBytes = 30, kMaxComment = 65535;

  [[noreturn]] void fail(std::size_t at, const std::string& what) const {
    throw Error(ErrorKind::kFormat, file_ + ": zip, byte " + std::to_string(at) + ": " + what);
  }
  template <class T>
  T get(std::size_t at) const {
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T)) fail(at, "the file ends too early");
    T x;
    std::memcpy(&x, bytes_.data() + at, sizeof x);
    return x;
  }
  std::string_view text(std::size_t at, std::size_t n) const {
    if (at > bytes_.size() || bytes_.size() - at < n) fail(at, "the file ends too early");
    return {reinterpret_cast<const char*>(bytes_.data()) + at, n};
  }

  void find_directory() {
    if (bytes_.size() < kEndBytes) fail(0, "expected a zip archive, found " + std::to_string(bytes_.size()) + " bytes");
    std::size_t end = bytes_.size() - kEndBytes;
    const std::size_t first = end > kMaxComment ? end - kMaxComment : 0;
    while (get<std::uint32_t>(end) != 0x06054b50u || get<std::uint16_t>(end + 20) != bytes_.size() - kEndBytes - end)
      if (end-- == first) fail(first, "no end-of-directory record: this is not a zip archive, or it is truncated");
    count_ = get<std::uint16_t>(end + 10);
    std::uint64_t size = get<std::uint32_t>(end + 12), offset = get<std::uint32_t>(end + 16);
    directory_end_ = end;
    if ((count_ == 0xffffu || size == 0xffffffffu || offset == 0xffffffffu) && end >= kLocator64Bytes &&
        get<std::uint32_t>(end - kLocator64Bytes) == 0x07064b50u) {
      const auto end64 = get<std::uint64_t>(end - kLocator64Bytes + 8);
      if (end64 > end - kLocator64Bytes || end - kLocator64Bytes - end64 < kEnd64Bytes ||
          get<std::uint32_t>(end64) != 0x06064b50u)
        fail(end - kLocator64Bytes, "the zip64 locator does not point at a zip64 end-of-directory record");
      count_ = get<std::uint64_t>(end64 + 32);
      size = get<std::uint64_t>(end64 + 40);
      offset = get<std::uint64_t>(end64 + 48);
      directory_end_ = end64;
    }
    if (offset > directory_end_ || size > directory_end_ - offset || count_ > size / kCentralBytes)
      fail(end, "the directory of " + std::to_string(count_) + " entries and " + std::to_string(size) +
                    " bytes at byte " + std::to_string(offset) + " does not fit into the file");
    directory_ = std::size_t(offset);
    directory_end_ = std::size_t(offset + size);
  }

  // One record of the central directory; returns where the next one starts.
  std::size_t read_entry(std::size_t at, ZipEntries& entries) {
    if (at > directory_end_ || directory_end_ - at < kCentralBytes || get<std::uint32_t>(at) != 0x02014b50u)
      fail(at, "expected a directory record");
    const auto flags = get<std::uint16_t>(at + 8), method = get<std::uint16_t>(at + 10);
    std::uint64_t packed = get<std::uint32_t>(at + 20), size = get<std::uint32_t>(at + 24),
                  header = get<std::uint32_t>(at + 42);
    const std::size_t name_bytes = get<std::uint16_t>(at + 28), extra_bytes = get<std::uint16_t>(at + 30),
                      comment_bytes = get<std::uint16_t>(at + 32);
    const std::size_t next = at + kCentralBytes + name_bytes + extra_bytes + comment_bytes;
    if (next > directory_end_) fail(at, "a directory record leaves the directory");
    const std::string name(text(at + kCentralBytes, name_bytes));
    read_zip64(at + kCentralBytes + name_bytes, extra_bytes, size, packed, header);
    if (flags & 1u) fail(at, "the entry " + name + " is encrypted");
    if (method != 0)
      fail(at, "the entry " + name + " is compressed (method " + std::to_string(method) + "), expected a stored one");
    if (packed != size) fail(at, "the stored entry " + name + " has two different sizes");
    if (!entries.emplace(name, data_of(name, header, size)).second) fail(at, "the entry " + name + " is there twice");
    return next;
  }

  // The zip64 extra field holds those of the three numbers that are saturated, in this order.
  void read_zip64(std::size_t at, std::size_t extra_bytes, std::uint64_t& size, std::uint64_t& packed,
                  std::uint64_t& header) const {
    for (const std::size_t end = at + extra_bytes; end - at >= 4;) {
      const auto id = get<std::uint16_t>(at);
      const std::size_t field_end = at + 4 + get<std::uint16_t>(at + 2);
      if (field_end > end) fail(at, "an extra field leaves its record");
      std::size_t value = at + 4;
      for (auto* number : {&size, &packed, &header}) {
        if (id != 1 || *number != 0xffffffffu) continue;
        if (field_end - value < 8) fail(at, "the zip64 field is too short");
        *number = get<std::uint64_t>(value);
        value += 8;
      }
      at = field_end;
    }
  }

  std::span<const std::byte> data_of(const std::string& name, std::uint64_t header, std::uint64_t size) {
    if (header > directory_ || directory_ - header < kLocalBytes || get<std::uint32_t>(header) != 0x04034b50u)
      fail(std::size_t(std::min<std::uint64_t>(header, bytes_.size())), "expected the local header of " + name);
    const std::size_t name_bytes = get<std::uint16_t>(header + 26), extra_bytes = get<std::uint16_t>(header + 28);
    if (text(header + kLocalBytes, name_bytes) != name) fail(header, "expected the local header of " + name);
    const std::size_t data = std::size_t(header) + kLocalBytes + name_bytes + extra_bytes;
    if (data > directory_ || size > directory_ - data) fail(header, "the entry " + name + " leaves the data");
    ranges_.emplace_back(std::size_t(header), data + std::size_t(size));
    return bytes_.subspan(data, std::size_t(size));
  }

  void check_overlap() {
    std::sort(ranges_.begin(), ranges_.end());
    for (std::size_t i = 1; i < ranges_.size(); ++i)
      if (ranges_[i].first < ranges_[i - 1].second) fail(ranges_[i].first, "two entries overlap");
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::uint64_t count_ = 0;
  std::size_t directory_ = 0, directory_end_ = 0;
  std::vector<std::pair<std::size_t, std::size_t>> ranges_;  // of the entries, local headers included
};

}  // namespace detail

// Name -> bytes of each entry. `file` is what errors name. Errors: kFormat (not a zip archive, truncated, compressed or
// encrypted entries, entries outside the data, overlapping or twice).
inline ZipEntries read_zip(std::span<const std::byte> bytes, const std::string& file) {
  return detail::ZipReader(bytes, file).read();
}

}  // namespace facellava::io

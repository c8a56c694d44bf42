// Writes a PyTorch checkpoint (.bin) as torch.save does: a zip archive of stored entries with a pickle of protocol 2
// and one entry a storage. Source: PKWARE APPNOTE.TXT, section 4.3; Python's pickletools.
#pragma once
#include <array>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"

namespace facellava::io {

namespace detail {

inline void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8) out += char(std::uint8_t(value));
}

inline std::uint32_t crc32(std::span<const std::byte> bytes) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int k = 0; k < 8; ++k) t[i] = t[i] >> 1 ^ (t[i] & 1u ? 0xedb88320u : 0u);
    }
    return t;
  }();
  std::uint32_t c = ~0u;
  for (const std::byte b : bytes) c = kTable[(c ^ std::uint32_t(b)) & 255u] ^ c >> 8;
  return ~c;
}

// A zip archive as parts that stand one behind another.
class ZipWriter {
 public:
  void add(const std::string& name, std::span<const std::byte> bytes) {
    const std::uint64_t at = size_;
    std::string common;
    for (int value : {20, 0, 0, 0, 0x21}) put(common, std::uint64_t(value), 2);  // version, flags, stored, 1980-01-01
    put(common, crc32(bytes), 4);
    put(common, bytes.size(), 4);
    put(common, bytes.size(), 4);
    put(common, name.size(), 2);
    std::string local;
    put(local, 0x04034b50u, 4);
    local += common;
    put(local, 0, 2);
    append(local + name);
    parts_.push_back(bytes);
    size_ += bytes.size();
    put(directory_, 0x02014b50u, 4);
    put(directory_, 20, 2);
    directory_ += common;
    put(directory_, 0, 2 + 2 + 2 + 2 + 4);
    put(directory_, at, 4);
    directory_ += name;
    ++entries_;
  }
  // Error kCapacity where the plain format ends.
  std::vector<std::span<const std::byte>> finish(const std::string& path) {
    check_at_most(0xfffffffeu, size_ + directory_.size(), path + ": bytes of an archive");
    check_at_most(0xfffe, entries_, path + ": entries of an archive");
    std::string end;
    put(end, 0x06054b50u, 4);
    put(end, 0, 4);
    put(end, entries_, 2);
    put(end, entries_, 2);
    put(end, directory_.size(), 4);
    put(end, size_, 4);
    put(end, 0, 2);
    append(directory_ + end);
    return parts_;
  }

 private:
  void append(const std::string& text) {
    const std::string& kept = texts_.emplace_back(text);
    parts_.push_back(std::as_bytes(std::span(kept)));
    size_ += kept.size();
  }
  std::list<std::string> texts_;
  std::vector<std::span<const std::byte>> parts_;
  std::string directory_;
  std::uint64_t size_ = 0, entries_ = 0;
};

// Opcodes of pickle protocol 2.
class PickleWriter {
 public:
  std::string out = "\x80\x02";
  void global(const char* module, const char* name) {
    out.append("c").append(module).append("\n").append(name) += '\n';
  }
  void text(std::string_view s) {
    out += 'X';
    put(out, s.size(), 4);
    out += s;
  }
  void number(Index n) {
    out += 'J';
    put(out, std::uint64_t(n), 4);
  }
  void numbers(std::span<const Index> all) {
    out += '(';
    for (const Index n : all) number(n);
    out += 't';
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    out += ")R";
  }
};

inline const char* torch_storage(DType t, const std::string& where) {
  if (t == DType::kF32) return "FloatStorage";
  if (t == DType::kF16) return "HalfStorage";
  if (t == DType::kBf16) return "BFloat16Storage";
  throw Error(ErrorKind::kArgument, where + ": expected f32, f16 or bf16, found " + dtype_name(t));
}

inline void put_tensor(PickleWriter& p, const NamedTensor& t, std::size_t key, const std::string& path) {
  std::vector<Index> strides(t.shape.size(), 1);
  for (std::size_t d = t.shape.size(); d-- > 1;) strides[d - 1] = strides[d] * t.shape[d];
  const Index count = t.shape.empty() ? 1 : strides[0] * t.shape[0];
  check_equal(*checked_bytes(t.dtype, t.shape), t.bytes.size(), path + ", tensor \"" + t.name + "\": bytes",
              ErrorKind::kArgument);
  p.text(t.name);
  p.global("torch._utils", "_rebuild_tensor_v2");
  p.out += "((";
  p.text("storage");
  p.global("torch", torch_storage(t.dtype, path + ", tensor \"" + t.name + "\""));
  p.text(std::to_string(key));
  p.text("cpu");
  p.number(count);
  p.out += "tQ";
  p.number(0);
  p.numbers(t.shape);
  p.numbers(strides);
  p.out += '\x89';
  p.empty_ordered_dict();
  p.out += "tR";
}

}  // namespace detail

// Atomically. Errors: kArgument (a type that torch lacks, bytes that are not the shape's), kCapacity (4 GiB), kFile.
inline void write_torch_bin(const std::string& path, std::span<const NamedTensor> tensors) {
  detail::PickleWriter p;
  p.empty_ordered_dict();
  p.out += '(';
  for (std::size_t i = 0; i < tensors.size(); ++i) detail::put_tensor(p, tensors[i], i, path);
  p.out += "u.";
  const std::string version = "3\n", order = "little";
  detail::ZipWriter zip;
  zip.add("archive/data.pkl", std::as_bytes(std::span(p.out)));
  zip.add("archive/byteorder", std::as_bytes(std::span(order)));
  for (std::size_t i = 0; i < tensors.size(); ++i) zip.add("archive/data/" + std::to_string(i), tensors[i].bytes);
  zip.add("archive/version", std::as_bytes(std::span(version)));
  write_file_atomically(path, zip.finish(path));
}

}  // namespace facellava::io

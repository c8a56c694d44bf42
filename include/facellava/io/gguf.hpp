// Reads GGUF, versions 2 and 3, little-endian: a header of counts, metadata (key, type, value), a list of tensors, and
// their data, aligned. Tensors and metadata point into the file; everything is checked before anything is handed out.
// The file gives the sizes of a tensor innermost first; shapes here are outermost first, as everywhere.
// Source: docs/gguf.md of the ggml repository.
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "facellava/io/mapped_file.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

inline constexpr std::uint64_t kMaxGgufEntries = 1 << 20;  // of metadata and of tensors, each
inline constexpr std::uint64_t kMaxGgufName = 65535;       // bytes of a key or of a tensor's name
inline constexpr int kMaxGgufDepth = 4;                    // of arrays in arrays

namespace detail {

// Names of ggml's tensor types, by number; null: removed from the format.
inline constexpr const char* kGgmlTypes[] = {
    "F32",    "F16",   "Q4_0",  "Q4_1",   nullptr, nullptr, "Q5_0",    "Q5_1",   "Q8_0",    "Q8_1",
    "Q2_K",   "Q3_K",  "Q4_K",  "Q5_K",   "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
    "BF16",   nullptr, nullptr, nullptr,  "TQ1_0", "TQ2_0", nullptr,   nullptr,  nullptr,   "MXFP4"};

constexpr std::optional<DType> dtype_of_ggml(std::uint32_t type) {
  switch (type) {
    case 0: return DType::kF32;
    case 1: return DType::kF16;
    case 2: return DType::kQ4;
    case 3: return DType::kQ4Offset;
    case 8: return DType::kQ8;
    case 30: return DType::kBf16;
    default: return std::nullopt;
  }
}

// Bytes of a value, 0 for strings and arrays, whose size is in the file.
constexpr std::size_t gguf_size(GgufType t) {
  constexpr std::size_t kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return kSizes[std::size_t(t)];
}
constexpr const char* gguf_type_name(GgufType t) {
  constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                    "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[std::size_t(t)];
}

}  // namespace detail

// Whether the path is meant as a GGUF file: its name ends so, and it is no folder.
inline bool is_gguf(const std::string& path) {
  std::error_code none;
  return path.ends_with(".gguf") && !std::filesystem::is_directory(path, none);
}

class Gguf {
 public:
  // Errors: as MappedFile; kFormat (anything that breaks the format, a tensor type that cannot be run), naming the file
  // and the byte or tensor.
  explicit Gguf(const std::string& path, Load load = Load::kMap) : file_(path, load) {
    if (text(4) != "GGUF") fail("expected the letters GGUF", 0);
    const auto version = number<std::uint32_t>();
    if (version != 2 && version != 3)
      fail("expected version 2 or 3, found " + std::to_string(version) +
               ((version & 0xffffu) == 0 && version != 0 ? " (a big-endian file?)" : ""),
           4);
    const auto tensors = number<std::uint64_t>(), entries = number<std::uint64_t>();
    check_at_most(kMaxGgufEntries, tensors, path + ": tensors", ErrorKind::kFormat);
    check_at_most(kMaxGgufEntries, entries, path + ": entries of metadata", ErrorKind::kFormat);
    for (std::uint64_t i = 0; i < entries; ++i) read_entry();
    read_tensors(tensors);
  }

  const std::string& path() const { return file_.path(); }
  const TensorMap& tensors() const { return tensors_; }
  bool contains(std::string_view key) const { return metadata_.contains(key); }

  // The value of a key, or nothing. T: bool, an integer or floating-point type (any number of the file that fits),
  // std::string_view, or a vector of one of these. Errors: kFormat (another type, out of range), naming the key.
  template <class T>
  std::optional<T> optional(std::string_view key) const {
    const auto it = metadata_.find(key);
    if (it == metadata_.end()) return std::nullopt;
    std::size_t at = it->second.at;
    return get<T>(it->second.type, at, key);
  }
  // The same, where the key must be there.
  template <class T>
  T require(std::string_view key) const {
    auto value = optional<T>(key);
    if (!value) throw Error(ErrorKind::kFormat, path() + ": the key \"" + std::string(key) + "\" is missing");
    return std::move(*value);
  }

 private:
  struct Value {
    GgufType type;
    std::size_t at;  // of its bytes in the file
  };
  template <class T>
  struct Element {};
  template <class T>
  struct Element<std::vector<T>> {
    using type = T;
  };

  [[noreturn]] void fail(const std::string& what, std::size_t at) const {
    throw Error(ErrorKind::kFormat, path() + ", byte " + std::to_string(at) + ": " + what);
  }

  // Reading goes forward through at_ while the file is opened; later reads are of values that have been checked.
  std::string_view take(std::size_t& at, std::uint64_t bytes) const {
    const std::string_view all(reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size());
    if (bytes > all.size() - at)
      fail("expected " + std::to_string(bytes) + " more bytes, found " + std::to_string(all.size() - at), at);
    at += std::size_t(bytes);
    return all.substr(at - std::size_t(bytes), std::size_t(bytes));
  }
  template <class T>
  T take_number(std::size_t& at) const {
    T x;
    std::memcpy(&x, take(at, sizeof x).data(), sizeof x);
    return x;
  }
  std::string_view take_string(std::size_t& at) const {
    const auto bytes = take_number<std::uint64_t>(at);
    return take(at, bytes);
  }
  GgufType take_type(std::size_t& at) const {
    const auto type = take_number<std::uint32_t>(at);
    if (type > std::uint32_t(GgufType::kF64))
      fail("expected a type of metadata up to 12, found " + std::to_string(type), at - 4);
    return GgufType(type);
  }
  std::string_view text(std::uint64_t bytes) { return take(at_, bytes); }
  template <class T>
  T number() {
    return take_number<T>(at_);
  }
  std::string name(const char* of) {
    const std::size_t at = at_;
    const auto bytes = number<std::uint64_t>();
    if (bytes == 0 || bytes > kMaxGgufName)
      fail(std::string("expected ") + of + " of 1 to 65535 bytes, found " + std::to_string(bytes), at);
    return std::string(text(bytes));
  }

  // Goes over a value. Every element takes at least a byte of the file, which bounds the work.
  void skip(GgufType type, int depth) {
    if (type == GgufType::kString) {
      take_string(at_);
    } else if (type != GgufType::kArray) {
      text(detail::gguf_size(type));
    } else {
      if (depth == kMaxGgufDepth) fail("arrays are nested more than " + std::to_string(kMaxGgufDepth) + " deep", at_);
      const GgufType element = take_type(at_);
      const auto count = number<std::uint64_t>();
      const std::size_t left = file_.bytes().size() - at_;
      if (count > left)
        fail("an array claims " + std::to_string(count) + " elements, " + std::to_string(left) + " bytes are left",
             at_ - 8);
      if (const std::size_t size = detail::gguf_size(element)) {
        if (count > left / size)
          fail("an array claims " + std::to_string(count) + " elements, " + std::to_string(left) + " bytes are left",
               at_ - 8);
        at_ += std::size_t(count) * size;
      } else {
        for (std::uint64_t i = 0; i < count; ++i) skip(element, depth + 1);
      }
    }
  }

  void read_entry() {
    const std::size_t at = at_;
    const std::string key = name("a key");
    const GgufType type = take_type(at_);
    if (!metadata_.emplace(key, Value{type, at_}).second) fail("the key \"" + key + "\" is given twice", at);
    skip(type, 0);
  }

  void read_tensors(std::uint64_t count) {
    std::vector<std::pair<std::string, std::uint64_t>> offsets;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t at = at_;
      const std::string tensor = name("a tensor's name");
      const TensorEntry entry = read_info(path() + ", tensor \"" + tensor + "\"");
      offsets.emplace_back(tensor, number<std::uint64_t>());
      if (!tensors_.emplace(tensor, entry).second) fail("the tensor \"" + tensor + "\" is given twice", at);
    }
    const auto alignment = optional<std::uint32_t>("general.alignment").value_or(32);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
      throw Error(ErrorKind::kFormat,
                  path() + ": \"general.alignment\": expected a power of two, found " + std::to_string(alignment));
    const std::size_t first = std::min(file_.bytes().size(), (at_ + alignment - 1) / alignment * alignment);
    const auto data = file_.bytes().subspan(first);
    for (const auto& [tensor, offset] : offsets) place(tensor, offset, alignment, data);
    check_overlap();
  }

  // Type and shape; the bytes are not known yet.
  TensorEntry read_info(const std::string& where) {
    const auto rank = number<std::uint32_t>();
    if (rank < 1 || rank > 4)
      throw Error(ErrorKind::kFormat, where + ": expected 1 to 4 dimensions, found " + std::to_string(rank));
    TensorEntry entry;
    for (std::uint32_t d = 0; d < rank; ++d) {
      const auto size = number<std::uint64_t>();
      if (!std::in_range<Index>(size))
        throw Error(ErrorKind::kFormat, where + ": the size " + std::to_string(size) + " is too large");
      entry.shape.insert(entry.shape.begin(), Index(size));
    }
    const auto type = number<std::uint32_t>();
    const auto dtype = detail::dtype_of_ggml(type);
    if (!dtype) {
      const char* known = type < std::size(detail::kGgmlTypes) ? detail::kGgmlTypes[type] : nullptr;
      throw Error(ErrorKind::kFormat, where + ": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found " +
                                          (known ? known : "the unknown type " + std::to_string(type)));
    }
    entry.dtype = *dtype;
    if (is_block_type(*dtype) && entry.shape.back() % 32 != 0)
      throw Error(ErrorKind::kFormat,
                  where + ": expected rows of whole blocks of 32, found " + std::to_string(entry.shape.back()));
    if (!checked_bytes(*dtype, entry.shape))
      throw Error(ErrorKind::kFormat, where + ": the shape " + shape_text(entry.shape) + " is too large");
    return entry;
  }

  void place(const std::string& tensor, std::uint64_t offset, std::uint64_t alignment,
             std::span<const std::byte> data) {
    TensorEntry& entry = tensors_.at(tensor);
    const std::string where = path() + ", tensor \"" + tensor + "\"";
    const auto bytes = std::uint64_t(*checked_bytes(entry.dtype, entry.shape));
    if (offset % alignment != 0)
      throw Error(ErrorKind::kFormat, where + ": expected an offset aligned to " + std::to_string(alignment) +
                                          ", found " + std::to_string(offset));
    if (offset > data.size() || bytes > data.size() - offset)
      throw Error(ErrorKind::kFormat, where + ": expected " + std::to_string(bytes) + " bytes at offset " +
                                          std::to_string(offset) + " of the data, which has " +
                                          std::to_string(data.size()));
    entry.bytes = data.subspan(std::size_t(offset), std::size_t(bytes));
  }

  void check_overlap() const {
    std::vector<std::pair<const std::byte*, const TensorMap::value_type*>> order;
    for (const auto& tensor : tensors_)
      if (!tensor.second.bytes.empty()) order.emplace_back(tensor.second.bytes.data(), &tensor);
    std::sort(order.begin(), order.end());
    for (std::size_t i = 1; i < order.size(); ++i) {
      const auto& before = *order[i - 1].second;
      if (before.second.bytes.data() + before.second.bytes.size() > order[i].first)
        throw Error(ErrorKind::kFormat,
                    path() + ": the tensors \"" + before.first + "\" and \"" + order[i].second->first + "\" overlap");
    }
  }

  [[noreturn]] void refuse(std::string_view key, const std::string& expected, const std::string& found) const {
    throw Error(ErrorKind::kFormat,
                path() + ": \"" + std::string(key) + "\": expected " + expected + ", found " + found);
  }

  // The value of the given type at `at`, which goes behind it.
  template <class T>
  T get(GgufType type, std::size_t& at, std::string_view key) const {
    if constexpr (std::same_as<T, std::string_view>) {
      if (type != GgufType::kString) refuse(key, "a string", detail::gguf_type_name(type));
      return take_string(at);
    } else if constexpr (std::same_as<T, bool>) {
      if (type != GgufType::kBool) refuse(key, "a bool", detail::gguf_type_name(type));
      return take_number<std::uint8_t>(at) != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      return get_number<T>(type, at, key);
    } else {
      using E = typename Element<T>::type;
      if (type != GgufType::kArray) refuse(key, "an array", detail::gguf_type_name(type));
      const GgufType element = take_type(at);
      const auto count = take_number<std::uint64_t>(at);
      T out;
      for (std::uint64_t i = 0; i < count; ++i) out.push_back(get<E>(element, at, key));
      return out;
    }
  }
  template <class T>
  T get_number(GgufType type, std::size_t& at, std::string_view key) const {
    const auto fitting = [&]<class F>(F x) {
      if constexpr (std::integral<F> && std::integral<T>) {
        if (!std::in_range<T>(x)) refuse(key, "a number that fits", std::to_string(x));
      } else if constexpr (std::integral<T>) {
        refuse(key, "an integer", std::to_string(x));
      } else if constexpr (std::floating_point<F>) {
        if (!(std::abs(double(x)) <= double(std::numeric_limits<T>::max())))
          refuse(key, "a number that fits", std::to_string(x));
      }
      return T(x);
    };
    switch (type) {
      case GgufType::kU8: return fitting(take_number<std::uint8_t>(at));
      case GgufType::kI8: return fitting(take_number<std::int8_t>(at));
      case GgufType::kU16: return fitting(take_number<std::uint16_t>(at));
      case GgufType::kI16: return fitting(take_number<std::int16_t>(at));
      case GgufType::kU32: return fitting(take_number<std::uint32_t>(at));
      case GgufType::kI32: return fitting(take_number<std::int32_t>(at));
      case GgufType::kU64: return fitting(take_number<std::uint64_t>(at));
      case GgufType::kI64: return fitting(take_number<std::int64_t>(at));
      case GgufType::kF32: return fitting(take_number<float>(at));
      case GgufType::kF64: return fitting(take_number<double>(at));
      default: refuse(key, "a number", detail::gguf_type_name(type));
    }
  }

  MappedFile file_;
  std::size_t at_ = 0;  // how far opening has read
  std::map<std::string, Value, std::less<>> metadata_;
  TensorMap tensors_;
};

}  // namespace facellava::io

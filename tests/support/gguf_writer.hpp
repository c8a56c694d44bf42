// Writes GGUF files for tests, sound or broken.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "facellava/core/format.hpp"
#include "facellava/io/gguf.hpp"

namespace facellava::test {

namespace gguf {

template <class T>
std::string raw(T x) {
  std::string bytes(sizeof x, '\0');
  std::memcpy(bytes.data(), &x, sizeof x);
  return bytes;
}
inline std::string text(std::string_view s) { return raw(std::uint64_t(s.size())) + std::string(s); }

template <class T>
constexpr io::GgufType type_of() {
  using enum io::GgufType;
  if constexpr (std::is_same_v<T, bool>) return kBool;
  if constexpr (std::is_same_v<T, float>) return kF32;
  if constexpr (std::is_same_v<T, double>) return kF64;
  if constexpr (std::is_convertible_v<T, std::string_view>) return kString;
  if constexpr (std::is_integral_v<T>) {
    constexpr io::GgufType kUnsigned[] = {kU8, kU16, kU32, kU64}, kSigned[] = {kI8, kI16, kI32, kI64};
    constexpr int log = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
    return std::is_signed_v<T> ? kSigned[log] : kUnsigned[log];
  }
}
template <class T>
std::string value(const T& x) {
  if constexpr (std::is_convertible_v<T, std::string_view>)
    return text(x);
  else
    return raw(x);
}
template <class T>
std::string array(const std::vector<T>& x) {
  std::string out = raw(std::uint32_t(type_of<T>())) + raw(std::uint64_t(x.size()));
  for (const T& v : x) out += value(v);
  return out;
}

}  // namespace gguf

class GgufWriter {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

  template <class T>
  GgufWriter& add(std::string_view key, const T& x) {
    return add_raw(key, gguf::type_of<T>(), gguf::value(x));
  }
  template <class T>
  GgufWriter& add(std::string_view key, const std::vector<T>& x) {
    return add_raw(key, io::GgufType::kArray, gguf::array(x));
  }
  GgufWriter& add_raw(std::string_view key, io::GgufType type, const std::string& bytes) {
    metadata_ += gguf::text(key) + gguf::raw(std::uint32_t(type)) + bytes;
    ++entries_;
    return *this;
  }
  // shape: outermost first, as in the library. type: ggml's number.
  GgufWriter& tensor(std::string_view name, std::uint32_t type, const std::vector<std::uint64_t>& shape,
                     std::string_view bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    info(name, type, shape, data_.size());
    data_ += bytes;
    return *this;
  }
  GgufWriter& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, const float* values) {
    std::size_t n = 4;
    for (const auto size : shape) n *= size;
    return tensor(name, 0, shape, {reinterpret_cast<const char*>(values), n});
  }
  // The description alone.
  GgufWriter& info(std::string_view name, std::uint32_t type, const std::vector<std::uint64_t>& shape,
                   std::uint64_t offset) {
    infos_ += gguf::text(name) + gguf::raw(std::uint32_t(shape.size()));
    for (auto size = shape.rbegin(); size != shape.rend(); ++size) infos_ += gguf::raw(*size);
    infos_ += gguf::raw(type) + gguf::raw(offset);
    ++tensors_;
    return *this;
  }

  std::string bytes() const {
    std::string out = "GGUF" + gguf::raw(version) + gguf::raw(tensors_) + gguf::raw(entries_) + metadata_ + infos_;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  std::uint64_t entries_ = 0, tensors_ = 0;
  std::string metadata_, infos_, data_;
};

}  // namespace facellava::test

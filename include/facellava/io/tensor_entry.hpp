// A tensor as it lies in a file: element type, shape, and little-endian row-major bytes that need not be aligned.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "facellava/core/element.hpp"
#include "facellava/core/error.hpp"
#include "facellava/core/view.hpp"

namespace facellava::io {

static_assert(std::endian::native == std::endian::little,
              "files hold little-endian numbers, which are read as they lie");

enum class DType { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool };

constexpr const char* dtype_name(DType t) {
  constexpr const char* kNames[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool"};
  return kNames[int(t)];
}

// Bytes of one element.
constexpr Index dtype_size(DType t) {
  constexpr Index kSizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
  return kSizes[int(t)];
}

// The product of the sizes (1 for none), or nothing where a size is negative or the product overflows.
inline std::optional<Index> checked_count(std::span<const Index> shape) {
  Index n = 1;
  for (const Index size : shape) {
    if (size < 0 || (size > 0 && n > std::numeric_limits<Index>::max() / size)) return std::nullopt;
    n *= size;
  }
  return n;
}

// Bytes of a tensor, or nothing where a size is negative or the product overflows.
inline std::optional<Index> checked_bytes(DType t, std::span<const Index> shape) {
  const auto n = checked_count(shape);
  if (!n || *n > std::numeric_limits<Index>::max() / dtype_size(t)) return std::nullopt;
  return *n * dtype_size(t);
}

// "[2, 3]"
inline std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

struct TensorEntry {
  DType dtype = DType::kF32;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;  // count() * dtype_size(dtype) of them

  Index count() const { return Index(bytes.size()) / dtype_size(dtype); }
};

using TensorMap = std::map<std::string, TensorEntry>;

namespace detail {

template <class T, class Out>
void append_converted(std::span<const std::byte> bytes, std::vector<Out>& out) {
  out.reserve(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T x;
    std::memcpy(&x, bytes.data() + i, sizeof x);
    if constexpr (std::is_arithmetic_v<T>)
      out.push_back(Out(x));
    else
      out.push_back(Out(to_float(x)));
  }
}

}  // namespace detail

// All values, row-major, rounded to fp32.
inline std::vector<float> to_floats(const TensorEntry& t) {
  std::vector<float> out;
  switch (t.dtype) {
    case DType::kF64: detail::append_converted<double>(t.bytes, out); break;
    case DType::kF32: detail::append_converted<float>(t.bytes, out); break;
    case DType::kF16: detail::append_converted<f16>(t.bytes, out); break;
    case DType::kBf16: detail::append_converted<bf16>(t.bytes, out); break;
    case DType::kI64: detail::append_converted<std::int64_t>(t.bytes, out); break;
    case DType::kI32: detail::append_converted<std::int32_t>(t.bytes, out); break;
    case DType::kI16: detail::append_converted<std::int16_t>(t.bytes, out); break;
    case DType::kI8: detail::append_converted<std::int8_t>(t.bytes, out); break;
    case DType::kU8:
    case DType::kBool: detail::append_converted<std::uint8_t>(t.bytes, out); break;
  }
  return out;
}

// All values of an integer or boolean tensor, row-major. Errors: kArgument (the elements are floating-point).
inline std::vector<std::int64_t> to_integers(const TensorEntry& t) {
  std::vector<std::int64_t> out;
  switch (t.dtype) {
    case DType::kI64: detail::append_converted<std::int64_t>(t.bytes, out); break;
    case DType::kI32: detail::append_converted<std::int32_t>(t.bytes, out); break;
    case DType::kI16: detail::append_converted<std::int16_t>(t.bytes, out); break;
    case DType::kI8: detail::append_converted<std::int8_t>(t.bytes, out); break;
    case DType::kU8:
    case DType::kBool: detail::append_converted<std::uint8_t>(t.bytes, out); break;
    default:
      throw Error(ErrorKind::kArgument,
                  std::string("expected a tensor of integers, found one of ") + dtype_name(t.dtype));
  }
  return out;
}

// The tensor `name` of `tensors`. Errors: kFormat, naming the tensor and the file.
inline const TensorEntry& find_tensor(const TensorMap& tensors, const std::string& name, const std::string& file) {
  const auto found = tensors.find(name);
  if (found == tensors.end())
    throw Error(ErrorKind::kFormat, file + ": expected a tensor named \"" + name + "\", found none among " +
                                        std::to_string(tensors.size()));
  return found->second;
}

}  // namespace facellava::io

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

#include "facellava/core/error.hpp"
#include "facellava/core/format.hpp"

namespace facellava::io {

static_assert(std::endian::native == std::endian::little,
              "files hold little-endian numbers, which are read as they lie");

// The last four are the block formats of core/format.hpp.
enum class DType { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool, kQ8, kQ4, kQ4Offset, kNf4 };

constexpr const char* dtype_name(DType t) {
  constexpr const char* kNames[] = {"f64", "f32", "f16",  "bf16", "i64", "i32",  "i16",
                                    "i8",  "u8",  "bool", "q8",   "q4",  "q4_1", "nf4"};
  return kNames[int(t)];
}
// The format of a matrix of these elements, if it can be one.
constexpr std::optional<Format> format_of(DType t) {
  switch (t) {
    case DType::kF32: return Format::kF32;
    case DType::kF16: return Format::kF16;
    case DType::kBf16: return Format::kBf16;
    case DType::kQ8: return Format::kQ8;
    case DType::kQ4: return Format::kQ4;
    case DType::kQ4Offset: return Format::kQ4Offset;
    case DType::kNf4: return Format::kNf4;
    default: return std::nullopt;
  }
}
constexpr DType dtype_of(Format f) {
  constexpr DType kTypes[] = {DType::kF32, DType::kF16,      DType::kBf16, DType::kQ8,
                              DType::kQ4,  DType::kQ4Offset, DType::kNf4};
  return kTypes[int(f)];
}
constexpr bool is_block_type(DType t) { return t >= DType::kQ8; }

// Bytes of one element; 1 for the block types, whose bytes need no alignment.
constexpr Index dtype_size(DType t) {
  constexpr Index kSizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1};
  return kSizes[int(t)];
}

// An nf4 tensor's bytes: nibbles [n / 2], absmax u8 [blocks of 64], padding to 4, nested f32 [blocks / 256], offset
// f32.
struct Nf4Layout {
  Index blocks, absmax, nested, offset, bytes;  // the middle three: where each begins

  explicit constexpr Nf4Layout(Index n)
      : blocks((n + kNf4Block - 1) / kNf4Block),
        absmax((n + 1) / 2),
        nested((absmax + blocks + 3) / 4 * 4),
        offset(nested + (blocks + kNf4Nested - 1) / kNf4Nested * 4),
        bytes(offset + 4) {}
};

// The product of the sizes (1 for none), or nothing where a size is negative or the product overflows.
inline std::optional<Index> checked_count(std::span<const Index> shape) {
  Index n = 1;
  for (const Index size : shape) {
    if (size < 0 || (size > 0 && n > std::numeric_limits<Index>::max() / size)) return std::nullopt;
    n *= size;
  }
  return n;
}

// Bytes of a tensor, or nothing where a size is negative or the product overflows. Rows of the block types, all
// dimensions but the first together, are padded to whole blocks.
inline std::optional<Index> checked_bytes(DType t, std::span<const Index> shape) {
  const auto n = checked_count(shape);
  if (!n || *n > std::numeric_limits<Index>::max() / dtype_size(t)) return std::nullopt;
  if (is_block_type(t) && *n > std::numeric_limits<Index>::max() / 64) return std::nullopt;
  if (t == DType::kNf4) return Nf4Layout(*n).bytes;
  if (!is_block_type(t) || *n == 0) return *n * dtype_size(t);
  const Index rows = shape.empty() ? 1 : shape[0], blocks = (*n / rows + 31) / 32;
  if (blocks > std::numeric_limits<Index>::max() / 64 / rows) return std::nullopt;
  return rows * row_bytes(*format_of(t), *n / rows);
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
  std::span<const std::byte> bytes;  // checked_bytes(dtype, shape) of them

  Index count() const { return checked_count(shape).value_or(0); }
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

// The scales within the bytes of an nf4 tensor, copied where they are misaligned.
struct Nf4Parts {
  Nf4Scales scales;
  std::vector<float> nested;

  explicit Nf4Parts(const TensorEntry& t) {
    const Nf4Layout at(t.count());
    const std::byte* p = t.bytes.data();
    nested.resize(std::size_t(at.offset - at.nested) / 4);
    std::memcpy(nested.data(), p + at.nested, nested.size() * 4);
    scales = {p, reinterpret_cast<const std::uint8_t*>(p + at.absmax), nested.data(),
              facellava::blocks::load<float>(p + at.offset)};
  }
};

inline std::vector<float> decode_blocks(const TensorEntry& t) {
  const Format f = *format_of(t.dtype);
  const Index n = t.count(), columns = t.shape.empty() || t.shape[0] == 0 ? n : n / t.shape[0];
  std::vector<float> out;
  out.reserve(std::size_t(n));
  if (f == Format::kNf4) {
    const Nf4Parts parts(t);
    for (Index i = 0; i < n; ++i) out.push_back(decode(f, t.bytes.data(), i, &parts.scales));
    return out;
  }
  for (Index i = 0; i < n; ++i)
    out.push_back(decode(f, t.bytes.data() + i / columns * row_bytes(f, columns), i % columns));
  return out;
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
    case DType::kQ8:
    case DType::kQ4:
    case DType::kQ4Offset:
    case DType::kNf4: return detail::decode_blocks(t);
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

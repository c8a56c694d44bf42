// NumPy's .npy: magic, version, a Python dict literal {'descr': '<f4', 'fortran_order': False, 'shape': (68, 2)}, data.
// Read as data, never evaluated. Source: numpy.lib.format.
#pragma once
#include <charconv>
#include <string_view>

#include "facellava/io/atomic_file.hpp"
#include "facellava/io/mapped_file.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

struct Npy {
  std::vector<Index> shape;
  std::vector<double> values;  // row-major
};

namespace detail {

// What stands behind 'key': in the header's dict.
inline std::string_view npy_member(std::string_view header, std::string_view key, const std::string& path) {
  const std::string quoted = "'" + std::string(key) + "':";
  const auto at = header.find(quoted);
  if (at == header.npos) throw Error(ErrorKind::kFormat, path + ": the header has no " + quoted);
  auto rest = header.substr(at + quoted.size());
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return rest;
}

inline std::vector<Index> npy_shape(std::string_view text, const std::string& path) {
  const auto fail = [&] { throw Error(ErrorKind::kFormat, path + ": the header's shape is no tuple of sizes"); };
  std::vector<Index> shape;
  if (!text.starts_with('(')) fail();
  text.remove_prefix(1);
  while (!text.starts_with(')')) {
    Index size = -1;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (status != std::errc() || size < 0 || shape.size() >= 32) fail();
    shape.push_back(size);
    text.remove_prefix(std::size_t(end - text.data()));
    while (text.starts_with(' ') || text.starts_with(',')) text.remove_prefix(1);
    if (text.empty()) fail();
  }
  return shape;
}

inline DType npy_type(std::string_view descr, const std::string& path) {
  struct Known {
    std::string_view name;
    DType type;
  };
  constexpr Known known[] = {{"'<f4'", DType::kF32}, {"'<f8'", DType::kF64}, {"'<f2'", DType::kF16},
                             {"'<i8'", DType::kI64}, {"'<i4'", DType::kI32}, {"'<i2'", DType::kI16},
                             {"'|i1'", DType::kI8},  {"'|u1'", DType::kU8},  {"'|b1'", DType::kBool}};
  for (const Known& k : known)
    if (descr.starts_with(k.name)) return k.type;
  if (descr.starts_with("'|O'"))
    throw Error(ErrorKind::kFormat, path + ": holds pickled Python objects, which are not read");
  throw Error(ErrorKind::kFormat, path + ": the element type " + std::string(descr.substr(0, descr.find(','))) +
                                      " is not supported (little-endian f2, f4, f8, i2, i4, i8, i1, u1, b1)");
}

// Values that lie with the first dimension contiguous, in row-major order.
inline std::vector<double> row_major(const std::vector<double>& fortran, const std::vector<Index>& shape) {
  std::vector<double> out;
  out.reserve(fortran.size());
  std::vector<Index> at(shape.size());
  for (std::size_t i = 0; i < fortran.size(); ++i) {
    Index from = 0;
    for (std::size_t d = shape.size(); d-- > 0;) from = from * shape[d] + at[d];
    out.push_back(fortran[std::size_t(from)]);
    for (std::size_t d = shape.size(); d-- > 0 && ++at[d] == shape[d];) at[d] = 0;
  }
  return out;
}

}  // namespace detail

// Errors: as MappedFile; kFormat (not npy, objects, truncated), naming the file.
inline Npy read_npy(const std::string& path, std::size_t max_bytes = std::numeric_limits<std::ptrdiff_t>::max()) {
  const MappedFile file(path, Load::kMap, max_bytes);
  auto bytes = file.bytes();
  const auto fail = [&](const std::string& what) { throw Error(ErrorKind::kFormat, path + ": " + what); };
  if (bytes.size() < 10 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0)
    fail("is no .npy file (its first bytes are not \\x93NUMPY)");
  const int version = int(bytes[6]);
  if (version < 1 || version > 3) fail("expected version 1 to 3 of the format, found " + std::to_string(version));
  std::size_t size = std::size_t(bytes[8]) | std::size_t(bytes[9]) << 8, start = 10;
  if (version > 1) {
    if (bytes.size() < 12) fail("ends inside its header");
    size |= std::size_t(bytes[10]) << 16 | std::size_t(bytes[11]) << 24;
    start = 12;
  }
  if (size > bytes.size() - start)
    fail("its header claims " + std::to_string(size) + " bytes, the file has " + std::to_string(bytes.size() - start));
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + start, size);
  const std::string_view order = detail::npy_member(header, "fortran_order", path);
  if (!order.starts_with("False") && !order.starts_with("True")) fail("expected an order of True or False");
  TensorEntry t;
  t.dtype = detail::npy_type(detail::npy_member(header, "descr", path), path);
  t.shape = detail::npy_shape(detail::npy_member(header, "shape", path), path);
  const auto wanted = checked_bytes(t.dtype, t.shape);
  t.bytes = bytes.subspan(start + size);
  if (!wanted || std::cmp_not_equal(*wanted, t.bytes.size()))
    fail("the shape " + shape_text(t.shape) + " does not fit the " + std::to_string(t.bytes.size()) + " bytes of data");
  Npy out{t.shape, {}};
  switch (t.dtype) {
    case DType::kF64: detail::append_converted<double>(t.bytes, out.values); break;
    case DType::kF32:
    case DType::kF16: {
      const auto values = to_floats(t);
      out.values.assign(values.begin(), values.end());
      break;
    }
    default: {
      const auto values = to_integers(t);
      out.values.assign(values.begin(), values.end());
    }
  }
  if (order.starts_with("True")) out.values = detail::row_major(out.values, out.shape);
  return out;
}

// float32, row-major; atomically. Errors: kShape (another number of values), as write_file_atomically.
inline void write_npy(const std::string& path, const std::vector<Index>& shape, std::span<const float> values) {
  check_equal(checked_count(shape).value_or(-1), values.size(), path + ": values");
  std::string sizes;
  for (const Index n : shape) sizes += std::to_string(n) + ", ";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
  constexpr std::size_t kMagic = 10, kAlign = 64;
  header.append((kAlign - (kMagic + header.size() + 1) % kAlign) % kAlign, ' ');
  header += '\n';
  std::string head("\x93NUMPY\x01\x00", 8);
  head += char(header.size() & 255);
  head += char(header.size() >> 8);
  head += header;
  const std::span<const std::byte> parts[] = {std::as_bytes(std::span(head)), std::as_bytes(values)};
  write_file_atomically(path, parts);
}

}  // namespace facellava::io

// A matrix in a block format (core/format.hpp) is a U8 tensor of its bytes whose __metadata__ entry of the same name
// says what it is: "q4 4096 11008". Reads the safetensors format: 8 bytes header length, a JSON header {"name": {dtype,
// shape, data_offsets}}, data. Everything is checked before any tensor is handed out: the data must be covered exactly,
// without overlap or hole. Source: the format's description in the README of huggingface/safetensors.
#pragma once
#include <algorithm>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "facellava/io/json.hpp"
#include "facellava/io/mapped_file.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

namespace detail {

// The safetensors name of each DType, in its order.
inline constexpr const char* kSafetensorsNames[] = {"F64", "F32", "F16", "BF16", "I64",
                                                    "I32", "I16", "I8",  "U8",   "BOOL"};
inline const char* safetensors_name(DType t) { return is_block_type(t) ? "U8" : kSafetensorsNames[int(t)]; }
inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;  // the format's own limit

}  // namespace detail

class Safetensors {
 public:
  // Errors: as MappedFile; kFormat (anything that breaks the format), naming file and tensor.
  explicit Safetensors(const std::string& path, Load load = Load::kMap) : file_(path, load) {
    const auto bytes = file_.bytes();
    if (bytes.size() < 8) fail("expected at least 8 bytes, found " + std::to_string(bytes.size()));
    std::uint64_t header_bytes;
    std::memcpy(&header_bytes, bytes.data(), 8);
    if (header_bytes > bytes.size() - 8 || header_bytes > detail::kMaxSafetensorsHeader)
      fail("the header claims " + std::to_string(header_bytes) + " bytes, the file has " +
           std::to_string(bytes.size() - 8) + " behind its length");
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 8, std::size_t(header_bytes));
    if (!text.starts_with('{')) fail("the header at byte 8 must start with '{'");
    const auto header = parse_json(text, path);
    const auto data = bytes.subspan(8 + std::size_t(header_bytes));
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__")
        read_metadata(value);
      else
        tensors_.emplace(name, read_entry(name, value, data));
    }
    check_cover(data);
    for (auto& [name, entry] : tensors_)
      if (const auto kind = metadata_.find(name); kind != metadata_.end()) read_blocks(name, entry, kind->second);
  }

  const TensorMap& tensors() const { return tensors_; }
  // Errors: kFormat (no such tensor), naming it and the file.
  const TensorEntry& at(const std::string& name) const { return find_tensor(tensors_, name, path()); }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return file_.path(); }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, path() + ": " + what); }

  void read_metadata(const nlohmann::json& value) {
    if (!value.is_object()) fail("__metadata__: expected an object, found " + std::string(value.type_name()));
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail("__metadata__." + key + ": expected a string, found " + text.type_name());
      metadata_.emplace(key, text.get<std::string>());
    }
  }

  TensorEntry read_entry(const std::string& name, const nlohmann::json& value, std::span<const std::byte> data) const {
    const std::string where = path() + ", tensor \"" + name + "\"";
    TensorEntry entry;
    const auto dtype = require<std::string>(value, "dtype", where);
    const auto* known = std::find(std::begin(detail::kSafetensorsNames), std::end(detail::kSafetensorsNames), dtype);
    if (known == std::end(detail::kSafetensorsNames))
      throw Error(ErrorKind::kFormat, where + ": the element type \"" + dtype + "\" is not supported");
    entry.dtype = DType(known - std::begin(detail::kSafetensorsNames));
    entry.shape = require<std::vector<Index>>(value, "shape", where);
    const auto size = checked_bytes(entry.dtype, entry.shape);
    if (!size)
      throw Error(ErrorKind::kFormat, where + ": the shape " + shape_text(entry.shape) + " is negative or too large");
    const auto offsets = require<std::vector<std::uint64_t>>(value, "data_offsets", where);
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data.size())
      throw Error(ErrorKind::kFormat, where + ": expected two ascending data_offsets of at most " +
                                          std::to_string(data.size()) + ", found " + value["data_offsets"].dump());
    check_equal(*size, offsets[1] - offsets[0],
                where + ": bytes of shape " + shape_text(entry.shape) + " and type " + dtype, ErrorKind::kFormat);
    entry.bytes = data.subspan(std::size_t(offsets[0]), std::size_t(*size));
    return entry;
  }

  // Makes a U8 tensor what its metadata say: "FORMAT ROWS COLUMNS".
  void read_blocks(const std::string& name, TensorEntry& entry, const std::string& kind) const {
    const std::string where = path() + ", tensor \"" + name + "\"";
    std::istringstream words(kind);
    std::string format, rest;
    Index rows = -1, columns = -1;
    words >> format >> rows >> columns;
    const auto* known = std::find_if(std::begin(kFormats), std::end(kFormats), [&](Format f) {
      return is_block_format(f) && std::string_view(format_name(f)) == format;
    });
    if (known == std::end(kFormats) || !words || words >> rest || entry.dtype != DType::kU8)
      throw Error(ErrorKind::kFormat,
                  where + ": expected bytes and \"FORMAT ROWS COLUMNS\" as its metadata, found \"" + kind + "\"");
    const std::vector<Index> shape{rows, columns};
    const auto size = checked_bytes(dtype_of(*known), shape);
    if (!size)
      throw Error(ErrorKind::kFormat, where + ": the shape " + shape_text(shape) + " is negative or too large");
    check_equal(*size, entry.bytes.size(), where + ": bytes of shape " + shape_text(shape) + " in " + format,
                ErrorKind::kFormat);
    entry.dtype = dtype_of(*known);
    entry.shape = shape;
  }

  void check_cover(std::span<const std::byte> data) const {
    std::vector<std::pair<std::size_t, std::size_t>> ranges;
    for (const auto& [name, entry] : tensors_) {
      const auto first = std::size_t(entry.bytes.data() - data.data());
      ranges.emplace_back(first, first + entry.bytes.size());
    }
    std::sort(ranges.begin(), ranges.end());
    std::size_t end = 0;
    for (const auto& [first, last] : ranges) {
      if (first != end)
        fail(std::string(first < end ? "tensors overlap" : "there is a hole between tensors") + " at byte " +
             std::to_string(std::min(first, end)) + " of the data");
      end = last;
    }
    if (end != data.size())
      fail("the tensors end at byte " + std::to_string(end) + " of the data, the file at byte " +
           std::to_string(data.size()));
  }

  MappedFile file_;
  TensorMap tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace facellava::io

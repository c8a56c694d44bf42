// Writes the safetensors format, atomically. Data starts at a multiple of 64 bytes and tensors of wide elements come
// first, so that each is aligned for its type and a reader may use it as it lies.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "facellava/io/atomic_file.hpp"
#include "facellava/io/safetensors.hpp"

namespace facellava::io {

struct NamedTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;  // row-major, little-endian, of exactly the shape's size
};

namespace detail {
// "q4 4096 11008"
inline std::string block_text(const NamedTensor& t) {
  if (t.shape.size() != 2)
    throw Error(ErrorKind::kArgument,
                "tensor \"" + t.name + "\": expected a matrix for a block format, found " + shape_text(t.shape));
  return std::string(dtype_name(t.dtype)) + " " + std::to_string(t.shape[0]) + " " + std::to_string(t.shape[1]);
}
}  // namespace detail

// Errors: kArgument (a name twice, reserved or not UTF-8; bytes that do not fit the shape), kFile as
// write_file_atomically.
inline void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                              std::map<std::string, std::string> metadata = {}) {
  constexpr std::size_t kAlign = 64;
  std::vector<const NamedTensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) {
    const Index x = dtype_size(a->dtype), y = dtype_size(b->dtype);
    return x != y ? x > y : a->name < b->name;
  });
  nlohmann::json header = nlohmann::json::object();
  std::vector<std::span<const std::byte>> parts(1);
  std::size_t end = 0;
  for (const auto* tensor : order) {
    const auto size = checked_bytes(tensor->dtype, tensor->shape);
    if (!size || std::size_t(*size) != tensor->bytes.size())
      throw Error(ErrorKind::kArgument, path + ", tensor \"" + tensor->name + "\": shape " + shape_text(tensor->shape) +
                                            " does not have " + std::to_string(tensor->bytes.size()) + " bytes");
    if (tensor->name == "__metadata__" || header.contains(tensor->name))
      throw Error(ErrorKind::kArgument, path + ": the tensor name \"" + tensor->name + "\" is reserved or given twice");
    const bool blocks = is_block_type(tensor->dtype);
    if (blocks) metadata[tensor->name] = detail::block_text(*tensor);
    header[tensor->name] = {{"dtype", detail::safetensors_name(tensor->dtype)},
                            {"shape", blocks ? std::vector<Index>{*size} : tensor->shape},
                            {"data_offsets", {end, end + tensor->bytes.size()}}};
    end += tensor->bytes.size();
    parts.push_back(tensor->bytes);
  }
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::kArgument, path + ": a name or a metadata text is not UTF-8: " + e.what());
  }
  text.append((kAlign - (8 + text.size()) % kAlign) % kAlign, ' ');
  check_at_most(detail::kMaxSafetensorsHeader, text.size(), path + ": bytes of the header");
  const std::uint64_t length = text.size();
  std::string head(8, '\0');
  std::memcpy(head.data(), &length, 8);
  head += text;
  parts[0] = std::as_bytes(std::span(head));
  write_file_atomically(path, parts);
}

}  // namespace facellava::io

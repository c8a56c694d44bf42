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

// What a file says of a tensor; a block type's shape is a matrix's.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<Index> shape;
};
struct NamedTensor : TensorInfo {
  std::span<const std::byte> bytes;  // row-major, little-endian, of exactly the shape's size

  NamedTensor() = default;
  NamedTensor(std::string n, DType t, std::vector<Index> s, std::span<const std::byte> b)
      : TensorInfo{std::move(n), t, std::move(s)}, bytes(b) {}
};

// Everything of a file before the data, and the order of the data.
struct SafetensorsHead {
  std::string bytes;
  std::vector<std::size_t> order;  // of the tensors given
};

// Errors: kArgument (a name twice, reserved or not UTF-8; a shape that is none).
inline SafetensorsHead plan_safetensors(const std::string& path, std::span<const TensorInfo* const> tensors,
                                        std::map<std::string, std::string> metadata = {}) {
  constexpr std::size_t kAlign = 64;
  SafetensorsHead head;
  for (std::size_t i = 0; i < tensors.size(); ++i) head.order.push_back(i);
  std::sort(head.order.begin(), head.order.end(), [&](std::size_t a, std::size_t b) {
    const Index x = dtype_size(tensors[a]->dtype), y = dtype_size(tensors[b]->dtype);
    return x != y ? x > y : tensors[a]->name < tensors[b]->name;
  });
  nlohmann::json header = nlohmann::json::object();
  Index end = 0;
  for (const std::size_t i : head.order) {
    const TensorInfo& t = *tensors[i];
    const auto fail = [&](const std::string& what) {
      throw Error(ErrorKind::kArgument, path + ", tensor \"" + t.name + "\": " + what);
    };
    const auto size = checked_bytes(t.dtype, t.shape);
    if (!size) fail("the shape " + shape_text(t.shape) + " is negative or too large");
    if (t.name == "__metadata__" || header.contains(t.name)) fail("the name is reserved or given twice");
    const bool blocks = is_block_type(t.dtype);
    if (blocks) {
      if (t.shape.size() != 2) fail("expected a matrix for a block format, found " + shape_text(t.shape));
      metadata[t.name] =
          std::string(dtype_name(t.dtype)) + " " + std::to_string(t.shape[0]) + " " + std::to_string(t.shape[1]);
    }
    header[t.name] = {{"dtype", detail::safetensors_name(t.dtype)},
                      {"shape", blocks ? std::vector<Index>{*size} : t.shape},
                      {"data_offsets", {end, end + *size}}};
    end += *size;
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
  head.bytes.assign(8, '\0');
  std::memcpy(head.bytes.data(), &length, 8);
  head.bytes += text;
  return head;
}

// make(i): the bytes of tensor i, asked for when their turn comes and not kept. Errors: as plan_safetensors; kFile as
// write_file_atomically; what make throws.
template <class Make>
void write_safetensors_with(const std::string& path, std::span<const TensorInfo* const> tensors,
                            const std::map<std::string, std::string>& metadata, Make&& make) {
  const SafetensorsHead head = plan_safetensors(path, tensors, metadata);
  write_file_atomically_with(path, [&](auto&& put) {
    put(std::as_bytes(std::span(head.bytes)));
    for (const std::size_t i : head.order) {
      const std::span<const std::byte> bytes = make(i);
      check_equal(*checked_bytes(tensors[i]->dtype, tensors[i]->shape), bytes.size(),
                  path + ", tensor \"" + tensors[i]->name + "\": bytes", ErrorKind::kArgument);
      put(bytes);
    }
  });
}

inline void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::vector<const TensorInfo*> infos;
  for (const NamedTensor& t : tensors) infos.push_back(&t);
  write_safetensors_with(path, infos, metadata, [&](std::size_t i) { return tensors[i].bytes; });
}

}  // namespace facellava::io

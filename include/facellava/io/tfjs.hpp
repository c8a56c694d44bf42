// Weights of TensorFlow.js models: a manifest (JSON) lists tensors, shards beside it hold them one behind the other,
// as f32 or as codes of one byte: value = code · scale + min.   Source: tfjs-core's weights manifest format.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "facellava/io/json.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

struct TfjsTensor {
  std::vector<Index> shape;
  std::vector<float> values;
};
using TfjsWeights = std::map<std::string, TfjsTensor>;

namespace detail {

// The shards of a group, joined: at most `left` bytes, which become fewer. They are files of the manifest's own folder.
inline std::vector<std::byte> tfjs_bytes(const nlohmann::json& group, const std::string& manifest, std::size_t& left) {
  std::vector<std::byte> bytes;
  for (const std::string& name : require<std::vector<std::string>>(group, "paths", manifest)) {
    const std::filesystem::path path(name);
    if (name.empty() || path.filename() != path || name == "." || name == "..")
      throw Error(ErrorKind::kFormat, manifest + ": expected shards in its own folder, found \"" + name + "\"");
    const MappedFile shard((std::filesystem::path(manifest).parent_path() / path).string(), Load::kCopy, left);
    left -= shard.bytes().size();
    bytes.insert(bytes.end(), shard.bytes().begin(), shard.bytes().end());
  }
  return bytes;
}

// The tensor that begins at `bytes`, which are shortened by it.
inline TfjsTensor tfjs_tensor(const nlohmann::json& entry, std::span<const std::byte>& bytes,
                              const std::string& where) {
  TfjsTensor t;
  for (const int d : require<std::vector<int>>(entry, "shape", where)) t.shape.push_back(d);
  const auto codes = optional<nlohmann::json>(entry, "quantization", where);
  const auto stored = require<std::string>(codes ? *codes : entry, "dtype", where);
  if (require<std::string>(entry, "dtype", where) != "float32" || stored != (codes ? "uint8" : "float32"))
    throw Error(ErrorKind::kFormat, where + ": expected float32, as it is or in codes of uint8, found " + stored);
  const DType type = codes ? DType::kU8 : DType::kF32;
  const auto size = checked_bytes(type, t.shape);
  if (!size || std::cmp_greater(*size, bytes.size()))
    throw Error(ErrorKind::kFormat, where + ": " + shape_text(t.shape) + " does not fit into the " +
                                        std::to_string(bytes.size()) + " bytes that are left of the shards");
  t.values = to_floats({type, t.shape, bytes.first(std::size_t(*size))});
  bytes = bytes.subspan(std::size_t(*size));
  if (!codes) return t;
  const auto scale = require<float>(*codes, "scale", where), least = require<float>(*codes, "min", where);
  for (float& v : t.values) v = v * scale + least;
  return t;
}

}  // namespace detail

// Errors: as read_json and MappedFile; kFormat (a shard in another folder, tensors that the shards do not hold);
// kCapacity beyond 256 MiB of shards.
inline TfjsWeights read_tfjs_weights(const std::string& manifest) {
  const auto json = read_json(manifest);
  if (!json.is_array()) throw Error(ErrorKind::kFormat, manifest + ": expected an array, found " + json.type_name());
  TfjsWeights all;
  std::size_t most = std::size_t(256) << 20;
  for (const auto& group : json) {
    const auto shards = detail::tfjs_bytes(group, manifest, most);
    std::span<const std::byte> left(shards);
    for (const auto& entry : require<std::vector<nlohmann::json>>(group, "weights", manifest)) {
      const auto name = require<std::string>(entry, "name", manifest);
      all[name] = detail::tfjs_tensor(entry, left, manifest + ", " + name);
    }
    if (!left.empty())
      throw Error(ErrorKind::kFormat,
                  manifest + ": its shards hold " + std::to_string(left.size()) + " bytes more than its tensors");
  }
  return all;
}

}  // namespace facellava::io

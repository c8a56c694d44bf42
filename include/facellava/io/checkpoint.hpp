// A checkpoint: the tensors of a folder, sharded or not, safetensors or PyTorch .bin, or of a single file, GGUF too.
#pragma once
#include <algorithm>
#include <filesystem>
#include <list>
#include <optional>
#include <set>
#include <system_error>

#include "facellava/io/gguf.hpp"
#include "facellava/io/json.hpp"
#include "facellava/io/safetensors.hpp"
#include "facellava/io/torch_bin.hpp"

namespace facellava::io {

class Checkpoint {
 public:
  // Of a folder: model.safetensors.index.json, model.safetensors, pytorch_model.bin.index.json, pytorch_model.bin, or a
  // lone .safetensors; the first that is there. Errors: kFile, kFormat, naming file and tensor.
  explicit Checkpoint(const std::string& folder_or_file, Load load = Load::kMap) : path_(folder_or_file), load_(load) {
    if (!exists(path_)) throw Error(ErrorKind::kFile, path_ + ": there is no such file or folder");
    std::error_code none;
    if (std::filesystem::is_directory(path_, none))
      add_folder(path_);
    else if (is_gguf(path_))
      for (const auto& [name, entry] : gguf_.emplace(path_, load_).tensors()) add(name, entry, path_);
    else
      add_all(path_);
  }

  const std::string& path() const { return path_; }
  // The file with its metadata, if the path is a GGUF file; else null.
  const Gguf* gguf() const { return gguf_ ? &*gguf_ : nullptr; }
  const TensorMap& tensors() const { return tensors_; }
  const TensorEntry& at(const std::string& name) const { return find_tensor(tensors_, name, path_); }
  const std::string& file_of(const std::string& name) const {
    at(name);
    return files_.find(name)->second;
  }

 private:
  static bool exists(const std::filesystem::path& path) {
    std::error_code none;
    return std::filesystem::exists(path, none);
  }
  const TensorMap& open(const std::string& file) {
    if (file.ends_with(".safetensors")) return safetensors_.emplace_back(file, load_).tensors();
    return bins_.emplace_back(file, load_).tensors();
  }
  void add(const std::string& name, const TensorEntry& entry, const std::string& file) {
    tensors_.emplace(name, entry);
    files_.emplace(name, file);
  }
  void add_all(const std::string& file) {
    for (const auto& [name, entry] : open(file)) add(name, entry, file);
  }

  void add_folder(const std::filesystem::path& folder) {
    for (const std::string file : {"model.safetensors", "pytorch_model.bin"}) {
      if (exists(folder / (file + ".index.json"))) return add_index(folder, file + ".index.json");
      if (exists(folder / file)) return add_all((folder / file).string());
    }
    std::vector<std::string> lone;
    std::error_code failed;
    std::filesystem::directory_iterator entry(folder, failed);
    for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed))
      if (entry->path().extension() == ".safetensors") lone.push_back(entry->path().string());
    if (failed) throw system_error(path_, "list the folder", failed.value());
    if (lone.size() != 1)
      throw Error(ErrorKind::kFile,
                  path_ + ": expected an index, model.safetensors, pytorch_model.bin or one .safetensors, found " +
                      std::to_string(lone.size()) + " .safetensors");
    add_all(lone[0]);
  }

  // Every name must be in the shard that the index says; shards are files beside the index.
  void add_index(const std::filesystem::path& folder, const std::string& index) {
    const std::string file = (folder / index).string();
    const auto json = read_json(file);
    const auto map = require<nlohmann::json>(json, "weight_map", file);
    if (!map.is_object() || map.empty())
      throw Error(ErrorKind::kFormat, file + ": \"weight_map\": expected an object with tensors");
    std::map<std::string, std::set<std::string>> shards;
    for (const auto& [name, shard] : map.items()) {
      if (!shard.is_string())
        throw Error(ErrorKind::kFormat,
                    file + ": the shard of " + name + ": expected a file name, found " + shard.type_name());
      shards[shard.get<std::string>()].insert(name);
    }
    for (const auto& [shard, names] : shards) {
      if (shard.find_first_of("/\\") != std::string::npos || shard == ".." || shard == "." || shard.empty())
        throw Error(ErrorKind::kFormat, file + ": expected shards beside the index, found \"" + shard + "\"");
      const std::string shard_file = (folder / shard).string();
      const TensorMap& tensors = open(shard_file);
      for (const std::string& name : names) add(name, find_tensor(tensors, name, shard_file), shard_file);
      for (const auto& [name, entry] : tensors)
        if (!names.contains(name))
          throw Error(ErrorKind::kFormat,
                      shard_file + ": the tensor " + name + " is not in the index as one of this shard");
    }
  }

  std::string path_;
  Load load_;
  std::optional<Gguf> gguf_;
  std::list<Safetensors> safetensors_;
  std::list<TorchBin> bins_;
  TensorMap tensors_;
  std::map<std::string, std::string> files_;
};

}  // namespace facellava::io

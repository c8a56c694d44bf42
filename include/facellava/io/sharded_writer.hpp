// Writes safetensors shards and their index into a folder. A run that was cut off goes on where it stopped: shards are
// atomic, and the index, which makes the folder a checkpoint, is written last. Shards of another identity are refused.
#pragma once
#include <cstdio>
#include <filesystem>
#include <functional>

#include "facellava/io/safetensors_writer.hpp"

namespace facellava::io {

using Progress = std::function<void(std::size_t done, std::size_t all)>;  // bytes written

class ShardedWriter {
 public:
  // A shard holds at most shard_bytes, or one tensor. Tensors keep their order.
  ShardedWriter(std::vector<TensorInfo> tensors, std::size_t shard_bytes) {
    std::size_t used = 0;
    for (TensorInfo& t : tensors) {
      const std::size_t size = size_of(t);
      if (shards_.empty() || used + size > shard_bytes) {
        shards_.emplace_back();
        used = 0;
      }
      shards_.back().push_back(std::move(t));
      used += size;
      bytes_ += size;
    }
  }

  std::size_t bytes() const { return bytes_; }
  std::size_t shards() const { return shards_.size(); }

  // make(info): the bytes of a tensor, valid until the next is asked for. identity: of what is written, so that shards
  // of something else are not taken for it. Errors: kArgument (the folder holds shards of another identity), kFile, and
  // what make throws.
  template <class Make>
  void write(const std::string& folder, const std::string& identity, Make&& make, const Progress& progress = {}) const {
    const auto report = [&](std::size_t done) {
      if (progress) progress(done, bytes_);
    };
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) throw system_error(folder, "make the folder", failed.value());
    std::size_t done = 0;
    nlohmann::json map = nlohmann::json::object();
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const std::string name = shard_name(i), path = (std::filesystem::path(folder) / name).string();
      std::vector<const TensorInfo*> infos;
      for (const TensorInfo& t : shards_[i]) {
        infos.push_back(&t);
        map[t.name] = name;
      }
      if (std::filesystem::exists(path, failed)) {
        check_same(path, identity);
        for (const TensorInfo* t : infos) done += size_of(*t);
      } else {
        write_safetensors_with(path, infos, {{"format", "pt"}, {kIdentity, identity}}, [&](std::size_t t) {
          report(done);
          done += size_of(*infos[t]);
          return make(*infos[t]);
        });
      }
      report(done);
    }
    if (shards_.size() == 1) return;
    const nlohmann::json index{{"metadata", {{"total_size", bytes_}}}, {"weight_map", map}};
    const std::string text = index.dump(1);
    write_file_atomically((std::filesystem::path(folder) / "model.safetensors.index.json").string(),
                          std::as_bytes(std::span(text)));
  }

 private:
  static constexpr const char* kIdentity = "facellava.identity";

  static std::size_t size_of(const TensorInfo& t) { return std::size_t(checked_bytes(t.dtype, t.shape).value_or(0)); }
  std::string shard_name(std::size_t i) const {
    if (shards_.size() == 1) return "model.safetensors";
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards_.size());
    return name;
  }
  static void check_same(const std::string& path, const std::string& identity) {
    const Safetensors shard(path);
    const auto found = shard.metadata().find(kIdentity);
    if (found == shard.metadata().end() || found->second != identity)
      throw Error(ErrorKind::kArgument, path + " is there and is not a part of this: choose another folder");
  }

  std::vector<std::vector<TensorInfo>> shards_;
  std::size_t bytes_ = 0;
};

}  // namespace facellava::io

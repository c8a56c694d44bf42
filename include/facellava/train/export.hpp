// A trained model as a folder in the official layout, which the released code and this library load: every weight,
// adapters merged, with the files of the model that it began as.
#pragma once
#include <cstdio>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/quantise.hpp"
#include "facellava/io/sharded_writer.hpp"
#include "facellava/io/torch_bin_writer.hpp"
#include "facellava/train/any_model.hpp"
#include "facellava/train/checkpoint.hpp"

namespace facellava::train {

struct ExportOptions {
  Format format = Format::kF32;                      // f32, f16 or bf16
  std::vector<std::string> files = {"safetensors"};  // and, or: bin
  std::size_t shard_bytes = std::size_t(2) << 30;    // of a file at most, or one tensor
};

namespace detail {

class Exporter {
 public:
  Exporter(AnyModel& model, const ExportOptions& o) : model_(model), options_(o), tensors_(model.tensors()) {
    constexpr io::DType kTypes[] = {io::DType::kF32, io::DType::kF16, io::DType::kBf16};
    check_at_most(2, int(o.format), "format of exported weights", ErrorKind::kArgument);
    for (io::TensorInfo& t : tensors_) t.dtype = kTypes[int(o.format)];
    for (const Slot& s : model.parameters().slots())
      if (!is_head(s.name)) slots_.emplace(io::rename(io::kOfficial, s.name)->name, &s);
  }

  void write(const std::string& folder) {
    for (const std::string& kind : options_.files) {
      if (kind == "safetensors")
        io::ShardedWriter(tensors_, options_.shard_bytes).write(folder, "training", [&](const io::TensorInfo& t) {
          return std::span<const std::byte>(bytes_ = bytes_of(t));
        });
      else
        write_bins(folder);
    }
  }

 private:
  // The values of a tensor, with what its adapter adds, in the format of the export.
  std::vector<std::byte> bytes_of(const io::TensorInfo& t) const {
    const auto found = slots_.find(t.name);
    if (found == slots_.end()) throw Error(ErrorKind::kArgument, "export: the model has no " + t.name);
    const Slot& s = *found->second;
    const bool vector = s.weight.sizes.size() == 1;
    const Index rows = vector ? 1 : s.weight.rows(), columns = vector ? s.weight.rows() : s.weight.columns();
    std::vector<float> values(std::size_t(rows * columns));
    if (const TrainedTensor* master = trained(s.name))
      std::copy_n(master->w.data, values.size(), values.begin());
    else
      for (Index r = 0, i = 0; r < s.weight.rows(); ++r)
        for (Index c = 0; c < s.weight.columns(); ++c) values[std::size_t(i++)] = s.weight(r, c);
    if (s.adapter && *s.adapter) model_.add_product(Values(values.data(), rows, columns), **s.adapter, 1);
    const Index step = row_bytes(options_.format, columns);
    std::vector<std::byte> out(std::size_t(rows * step));
    for (Index r = 0; r < rows; ++r)
      quantise_row(options_.format, out.data() + r * step, values.data() + r * columns, columns);
    return out;
  }
  const TrainedTensor* trained(const std::string& name) const {
    for (const TrainedTensor& t : model_.parameters().trained())
      if (t.name == name) return &t;
    return nullptr;
  }

  void write_bins(const std::string& folder) {
    std::vector<std::vector<const io::TensorInfo*>> shards;
    std::size_t used = 0, total = 0;
    for (const io::TensorInfo& t : tensors_) {
      const auto size = std::size_t(*io::checked_bytes(t.dtype, t.shape));
      if (shards.empty() || used + size > options_.shard_bytes) {
        shards.emplace_back();
        used = 0;
      }
      shards.back().push_back(&t);
      used += size;
      total += size;
    }
    nlohmann::json map = nlohmann::json::object();
    for (std::size_t i = 0; i < shards.size(); ++i) {
      char name[64] = "pytorch_model.bin";
      if (shards.size() > 1) std::snprintf(name, sizeof name, "pytorch_model-%05zu-of-%05zu.bin", i + 1, shards.size());
      std::vector<std::vector<std::byte>> memory;
      std::vector<io::NamedTensor> tensors;
      for (const io::TensorInfo* t : shards[i]) {
        memory.push_back(bytes_of(*t));
        tensors.emplace_back(t->name, t->dtype, t->shape, memory.back());
        map[t->name] = name;
      }
      io::write_torch_bin((std::filesystem::path(folder) / name).string(), tensors);
    }
    if (shards.size() == 1) return;
    const std::string text = nlohmann::json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(1);
    io::write_file_atomically((std::filesystem::path(folder) / "pytorch_model.bin.index.json").string(),
                              std::as_bytes(std::span(text)));
  }

  AnyModel& model_;
  ExportOptions options_;
  std::vector<io::TensorInfo> tensors_;
  std::map<std::string, const Slot*> slots_;  // by official name
  std::vector<std::byte> bytes_;
};

// config.json of the model that a run began as, with the heads of its towers, which may have come from elsewhere.
inline void write_config(const std::filesystem::path& from, const std::filesystem::path& to, const FaceLlavaConfig& c) {
  nlohmann::json config = io::read_json((from / "config.json").string());
  const TowerConfig& tower = c.image.layers ? c.image : c.video;
  if (tower.layers > 0) config["facellava"]["tower_heads"] = tower.block.heads;
  const std::string text = config.dump(2);
  io::write_file_atomically((to / "config.json").string(), std::as_bytes(std::span(text)));
}

}  // namespace detail

// Writes `folder`, whole or not at all; one that is there is replaced. from: the folder of the model that was trained.
// Errors: kFile, kCapacity (a .bin beyond 4 GiB).
inline void export_model(const std::string& folder, AnyModel& model, const std::string& from, const ExportOptions& o) {
  namespace fs = std::filesystem;
  const fs::path part = folder + ".partial";
  std::error_code failed;
  fs::remove_all(part, failed);
  detail::make_folder(part);
  detail::Exporter(model, o).write(part.string());
  detail::write_config(from, part, model.config());
  for (const char* name : {"tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json",
                           "added_tokens.json", "generation_config.json"})
    if (fs::exists(fs::path(from) / name, failed)) {
      fs::copy_file(fs::path(from) / name, part / name, failed);
      if (failed) throw io::system_error((part / name).string(), "copy the file to", failed.value());
    }
  const fs::path old = folder + ".replaced";  // there until the new one is
  fs::remove_all(old, failed);
  if (fs::exists(folder, failed)) detail::rename_durably(folder, old);
  detail::rename_durably(part, folder);
  fs::remove_all(old, failed);
}

}  // namespace facellava::train

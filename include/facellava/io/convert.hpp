// Writes a checkpoint again in another format: safetensors shards and their index, in a folder. A run that was cut off
// goes on where it stopped: shards are atomic, and what makes the folder a checkpoint (a shard of no index, or the
// index) is written last. Shards of another conversion are refused.
#pragma once
#include <filesystem>
#include <functional>
#include <thread>

#include "facellava/core/quantise.hpp"
#include "facellava/io/checkpoint.hpp"
#include "facellava/io/safetensors_writer.hpp"

namespace facellava::io {

struct ConvertOptions {
  std::optional<Format> format;                                          // of matrices; none: as they are
  std::size_t shard_bytes = std::size_t(2) << 30;                        // a shard is at most this, or one tensor
  int threads = 0;                                                       // that round; 0: one a hardware thread
  std::function<void(std::size_t done, std::size_t all)> progress = {};  // bytes written
};

// Checkpoints that become one, each with what its names get in place of a prefix.
struct ConvertSource {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::string prefix = {}, replacement = {};  // tensors without the prefix are left out
};

namespace detail {

// A matrix's format in a file of `wanted`. Embeddings of positions stay; the tables of words and the head, whose
// rounding every answer meets, are q8 at least; widths that nf4 cannot have become bf16.
inline DType converted_type(const std::string& name, const TensorEntry& t, std::optional<Format> wanted) {
  if (!wanted || !format_of(t.dtype) || t.shape.size() < 2) return t.dtype;
  if (!is_block_format(*wanted)) return dtype_of(*wanted);
  if (t.shape.size() != 2 || name.find("position_embedding") != name.npos) return t.dtype;
  const bool words = name.find("embed_tokens") != name.npos || name.starts_with("lm_head");
  if (words) return DType::kQ8;
  if (*wanted == Format::kNf4 && t.shape[1] % 16 != 0) return DType::kBf16;
  return dtype_of(*wanted);
}

inline std::vector<std::byte> nf4_bytes(const float* values, Index n) {
  const Nf4Matrix m = quantise_nf4(values, n);
  const Nf4Layout at(n);
  std::vector<std::byte> out(std::size_t(at.bytes));
  std::copy(m.packed.begin(), m.packed.end(), out.begin());
  std::memcpy(out.data() + at.absmax, m.absmax.data(), m.absmax.size());
  std::memcpy(out.data() + at.nested, m.nested.data(), m.nested.size() * sizeof(float));
  std::memcpy(out.data() + at.offset, &m.offset, sizeof m.offset);
  return out;
}

// Calls body(first, end) for shares of [0, n) on as many threads.
template <class Body>
void in_shares(Index n, int threads, Body&& body) {
  const int count = int(std::clamp<Index>(threads > 0 ? threads : Index(std::thread::hardware_concurrency()), 1, 64));
  std::vector<std::jthread> others;
  for (int i = 1; i < count; ++i) others.emplace_back([&, i] { body(n * i / count, n * (i + 1) / count); });
  body(Index(0), n / count);
}

// The bytes of t as elements of another type; a span of t's own where nothing changes.
inline std::span<const std::byte> convert_tensor(const TensorEntry& t, DType to, int threads,
                                                 std::vector<std::byte>& memory) {
  if (t.dtype == to) return t.bytes;
  if (to == DType::kNf4) {
    const std::vector<float> values = to_floats(t);
    memory = nf4_bytes(values.data(), Index(values.size()));
    return memory;
  }
  const Index rows = t.shape[0], columns = rows ? t.count() / rows : 0;
  const Format format = *format_of(to);
  const Index step = row_bytes(format, columns);
  memory.assign(std::size_t(rows * step), std::byte{});
  in_shares(rows, threads, [&](Index first, Index end) {
    const bool by_row = t.dtype != DType::kNf4;  // its scales run across rows
    std::vector<float> all;
    if (!by_row) all = to_floats(t);
    for (Index r = first; r < end; ++r) {
      if (by_row) {
        TensorEntry row{t.dtype, {1, columns}, {}};
        const std::size_t bytes = std::size_t(*checked_bytes(t.dtype, row.shape));
        row.bytes = t.bytes.subspan(std::size_t(r) * bytes, bytes);
        all = to_floats(row);
      }
      quantise_row(format, memory.data() + r * step, all.data() + (by_row ? 0 : r * columns), columns);
    }
  });
  return memory;
}

}  // namespace detail

class Converter {
 public:
  // Errors: kArgument (nothing to convert, a name twice), kFormat.
  Converter(std::vector<ConvertSource> sources, ConvertOptions options) : options_(std::move(options)) {
    for (const ConvertSource& s : sources) {
      for (const auto& [name, entry] : s.checkpoint->tensors()) {
        if (!name.starts_with(s.prefix)) continue;
        const std::string target = s.replacement + name.substr(s.prefix.size());
        if (!tensors_.emplace(target, &entry).second)
          throw Error(ErrorKind::kArgument, "convert: two checkpoints hold the tensor " + target);
      }
      keep_.push_back(s.checkpoint);
    }
    if (tensors_.empty()) throw Error(ErrorKind::kArgument, "convert: expected tensors, found none");
    split();
  }

  std::size_t bytes() const { return bytes_; }
  std::size_t shards() const { return shards_.size(); }

  // Errors: kArgument (the folder holds another conversion or a checkpoint), kFile.
  void write(const std::string& folder) const {
    std::filesystem::create_directories(folder);
    const std::string identity = fingerprint();
    std::size_t done = 0;
    nlohmann::json map = nlohmann::json::object();
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const std::string name = shard_name(i), path = (std::filesystem::path(folder) / name).string();
      for (const TensorInfo& t : shards_[i]) map[t.name] = name;
      if (std::filesystem::exists(path)) {
        check_same(path, identity);
        for (const TensorInfo& t : shards_[i]) done += size_of(t);
        report(done);
        continue;
      }
      std::vector<const TensorInfo*> infos;
      for (const TensorInfo& t : shards_[i]) infos.push_back(&t);
      std::vector<std::byte> memory;
      write_safetensors_with(path, infos, {{"format", "pt"}, {kIdentity, identity}}, [&](std::size_t t) {
        report(done);
        done += size_of(*infos[t]);
        return detail::convert_tensor(*tensors_.at(infos[t]->name), infos[t]->dtype, options_.threads, memory);
      });
      report(done);
    }
    if (shards_.size() == 1) return;
    const nlohmann::json index{{"metadata", {{"total_size", bytes_}}}, {"weight_map", map}};
    const std::string text = index.dump(1);
    write_file_atomically((std::filesystem::path(folder) / "model.safetensors.index.json").string(),
                          std::as_bytes(std::span(text)));
  }

 private:
  static constexpr const char* kIdentity = "facellava.conversion";

  static std::size_t size_of(const TensorInfo& t) { return std::size_t(*checked_bytes(t.dtype, t.shape)); }
  void report(std::size_t done) const {
    if (options_.progress) options_.progress(done, bytes_);
  }
  void split() {
    std::size_t used = 0;
    for (const auto& [name, entry] : tensors_) {
      const DType type = detail::converted_type(name, *entry, options_.format);
      TensorInfo info{name, type, entry->shape};
      const std::size_t size = size_of(info);
      if (shards_.empty() || used + size > options_.shard_bytes) {
        shards_.emplace_back();
        used = 0;
      }
      shards_.back().push_back(std::move(info));
      used += size;
      bytes_ += size;
    }
  }
  std::string shard_name(std::size_t i) const {
    if (shards_.size() == 1) return "model.safetensors";
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards_.size());
    return name;
  }
  // Of what is converted to what: names, types, shapes, and the files with their sizes and times. FNV-1a, as text.
  std::string fingerprint() const {
    std::uint64_t hash = 0xcbf29ce484222325u;
    const auto add = [&](std::string_view text) {
      for (const char c : text) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
      hash = (hash ^ 0xffu) * 0x100000001b3u;
    };
    for (const auto& shard : shards_)
      for (const TensorInfo& t : shard) {
        const TensorEntry& from = *tensors_.at(t.name);
        add(t.name + dtype_name(t.dtype) + dtype_name(from.dtype) + shape_text(t.shape));
      }
    std::set<std::string> files;
    for (const auto& c : keep_)
      for (const auto& [name, entry] : c->tensors()) files.insert(c->file_of(name));
    for (const std::string& f : files)
      add(std::to_string(std::filesystem::file_size(f)) + " " +
          std::to_string(std::filesystem::last_write_time(f).time_since_epoch().count()));
    return std::to_string(hash);
  }
  void check_same(const std::string& path, const std::string& identity) const {
    const Safetensors shard(path);
    const auto found = shard.metadata().find(kIdentity);
    if (found == shard.metadata().end() || found->second != identity)
      throw Error(ErrorKind::kArgument, path + " is there and is not part of this conversion: choose another folder");
  }

  ConvertOptions options_;
  std::vector<std::shared_ptr<const Checkpoint>> keep_;
  std::map<std::string, const TensorEntry*> tensors_;
  std::vector<std::vector<TensorInfo>> shards_;
  std::size_t bytes_ = 0;
};

}  // namespace facellava::io

// A checkpoint in another format: safetensors shards in a folder, resumable (sharded_writer.hpp).
#pragma once
#include <exception>
#include <thread>

#include "facellava/core/quantise.hpp"
#include "facellava/io/checkpoint.hpp"
#include "facellava/io/conversion_rule.hpp"
#include "facellava/io/sharded_writer.hpp"

namespace facellava::io {

struct ConvertOptions {
  std::optional<Format> format;                    // of matrices; none: as they are
  std::size_t shard_bytes = std::size_t(2) << 30;  // a shard is at most this, or one tensor
  int threads = 0;                                 // that round; 0: one a hardware thread
  Progress progress = {};
};

// Checkpoints that become one, each with what its names get in place of a prefix.
struct ConvertSource {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::string prefix = {}, replacement = {};  // tensors without the prefix are left out
};

// Calls body(first, end) for shares of [0, n) on as many threads. What one throws is thrown when all are done.
template <class Body>
void in_shares(Index n, int threads, Body&& body) {
  const int count = int(std::clamp<Index>(threads > 0 ? threads : Index(std::thread::hardware_concurrency()), 1, 64));
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(count));
  const auto share = [&](int i) {
    try {
      body(n * i / count, n * (i + 1) / count);
    } catch (...) {
      failures[std::size_t(i)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    for (int i = 1; i < count; ++i) others.emplace_back(share, i);
    share(0);
  }
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

namespace detail {

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
  Converter(const std::vector<ConvertSource>& sources, ConvertOptions options)
      : options_(std::move(options)), tensors_(collect(sources)), writer_(infos(), options_.shard_bytes) {
    for (const ConvertSource& s : sources) checkpoints_.push_back(s.checkpoint);
  }

  std::size_t bytes() const { return writer_.bytes(); }
  std::size_t shards() const { return writer_.shards(); }

  // Errors: as ShardedWriter.
  void write(const std::string& folder) const {
    std::vector<std::byte> memory;
    writer_.write(
        folder, fingerprint(),
        [&](const TensorInfo& t) {
          return detail::convert_tensor(*tensors_.at(t.name), t.dtype, options_.threads, memory);
        },
        options_.progress);
  }

 private:
  using Tensors = std::map<std::string, const TensorEntry*>;

  static Tensors collect(const std::vector<ConvertSource>& sources) {
    Tensors all;
    for (const ConvertSource& s : sources)
      for (const auto& [name, entry] : s.checkpoint->tensors()) {
        if (!name.starts_with(s.prefix)) continue;
        const std::string target = s.replacement + name.substr(s.prefix.size());
        if (!all.emplace(target, &entry).second)
          throw Error(ErrorKind::kArgument, "convert: two checkpoints hold the tensor " + target);
      }
    if (all.empty()) throw Error(ErrorKind::kArgument, "convert: expected tensors, found none");
    return all;
  }
  std::vector<TensorInfo> infos() const {
    std::vector<TensorInfo> all;
    for (const auto& [name, entry] : tensors_)
      all.push_back({name, converted_type(name, *entry, options_.format), entry->shape});
    return all;
  }
  // Of what is converted to what: names, types, shapes, and the files with their sizes and times. FNV-1a, as text.
  std::string fingerprint() const {
    std::uint64_t hash = 0xcbf29ce484222325u;
    const auto add = [&](const std::string& text) {
      for (const char c : text) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
      hash = (hash ^ 0xffu) * 0x100000001b3u;
    };
    for (const TensorInfo& t : infos())
      add(t.name + dtype_name(t.dtype) + dtype_name(tensors_.at(t.name)->dtype) + shape_text(t.shape));
    add(std::to_string(options_.shard_bytes));
    std::set<std::string> files;
    for (const auto& c : checkpoints_)
      for (const auto& [name, entry] : c->tensors()) files.insert(c->file_of(name));
    for (const std::string& f : files) {
      std::error_code failed;
      const auto size = std::filesystem::file_size(f, failed);
      if (failed) throw system_error(f, "see the file", failed.value());
      const auto time = std::filesystem::last_write_time(f, failed);
      if (failed) throw system_error(f, "see the file", failed.value());
      add(std::to_string(size) + " " + std::to_string(time.time_since_epoch().count()));
    }
    return std::to_string(hash);
  }

  ConvertOptions options_;
  std::vector<std::shared_ptr<const Checkpoint>> checkpoints_;
  Tensors tensors_;
  ShardedWriter writer_;
};

}  // namespace facellava::io

// Checkpoints of a run: OUTPUT/checkpoints/step-N, a folder with state.safetensors (values and moments) and state.json
// (the step, the run's configuration, a checksum of every tensor). It is written beside, made durable, then renamed: a
// folder of that name is whole. All randomness of a run follows from its seed and the step, so this is everything.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/train/parameters.hpp"

namespace facellava::train {

struct RunState {
  long step = 0;          // steps that are done
  nlohmann::json config;  // what a run that goes on must have the same
};

namespace detail {

// Four sums of products in turn over words of 8 bytes, FNV's prime: any changed bit changes it.
inline std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3u;
  std::uint64_t h[4] = {1, 2, 3, 4};
  std::size_t i = 0;
  for (; i + 32 <= bytes.size(); i += 32)
    for (std::size_t k = 0; k < 4; ++k) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + i + 8 * k, 8);
      h[k] = (h[k] ^ word) * kPrime;
      h[k] ^= h[k] >> 29;
    }
  std::uint64_t all = bytes.size();
  for (; i < bytes.size(); ++i) all = (all ^ std::uint64_t(bytes[i])) * kPrime;
  for (const std::uint64_t part : h) all = (all ^ part) * kPrime;
  return all ^ all >> 29;
}
inline std::string hexadecimal(std::uint64_t n) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(n));
  return text;
}

inline void make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw io::system_error(folder.string(), "make the folder", failed.value());
}
inline void make_durable(const std::filesystem::path& folder) {
  const io::Descriptor directory(::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0)
    throw io::system_error(folder.string(), "write the folder to its disk");
}
inline void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  make_durable(from);
  if (std::rename(from.c_str(), to.c_str()) != 0) throw io::system_error(to.string(), "rename the folder to");
  make_durable(to.parent_path());
}

// f(name in the file, values) for all that a checkpoint holds.
void each_state(std::vector<TrainedTensor>& trained, auto&& f) {
  for (TrainedTensor& t : trained) {
    f("w/" + t.name, t.w);
    if (t.m.rows() > 0) f("m/" + t.name, t.m);
    if (t.v.rows() > 0) f("v/" + t.name, t.v);
  }
}

inline constexpr const char *kStateTensors = "state.safetensors", *kStateFile = "state.json", *kStep = "step-";

}  // namespace detail

class Checkpoints {
 public:
  // folder: made when the first is saved. keep: how many stay, the newest.
  Checkpoints(std::string folder, int keep) : folder_(std::move(folder)), keep_(keep) {}

  // Steps of the checkpoints that are there, ascending.
  std::vector<long> steps() const {
    std::vector<long> all;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, none)) {
      const std::string name = entry.path().filename().string();
      const std::string number = name.starts_with(detail::kStep) ? name.substr(std::string(detail::kStep).size()) : "";
      if (!number.empty() && number.size() < 18 && number.find_first_not_of("0123456789") == std::string::npos)
        all.push_back(std::stol(number));
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  // Errors: kFile (a full disk, no permission); what was there stays, and no part of the new one takes room.
  void save(const RunState& state, Parameters& p) const {
    namespace fs = std::filesystem;
    const fs::path part = fs::path(folder_) / "partial";
    std::error_code none;
    if (fs::exists(path(state.step), none)) return;
    try {
      save(state, p, part);
    } catch (...) {
      fs::remove_all(part, none);
      throw;
    }
    const std::vector<long> all = steps();
    for (std::size_t i = 0; i + std::size_t(keep_) < all.size(); ++i) {
      fs::rename(path(all[i]), part, none);  // whole or gone
      fs::remove_all(none ? path(all[i]) : part, none);
    }
  }

  // The newest into p. config: of the run that goes on. Errors: kFile (none there), kFormat (damaged, or of another
  // model), kArgument (of another configuration, of which the first field that differs is named).
  long load(const nlohmann::json& config, Parameters& p) const {
    const std::vector<long> all = steps();
    if (all.empty()) throw Error(ErrorKind::kFile, folder_ + ": expected a checkpoint to go on from, found none");
    const std::string file = (path(all.back()) / detail::kStateFile).string();
    const auto json = io::read_json(file);
    check_same(config, io::require<nlohmann::json>(json, "config", file), file);
    const auto sums = io::require<nlohmann::json>(json, "checksums", file);
    const io::Safetensors tensors((path(all.back()) / detail::kStateTensors).string());
    std::size_t expected = 0;
    detail::each_state(p.trained(), [&](const std::string& name, const Values& v) {
      ++expected;
      const io::TensorEntry& t = tensors.at(name);
      const std::string where = tensors.path() + ", " + name;
      const std::vector<Index> shape{v.rows(), v.size(1)};
      if (t.shape != shape || t.dtype != io::DType::kF32)
        throw Error(ErrorKind::kFormat,
                    where + ": expected f32 " + io::shape_text(shape) + ", found " + io::shape_text(t.shape));
      if (io::require<std::string>(sums, name, file) != detail::hexadecimal(detail::checksum(t.bytes)))
        throw Error(ErrorKind::kFormat, where + ": the checksum differs: the file is damaged; remove " +
                                            path(all.back()).string() + " to go on from the checkpoint before it");
      std::memcpy(v.data, t.bytes.data(), t.bytes.size());
    });
    check_equal(expected, tensors.tensors().size(), tensors.path() + ": tensors", ErrorKind::kFormat);
    p.round();
    return io::require<long>(json, "step", file);
  }

 private:
  void save(const RunState& state, Parameters& p, const std::filesystem::path& part) const {
    std::error_code none;
    std::filesystem::remove_all(part, none);
    detail::make_folder(part);
    std::vector<io::NamedTensor> tensors;
    nlohmann::json sums = nlohmann::json::object();
    detail::each_state(p.trained(), [&](const std::string& name, const Values& v) {
      const auto bytes = std::as_bytes(std::span(v.data, std::size_t(v.count())));
      tensors.emplace_back(name, io::DType::kF32, std::vector<Index>{v.rows(), v.size(1)}, bytes);
      sums[name] = detail::hexadecimal(detail::checksum(bytes));
    });
    io::write_safetensors((part / detail::kStateTensors).string(), tensors);
    const std::string text =
        nlohmann::json{{"step", state.step}, {"config", state.config}, {"checksums", sums}}.dump(1);
    io::write_file_atomically((part / detail::kStateFile).string(), std::as_bytes(std::span(text)));
    detail::rename_durably(part, path(state.step));
  }
  std::filesystem::path path(long step) const {
    char name[32];
    std::snprintf(name, sizeof name, "%s%08ld", detail::kStep, step);
    return std::filesystem::path(folder_) / name;
  }
  static void check_same(const nlohmann::json& ours, const nlohmann::json& theirs, const std::string& file) {
    for (const auto& [key, value] : ours.items())
      if (!theirs.contains(key) || theirs[key] != value)
        throw Error(ErrorKind::kArgument, file + ": the run that goes on has another \"" + key + "\": expected " +
                                              (theirs.contains(key) ? theirs[key].dump() : "none") + ", found " +
                                              value.dump());
    for (const auto& [key, value] : theirs.items())
      if (!ours.contains(key))
        throw Error(ErrorKind::kArgument,
                    file + ": the run that goes on has no \"" + key + "\": expected " + value.dump());
  }

  std::string folder_;
  int keep_;
};

}  // namespace facellava::train

// What must be the same for a run to go on from a checkpoint: all that changes its results.
#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "facellava/train/any_model.hpp"
#include "facellava/train/checkpoint.hpp"
#include "facellava/train/run_config.hpp"

namespace facellava::train {

namespace detail {

// Of a file, whatever its dates: its size, and 64 pieces of 4 KiB spread over it, which is all of a small one.
inline std::uint64_t sampled_checksum(const io::MappedFile& file) {
  constexpr std::size_t kPieces = 64, kPiece = 4096;
  const auto bytes = file.bytes();
  if (bytes.size() <= kPieces * kPiece) return checksum(bytes);
  std::vector<std::uint64_t> sums{bytes.size()};
  for (std::size_t i = 0; i < kPieces; ++i)
    sums.push_back(checksum(bytes.subspan((bytes.size() - kPiece) / (kPieces - 1) * i, kPiece)));
  return checksum(std::as_bytes(std::span(sums)));
}

// Of a file, or of a folder's own files with weights, settings and words: of an exported model thousands of samples of
// every file, not all of its bytes, so that a large model is not read twice.
inline std::string sampled_checksum(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code none;
  std::vector<fs::path> files;
  if (fs::is_directory(path, none)) {
    for (const auto& entry : fs::directory_iterator(path, none))
      for (const char* type : {".safetensors", ".bin", ".json", ".model", ".gguf"})
        if (entry.path().extension() == type && entry.is_regular_file(none) && entry.file_size(none) > 0)
          files.push_back(entry.path());
  } else {
    files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files)
    all += file.filename().string() + " " + hexadecimal(sampled_checksum(io::MappedFile(file.string()))) + "\n";
  return hexadecimal(checksum(std::as_bytes(std::span(all))));
}

}  // namespace detail

// The fields of run.json but for those that change no result, and checksums of the files that the run begins with.
// Errors: kFile.
inline nlohmann::json run_identity(const RunConfig& c, const AnyModel& model) {
  nlohmann::json same = c.effective;
  for (const char* key : {"output", "save_every", "keep", "export", "export_format", "feature_cache_mib", "recompute",
                          "loss_chunk", "memory_limit_mib", "prefetch"})
    same.erase(key);
  const io::MappedFile data(c.data, io::Load::kMap);
  same["data checksum"] = detail::hexadecimal(detail::checksum(data.bytes()));
  const std::pair<const char*, const std::string*> begun_with[] = {{"model", &c.model},
                                                                   {"image_tower", &c.image_tower},
                                                                   {"video_tower", &c.video_tower},
                                                                   {"tokenizer", &c.tokenizer},
                                                                   {"adapter", &c.adapter}};
  for (const auto& [key, path] : begun_with)
    if (!path->empty()) same[std::string(key) + " checksum"] = detail::sampled_checksum(*path);
  same["instruction set"] = model.instruction_set();
  return same;
}

}  // namespace facellava::train

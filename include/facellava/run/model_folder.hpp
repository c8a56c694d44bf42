// A model folder in the official layout (config.json, shards, tokenizer.model) and, if the towers live elsewhere, the
// LanguageBind folders; or a GGUF file with a decoder for questions without pictures. Everything that a checkpoint
// needs to be run rightly is read here, never guessed from a name.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>

#include "facellava/io/naming.hpp"
#include "facellava/run/geometry.hpp"
#include "facellava/run/settings.hpp"

namespace facellava::run {

struct FolderOptions {
  std::string path;                                // of a folder or of a .gguf file
  std::string image_tower = {}, video_tower = {};  // LanguageBind folders, if the towers are not in the model's own
  int tower_heads = 0;                             // 0: as a folder says, else unknown
  io::Load load = io::Load::kMap;
};

class ModelFolder {
 public:
  explicit ModelFolder(const FolderOptions& o)
      : path_(o.path),
        file_((std::filesystem::path(o.path) / "config.json").string()),
        config_(io::is_gguf(o.path) ? nlohmann::json() : io::read_json(file_)),
        model_(std::make_shared<io::Checkpoint>(o.path, o.load)) {
    if (const io::Gguf* gguf = model_->gguf()) {
      read_gguf(*gguf, o);
      return;
    }
    if (!o.image_tower.empty()) image_ = std::make_shared<io::Checkpoint>(o.image_tower, o.load);
    if (!o.video_tower.empty()) video_ = std::make_shared<io::Checkpoint>(o.video_tower, o.load);
    read_geometry(o);
    read_settings();
  }

  const std::string& path() const { return path_; }
  const FaceLlavaConfig& geometry() const { return geometry_; }
  const Settings& settings() const { return settings_; }
  const std::shared_ptr<const io::Checkpoint>& model() const { return model_; }
  const std::shared_ptr<const io::Checkpoint>& image_tower() const { return image_; }
  const std::shared_ptr<const io::Checkpoint>& video_tower() const { return video_; }

 private:
  void read_gguf(const io::Gguf& gguf, const FolderOptions& o) {
    if (!o.image_tower.empty() || !o.video_tower.empty())
      throw Error(ErrorKind::kArgument, path_ + ": a GGUF file has no projector for the pictures of a tower");
    geometry_.llama = llama_geometry(gguf);
    settings_ = gguf_settings(gguf, geometry_.llama.vocab);
  }

  void read_geometry(const FolderOptions& o) {
    geometry_.llama = llama_geometry(config_, file_);
    const int select = io::optional<int>(config_, "mm_vision_select_layer", file_).value_or(-2);
    geometry_.image = image_ ? tower_geometry(*image_, "vision_model.", select)
                             : tower_geometry(*model_, "model.image_tower.image_tower.", select);
    geometry_.video = video_ ? tower_geometry(*video_, "vision_model.", select)
                             : tower_geometry(*model_, "model.video_tower.video_tower.", select);
    if (geometry_.image.layers + geometry_.video.layers > 0)
      detail::expect_text(config_, "mm_projector_type", "mlp2x_gelu", file_);
    const std::string feature = io::optional<std::string>(config_, "mm_vision_select_feature", file_).value_or("patch");
    if (feature != "patch" && feature != "cls_patch")
      throw Error(
          ErrorKind::kFormat,
          file_ + ": \"mm_vision_select_feature\": expected \"patch\" or \"cls_patch\", found \"" + feature + "\"");
    if (geometry_.image.layers > 0 && feature == "cls_patch") geometry_.image.output = ClassToken::kFirst;
    if (geometry_.video.layers > 0) geometry_.video.output = ClassToken::kFirst;  // the video tower always keeps it
    set_heads(geometry_.image, o, o.image_tower);
    set_heads(geometry_.video, o, o.video_tower);
    fusion_geometry(config_, file_, geometry_);
  }

  // Heads: as the caller says, else as the tower's own folder, else as "facellava" in config.json, else unknown.
  void set_heads(TowerConfig& t, const FolderOptions& o, const std::string& tower_folder) const {
    if (t.layers == 0) return;
    t.block.heads = o.tower_heads;
    if (t.block.heads > 0) return;
    if (!tower_folder.empty()) {
      const auto file = std::filesystem::path(tower_folder) / "config.json";
      if (std::filesystem::exists(file)) {
        const auto json = io::read_json(file.string());
        const auto vision = io::optional<nlohmann::json>(json, "vision_config", file.string()).value_or(json);
        t.block.heads = detail::optional_positive(vision, "num_attention_heads", file.string()).value_or(0);
      }
    } else if (const auto own = io::optional<nlohmann::json>(config_, "facellava", file_)) {
      t.block.heads = detail::optional_positive(*own, "tower_heads", file_).value_or(0);
    }
  }

  void read_settings() {
    settings_.positions = detail::optional_positive(config_, "max_position_embeddings", file_).value_or(2048);
    check_at_most(kMaxPositions, settings_.positions, file_ + ": \"max_position_embeddings\"", ErrorKind::kFormat);
    if (config_.contains("eos_token_id") && config_["eos_token_id"].is_array())
      settings_.ends = io::require<std::vector<int>>(config_, "eos_token_id", file_);
    else
      settings_.ends = {io::optional<int>(config_, "eos_token_id", file_).value_or(2)};
    if (io::optional<std::string>(config_, "image_aspect_ratio", file_).value_or("") == "pad")
      settings_.training_padding = media::Padding::kSquare;
    const auto own = io::optional<nlohmann::json>(config_, "facellava", file_);
    if (!own) return;
    if (const auto name = io::optional<std::string>(*own, "prompt_template", file_)) try {
        settings_.prompt_template = text::template_from_name(*name);
      } catch (const Error& e) {
        throw Error(e.kind(), file_ + ": " + e.what());
      }
    // Whether the second of two names stands there; the first is the default.
    const auto second = [&](const char* key, const std::string& first, const std::string& other) {
      const std::string found = io::optional<std::string>(*own, key, file_).value_or(first);
      if (found == first || found == other) return found == other;
      throw Error(ErrorKind::kFormat, file_ + ": \"" + key + "\": expected \"" + first + "\" or \"" + other +
                                          "\", found \"" + found + "\"");
    };
    if (second("bos", "start", "after_media")) settings_.bos = text::BosPlacement::kAfterMedia;
    if (second("landmark_normalisation", "by_256", "by_picture"))
      settings_.landmarks = faces::LandmarkNormalisation::kByPicture;
    if (second("crop", "centred", "aligned")) settings_.crop = faces::CropKind::kAligned;
  }

  std::string path_, file_;
  nlohmann::json config_;
  std::shared_ptr<const io::Checkpoint> model_, image_, video_;
  FaceLlavaConfig geometry_;
  Settings settings_;
};

}  // namespace facellava::run

// A model with its weights, opened from a folder: what several sessions share. AnyModel does not name a configuration;
// Model<M, Device> is compiled once per configuration and device.
#pragma once
#include <memory>
#include <tuple>

#include "facellava/io/weights.hpp"
#include "facellava/run/model_folder.hpp"
#include "facellava/run/session.hpp"

namespace facellava::run {

enum class Missing { kRefuse, kAllow };
struct LoadOptions {
  Missing landmarks = Missing::kRefuse;  // a checkpoint without FRLP and FRGCA: published weights
  Missing towers = Missing::kRefuse;     // a checkpoint without its towers: for questions without pictures
  io::Weights::Convert convert = {};
};

class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual const FaceLlavaConfig& config() const = 0;
  virtual LandmarkModules landmark_modules() const = 0;
  // A session of its own; the model must outlive it. Sessions of one model may run on several threads.
  virtual std::unique_ptr<AnySession> open(const SessionOptions&) const = 0;
};

// The leaves that a folder's tensors are bound to.
inline bool is_landmark_leaf(std::string_view name) {
  return name.starts_with("landmarks_projector.") || name.starts_with("global_landmarks_projector.") ||
         name.starts_with("landmarks_cross_attn.");
}
inline bool is_image_tower_leaf(std::string_view name) { return name.starts_with("image_tower."); }
inline bool is_video_tower_leaf(std::string_view name) { return name.starts_with("video_tower."); }

// Names every source of a folder's weights.
inline void add_sources(io::Weights& weights, const ModelFolder& folder) {
  if (folder.image_tower()) weights.add(folder.image_tower(), io::kLanguageBind, is_image_tower_leaf);
  if (folder.video_tower()) weights.add(folder.video_tower(), io::kLanguageBind, is_video_tower_leaf);
  const bool image = folder.image_tower() != nullptr, video = folder.video_tower() != nullptr;
  weights.add(folder.model(), io::kOfficial, [image, video](std::string_view name) {
    return !(image && is_image_tower_leaf(name)) && !(video && is_video_tower_leaf(name));
  });
}

// Tensors of a checkpoint that nothing needs: its own towers when others are given, and what a LanguageBind folder has
// beside the vision tower.
inline bool is_spare(const ModelFolder& folder, std::string_view theirs) {
  if (folder.image_tower() && theirs.starts_with("model.image_tower.")) return true;
  if (folder.video_tower() && theirs.starts_with("model.video_tower.")) return true;
  return (folder.image_tower() || folder.video_tower()) && !theirs.starts_with("model.") &&
         !theirs.starts_with("lm_head.") && !theirs.starts_with("vision_model.");
}

// What a checkpoint holds against what M needs, without judging.
template <class M>
io::Report inspect(const ModelFolder& folder) {
  typename M::template Params<Stored<Host>> params;
  io::Weights weights;
  add_sources(weights, folder);
  io::Report report = weights.bind([&](auto&& f) { M::visit(f, "", params); });
  std::erase_if(report.unexpected, [&](const std::string& name) { return is_spare(folder, name); });
  return report;
}

template <class M, class Device, class... DeviceOptions>
class Model final : public AnyModel {
 public:
  // Strict: every weight is there in its shape, and nothing else, but for what the options allow.
  Model(const ModelFolder& folder, const LoadOptions& o, DeviceOptions... device) : device_(std::move(device)...) {
    add_sources(weights_, folder);
    const auto may_lack = [&](std::string_view name) {
      if (is_landmark_leaf(name)) return o.landmarks == Missing::kAllow;
      return (is_image_tower_leaf(name) || is_video_tower_leaf(name)) && o.towers == Missing::kAllow;
    };
    weights_.bind_strict([&](auto&& f) { M::visit(f, "", params_); }, o.convert, may_lack,
                         [&](std::string_view name) { return is_spare(folder, name); });
    // A part that may be missing is there as a whole or not at all.
    if (absent(is_landmark_leaf, "landmark modules", folder)) landmarks_ = LandmarkModules::kMissing;
    image_missing_ = absent(is_image_tower_leaf, "image tower", folder);
    video_missing_ = absent(is_video_tower_leaf, "video tower", folder);
  }

  const FaceLlavaConfig& config() const override { return M::kConfig; }
  LandmarkModules landmark_modules() const override { return landmarks_; }
  std::unique_ptr<AnySession> open(const SessionOptions& o) const override {
    const LoadedParts loaded{landmarks_, !image_missing_, !video_missing_};
    return std::apply(
        [&](const auto&... device) { return std::make_unique<Session<M, Device>>(params_, loaded, o, device...); },
        device_);
  }

 private:
  bool absent(bool (*is_leaf)(std::string_view), const char* part, const ModelFolder& folder) const {
    std::size_t all = 0, null = 0;
    M::visit(
        [&](const std::string& name, const auto& leaf) {
          if (!is_leaf(name)) return;
          ++all;
          null += leaf.data == nullptr;
        },
        "", params_);
    if (null != 0 && null != all)
      throw Error(ErrorKind::kFormat, folder.path() + ": the " + part + " lacks " + std::to_string(null) + " of its " +
                                          std::to_string(all) + " tensors");
    return all == null;
  }

  typename M::template Params<Stored<Host>> params_;
  io::Weights weights_;
  std::tuple<DeviceOptions...> device_;
  LandmarkModules landmarks_ = M::kLandmarks ? LandmarkModules::kLoaded : LandmarkModules::kMissing;
  bool image_missing_ = false, video_missing_ = false;
};

}  // namespace facellava::run

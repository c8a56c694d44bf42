// A model with its weights, opened from a folder: what several sessions share. AnyModel does not name a configuration;
// Model<M, Device> is compiled once per configuration and device.
#pragma once
#include <memory>
#include <set>
#include <tuple>

#include "facellava/io/weights.hpp"
#include "facellava/run/model_folder.hpp"
#include "facellava/run/session.hpp"

namespace facellava::run {

enum class Missing { kRefuse, kAllow };
struct LoadOptions {
  Missing landmarks = Missing::kRefuse;  // a checkpoint without FRLP and FRGCA: published weights
  Missing towers = Missing::kRefuse;     // a checkpoint without its towers: for questions without pictures
  io::Weights::Convert convert = io::Weights::Convert::kKeep;
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

template <class M, class Device, class... DeviceOptions>
class Model final : public AnyModel {
 public:
  // Strict: every weight is there in its shape, and nothing else, but for what the options allow.
  Model(const ModelFolder& folder, const LoadOptions& o, DeviceOptions... device) : device_(std::move(device)...) {
    add_sources(weights_, folder);
    const auto may_lack = [&](std::string_view name) {
      if (is_landmark_leaf(name)) return o.landmarks == Missing::kAllow;
      if (is_image_tower_leaf(name) || is_video_tower_leaf(name)) return o.towers == Missing::kAllow;
      return false;
    };
    std::set<std::string> absent;
    weights_.bind_strict([&](auto&& f) { M::visit(f, "", params_); }, o.convert, may_lack);
    M::visit([&](const std::string& name, const auto& leaf) { note_absent(name, leaf.data == nullptr); }, "", params_);
  }

  const FaceLlavaConfig& config() const override { return M::kConfig; }
  LandmarkModules landmark_modules() const override { return landmarks_; }
  std::unique_ptr<AnySession> open(const SessionOptions& o) const override {
    return std::apply(
        [&](const auto&... device) { return std::make_unique<Session<M, Device>>(params_, parts(), o, device...); },
        device_);
  }

 private:
  typename M::template Params<Stored<Host>> params_;
  io::Weights weights_;
  std::tuple<DeviceOptions...> device_;
  LandmarkModules landmarks_ = M::kLandmarks ? LandmarkModules::kLoaded : LandmarkModules::kMissing;
};

}  // namespace facellava::run

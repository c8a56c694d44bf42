// A model with its weights, opened from a folder: what several sessions share. AnyModel does not name a configuration;
// Model<M, Device, Kv> is compiled once per configuration, device and element of the kept keys and values (float,
// bf16).
#pragma once
#include <functional>
#include <memory>

#include "facellava/io/weights.hpp"
#include "facellava/run/model_folder.hpp"
#include "facellava/run/session.hpp"
#include "facellava/run/weight_count.hpp"

namespace facellava::run {

enum class Missing { kRefuse, kAllow };
struct LoadOptions {
  Missing landmarks = Missing::kRefuse;  // a checkpoint without FRLP and FRGCA: published weights
  Missing towers = Missing::kRefuse;     // a checkpoint without its towers: for questions without pictures
  io::Weights::Convert convert = {};
  Services services = {};  // memory_limit: of the weights
};

class AnyModel {
 public:
  virtual ~AnyModel() = default;
  virtual const FaceLlavaConfig& config() const = 0;
  virtual LandmarkModules landmark_modules() const = 0;
  // A session of its own; the model must outlive it. Sessions of one model may run on several threads.
  virtual std::unique_ptr<AnySession> open(const SessionOptions&) const = 0;
  // The memory of the weights and of a session that does this work; nothing is taken.
  virtual MemoryPlan plan(const SessionOptions&, const Workload&) const = 0;
};

// The leaves that a folder's tensors are bound to.
inline bool is_landmark_leaf(std::string_view name) { return part_of(name) == Part::kLandmarks; }
inline bool is_image_tower_leaf(std::string_view name) { return part_of(name) == Part::kImageTower; }
inline bool is_video_tower_leaf(std::string_view name) { return part_of(name) == Part::kVideoTower; }

// Calls add(checkpoint, rules, serves, head_dim) for every source of a folder's weights, as io::Weights::add takes
// them.
void each_source(const ModelFolder& folder, auto&& add) {
  using Serves = io::Weights::Predicate;
  if (folder.image_tower()) add(folder.image_tower(), std::span(io::kLanguageBind), Serves(is_image_tower_leaf), 0);
  if (folder.video_tower()) add(folder.video_tower(), std::span(io::kLanguageBind), Serves(is_video_tower_leaf), 0);
  const bool image = folder.image_tower() != nullptr, video = folder.video_tower() != nullptr;
  if (folder.model()->gguf())
    return add(folder.model(), std::span(io::kGguf), Serves([](std::string_view) { return true; }),
               folder.geometry().llama.block.head_dim);
  add(folder.model(), std::span(io::kOfficial), Serves([image, video](std::string_view name) {
        return !(image && is_image_tower_leaf(name)) && !(video && is_video_tower_leaf(name));
      }),
      0);
}
inline void add_sources(io::Weights& weights, const ModelFolder& folder) {
  each_source(folder, [&](const auto& checkpoint, std::span<const io::Rename> rules, auto serves, Index head_dim) {
    weights.add(checkpoint, rules, serves, head_dim);
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
  io::Report report = weights.bind(leaves_of<M>(params));
  std::erase_if(report.unexpected, [&](const std::string& name) { return is_spare(folder, name); });
  return report;
}

template <class M>
using StoredParams = typename M::template Params<Stored<Host>>;

// Strict: every weight is there in its shape, and nothing else, but for what the options allow.
inline io::Report bind_strict(std::span<const NamedLeaf> leaves, io::Weights& weights, const ModelFolder& folder,
                              const LoadOptions& o) {
  add_sources(weights, folder);
  const auto may_lack = [&](std::string_view name) {
    if (is_landmark_leaf(name)) return o.landmarks == Missing::kAllow;
    return (is_image_tower_leaf(name) || is_video_tower_leaf(name)) && o.towers == Missing::kAllow;
  };
  return weights.bind_strict(leaves, o.convert, may_lack,
                             [&](std::string_view name) { return is_spare(folder, name); });
}

// The weights where a device reads them: in place, or copied into its own memory.
template <class M, class Device, class Space = typename Device::Space>
class Resident {
 public:
  template <class... DeviceOptions>
  void take(const StoredParams<M>& hosts, const DeviceOptions&... device) {
    Device dev(device...);
    memory_.template upload<M>(dev, params_, hosts);
  }
  const auto& params(const StoredParams<M>&) const { return params_; }

 private:
  typename Device::Weights memory_;
  typename M::template Params<Stored<Space>> params_;
};
template <class M, class Device>
class Resident<M, Device, Host> {
 public:
  void take(const StoredParams<M>&, const auto&...) {}
  const StoredParams<M>& params(const StoredParams<M>& hosts) const { return hosts; }
};

// The weights of a folder by part and format, as they will be when loaded so.
template <class M>
std::vector<WeightBytes> planned_weights(const ModelFolder& folder, const LoadOptions& o) {
  WeightCount count(o.convert);
  each_source(folder, [&](const auto& checkpoint, auto rules, auto serves, Index) {
    count.add(checkpoint->tensors(), rules, serves);
  });
  StoredParams<M> params;
  for (const NamedLeaf& l : leaves_of<M>(params)) count.count(l);
  return count.result();
}

// The plan of work with a model that is not loaded: with the weights of planned_weights(), or of all_weights().
template <class M, class Device, class Kv = float, class... DeviceOptions>
MemoryPlan plan_memory(std::span<const WeightBytes> weights, const SessionOptions& o, const Workload& work,
                       const DeviceOptions&... device) {
  const Device dev(device...);
  MemoryPlan plan = SessionMemory<M, typename Device::Space, Kv>::plan(dev, o, work);
  add_weights(plan, weights, work);
  return plan;
}

template <class M, class Device, class Kv = float>
class Model final : public AnyModel {
 public:
  // Strict, as bind_strict. device: what each session's own device is made from; it is copied. Errors: kFormat;
  // kCapacity (weights beyond the limit, memory that is not granted).
  template <class... DeviceOptions>
  Model(const ModelFolder& folder, const LoadOptions& o, const DeviceOptions&... device)
      : open_([device...](const Model& m, const SessionOptions& s) -> std::unique_ptr<AnySession> {
          return std::make_unique<Session<M, Device, Stored<Space>, Kv>>(m.resident_.params(m.params_), m.loaded_, s,
                                                                         device...);
        }),
        plan_([device...](const Model& m, const SessionOptions& s, const Workload& work) {
          return plan_memory<M, Device, Kv>(m.loaded_.weights, s, work, device...);
        }),
        weights_(o.services.memory) {
    loaded_.leaves = leaves_;
    loaded_.weights = planned_weights<M>(folder, o);
    MemoryPlan plan;
    plan.weights = loaded_.weights;
    check_fits(plan, o.services.memory_limit, folder.path());
    const io::Report report = bind_strict(leaves_, weights_, folder, o);
    o.services.tell(LogLevel::kInfo,
                    folder.path() + ": " + std::to_string(report.bound.size()) + " tensors\n" + plan.text());
    // A part that may be missing is there as a whole or not at all.
    const auto missing = [&](bool (*is_leaf)(std::string_view), const char* part) {
      const bool all = absent(is_leaf, part, folder);
      if (all) o.services.tell(LogLevel::kWarning, folder.path() + ": without its " + part);
      return all;
    };
    if (!M::kLandmarks || missing(is_landmark_leaf, "landmark modules")) loaded_.landmarks = LandmarkModules::kMissing;
    loaded_.image_tower = M::kImage && !missing(is_image_tower_leaf, "image tower");
    loaded_.video_tower = M::kVideo && !missing(is_video_tower_leaf, "video tower");
    resident_.take(params_, device...);
  }

  Model(const Model&) = delete;  // its leaves point into it
  Model& operator=(const Model&) = delete;

  const FaceLlavaConfig& config() const override { return M::kConfig; }
  LandmarkModules landmark_modules() const override { return loaded_.landmarks; }
  std::unique_ptr<AnySession> open(const SessionOptions& o) const override { return open_(*this, o); }
  MemoryPlan plan(const SessionOptions& o, const Workload& work) const override { return plan_(*this, o, work); }

 private:
  using Space = typename Device::Space;

  bool absent(bool (*is_leaf)(std::string_view), const char* part, const ModelFolder& folder) const {
    std::size_t all = 0, null = 0;
    for (const NamedLeaf& l : leaves_) {
      if (!is_leaf(l.name)) continue;
      ++all;
      null += !l.leaf.is_bound();
    }
    if (null != 0 && null != all)
      throw Error(ErrorKind::kFormat, folder.path() + ": the " + part + " lacks " + std::to_string(null) + " of its " +
                                          std::to_string(all) + " tensors");
    return all == null;
  }

  std::function<std::unique_ptr<AnySession>(const Model&, const SessionOptions&)> open_;
  std::function<MemoryPlan(const Model&, const SessionOptions&, const Workload&)> plan_;
  StoredParams<M> params_;
  const std::vector<NamedLeaf> leaves_ = leaves_of<M>(params_);
  io::Weights weights_;
  Resident<M, Device> resident_;
  LoadedParts loaded_;
};

}  // namespace facellava::run

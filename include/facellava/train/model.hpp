// Forward and backward of one compiled model over a batch; compiled once per configuration and device, whatever a run
// trains. Towers are frozen.
#pragma once
#include <numeric>
#include <utility>

#include "facellava/models/face_llava.hpp"
#include "facellava/run/finite.hpp"
#include "facellava/train/any_model.hpp"
#include "facellava/train/model_memory.hpp"

namespace facellava::train {

template <class M, class Device>
class Model final : public AnyModel {
  struct WeightPolicy {
    using Towers = Stored<Host>;
    using Projector = Trainable<Host>;
    using Landmarks = Trainable<Host>;
    using Text = Trainable<Host>;
  };
  struct GradientPolicy {
    using Towers = Absent;
    using Projector = Gradients<Host>;
    using Landmarks = Gradients<Host>;
    using Text = Gradients<Host>;
  };
  using A = Act<float, Host>;
  using Text = typename M::Text;
  static constexpr int kDim = M::kDim;
  using Space = ModelMemory<M>;
  using Memory = typename Space::Pass;
  using Visual = Tensor<A, kDyn, kDim>;
  template <TowerConfig T>
  using Path = typename M::template Vision<T>;

 public:
  // device: what the model's own device is made from. Errors: as Parameters.
  template <class... DeviceOptions>
  Model(const run::ModelFolder& folder, const ParameterOptions& p, const ModelOptions& o,
        const DeviceOptions&... device)
      : options_(o),
        dev_(device...),
        parameters_(slots(p_, g_), folder, p),
        towers_(p.memory),
        vision_(p.memory),
        memory_(p.memory) {}

  // What a run takes on batches of these sizes; folder gives no more than its headers. Errors: as Parameters::count;
  // kArgument (no tower for a medium).
  template <class... DeviceOptions>
  static MemoryPlan plan(const run::ModelFolder& folder, const ParameterOptions& p, const ModelOptions& o,
                         const TrainingWork& work, const DeviceOptions&... device) {
    const auto w = std::make_unique<typename M::template PartParams<WeightPolicy>>();
    const auto g = std::make_unique<typename M::template PartParams<GradientPolicy>>();
    return Space::plan(folder, Parameters::count(slots(*w, *g), p), p, o, work, Device(device...));
  }

  const FaceLlavaConfig& config() const override { return M::kConfig; }
  Parameters& parameters() override { return parameters_; }
  std::vector<io::TensorInfo> tensors() const override { return run::official_tensors<M>(); }

  Features encode(const run::MediumInput& m) override {
    Features out;
    const auto with = [&]<TowerConfig T>(const auto& tower) {
      typename Tower<T>::template Cache<A> cache;
      const Index frames = T.block.frames, rows = frames * T.features();
      towers_.carve([&](Arena& a) { Tower<T>::carve(a, cache, frames); });
      check_equal(frames * 3 * T.side * T.side, Index(m.pixels.size()), "pixels of a medium", ErrorKind::kArgument);
      const View<const float, Host, kDyn, 3 * T.side * T.side> pixels(m.pixels.data(), frames);
      const TowerRows at(T, 1);
      Tower<T>::forward(dev_, cache, pixels, tower, at.layout(), [&](int k, auto x) { check_finite(x, "tower", k); });
      auto values = std::make_shared<std::vector<float>>(std::size_t(rows * T.block.dim));
      gather_rows(dev_, Tensor<A, kDyn, T.block.dim>(values->data(), rows), cache.x, at.layout().selected);
      out = std::move(values);
    };
    if (m.kind == text::Medium::kVideo) {
      if constexpr (M::kVideo) with.template operator()<M::kConfig.video>(p_.video_tower);
    } else {
      if constexpr (M::kImage) with.template operator()<M::kConfig.image>(p_.image_tower);
    }
    if (!out) throw Error(ErrorKind::kArgument, "the model has no tower for a medium of this batch");
    return out;
  }

  double backward(const Batch& b, double weight) override {
    const BatchRows& r = b.rows;
    std::vector<int> slots(r.ids.size()), index, labels;
    std::iota(slots.begin(), slots.end(), 0);
    for (std::size_t i = 0; i < r.targets.size(); ++i)
      if (r.targets[i] != text::kIgnored) {
        index.push_back(int(i));
        labels.push_back(r.targets[i]);
      }
    if (index.empty()) throw Error(ErrorKind::kArgument, "a batch: expected something to learn, found nothing");
    std::vector<std::vector<Index>> frames;
    Groups groups = stack(b, frames);
    const std::vector<int> splice = splice_of(b, groups, frames);
    const Layout<Host> at{view(r.sequences), view(r.ranges), view(r.positions), view(slots)};
    Memory m = carve(r, groups[3].first + groups[3].frames * tower_of(3).features(), Index(index.size()));

    see(groups, m.visual);
    M::embed_rows(dev_, m.text.x[0], view(r.ids), m.visual, view(splice), p_);
    Text::forward_training(dev_, m.hidden, m.text, m.table, p_.llama, at,
                           [&](int k, auto x) { check_finite(x, "decoder", k); });
    check_finite(m.hidden, "decoder, final norm", M::kConfig.llama.layers);
    Text::loss(dev_, m.nll, m.dhidden, g_.llama, m.loss, m.hidden, view(index), view(labels),
               float(weight / double(index.size())), p_.llama);
    Text::backward(dev_, m.dx, g_.llama, m.dhidden, m.text, m.table, p_.llama, at,
                   [&](int k, auto d) { check_finite(d, "gradient of the decoder", k); });
    M::embed_rows_backward(dev_, m.dvisual, g_, m.dx, view(r.ids), view(splice));
    see_backward(groups, m.dvisual);
    return std::accumulate(m.nll.data, m.nll.data + m.nll.rows(), 0.0) / double(m.nll.rows());
  }
  void zero_gradients() override { train::zero_gradients(dev_, parameters_); }
  double gradient_norm() override { return train::gradient_norm(dev_, parameters_); }
  void update(const OptimizerOptions& o, double rate, double scale, int step) override {
    train::update(dev_, parameters_, o, rate, scale, step);
  }
  void add_product(Values w, const Adapter& a, double sign) override {
    const Index rank = a.a.rows();
    std::vector<float> turned(std::size_t(a.a.count()));
    for (Index k = 0; k < rank; ++k)
      for (Index c = 0; c < a.a.size(1); ++c)
        turned[std::size_t(c * rank + k)] = float(sign * double(a.scale)) * a.a(k, c);
    linear(dev_, w, a.b, Values(turned.data(), a.a.size(1), rank), None{}, w);
  }

 private:
  // The media of a batch that go through the same modules: of one kind, with landmarks or without.
  struct Group {
    Index first = 0, frames = 0;  // row of its first visual token
    std::vector<float> features, points;
  };
  using Groups = std::array<Group, 4>;

  static std::vector<Slot> slots(auto& p, auto& g) {
    std::vector<Slot> all;
    M::visit([&](const std::string& name, auto& w, auto& dw) { all.push_back(slot_of(name, w, dw)); }, "", p, g);
    return all;
  }

  template <class T>
  static View<const T, Host, kDyn> view(const std::vector<T>& v) {
    return View<const T, Host, kDyn>(v.data(), Index(v.size()));
  }
  static std::size_t group_of(const Batch::Medium& m) {
    return std::size_t(m.kind == text::Medium::kVideo) * 2 + m.points.empty();
  }
  static constexpr const TowerConfig& tower_of(std::size_t group) {
    return group < 2 ? M::kConfig.image : M::kConfig.video;
  }

  // Stacks the media of each group; frames[s][m]: those before medium m of sample s in its group.
  static Groups stack(const Batch& b, std::vector<std::vector<Index>>& frames) {
    Groups groups;
    frames.resize(b.media.size());
    for (std::size_t s = 0; s < b.media.size(); ++s)
      for (const Batch::Medium& m : b.media[s]) {
        Group& g = groups[group_of(m)];
        const TowerConfig& t = tower_of(group_of(m));
        check_equal(Index(t.block.frames) * t.features() * t.block.dim, m.features->size(), "features of a medium");
        if (!m.points.empty()) check_equal(t.block.frames * 2 * kPoints, m.points.size(), "points of a medium");
        frames[s].push_back(g.frames);
        g.frames += t.block.frames;
        g.features.insert(g.features.end(), m.features->begin(), m.features->end());
        g.points.insert(g.points.end(), m.points.begin(), m.points.end());
      }
    for (std::size_t i = 1; i < 4; ++i)
      groups[i].first = groups[i - 1].first + groups[i - 1].frames * tower_of(i - 1).features();
    return groups;
  }
  // For every row of the batch its visual row, or −1.
  static std::vector<int> splice_of(const Batch& b, const Groups& groups,
                                    const std::vector<std::vector<Index>>& frames) {
    std::vector<int> splice(b.rows.ids.size(), -1);
    for (const VisualRows& v : b.rows.visual) {
      const std::size_t group = group_of(b.media[v.sample][v.medium]);
      const Index features = tower_of(group).features();
      check_equal(features, v.count, "rows of a frame");
      const Index row = groups[group].first + (frames[v.sample][v.medium] + v.frame) * features;
      std::iota(splice.begin() + v.first, splice.begin() + v.first + v.count, int(row));
    }
    return splice;
  }

  // f<T>(eye, group, 0 with landmarks or 1 without, features, points or None) for the groups that have media.
  void each_group(Groups& groups, auto&& f) {
    const auto with = [&]<TowerConfig T>(auto& eye, std::size_t i) {
      Group& g = groups[i];
      const Tensor<A, kDyn, T.block.dim> features(g.features.data(), g.frames * T.features());
      if (i % 2 == 0)
        f.template operator()<T>(eye, g, 0, features, Tensor<A, kDyn, 2 * kPoints>(g.points.data(), g.frames));
      else
        f.template operator()<T>(eye, g, 1, features, None{});
    };
    for (std::size_t i = 0; i < 4; ++i) {
      if (groups[i].frames == 0) continue;
      if constexpr (M::kImage)
        if (i < 2) with.template operator()<M::kConfig.image>(image_, i);
      if constexpr (M::kVideo)
        if (i >= 2) with.template operator()<M::kConfig.video>(video_, i);
    }
  }
  void see(Groups& groups, Visual visual) {
    vision_.carve([&](Arena& a) {
      each_group(groups, [&]<TowerConfig T>(auto& eye, Group& g, int k, auto, auto) { eye.carve(a, k, g.frames); });
    });
    each_group(groups, [&]<TowerConfig T>(auto& eye, Group& g, int k, auto features, auto points) {
      Path<T>::forward_training(dev_, rows(visual, g.first, features.rows()), eye.cache[k], features, points, p_);
    });
    check_finite(visual, "visual tokens", 0);
  }
  void see_backward(Groups& groups, Visual dvisual) {
    each_group(groups, [&]<TowerConfig T>(auto& eye, Group& g, int k, auto features, auto points) {
      Path<T>::backward(dev_, None{}, g_, rows(dvisual, g.first, features.rows()), eye.d[k], eye.cache[k], features,
                        points, p_);
    });
  }

  Memory carve(const BatchRows& r, Index visual_rows, Index supervised) {
    Memory m;
    const Index positions = 1 + *std::max_element(r.positions.begin(), r.positions.end());
    const BatchShape shape{Index(r.ids.size()), supervised, positions};
    memory_.carve([&](Arena& a) { Memory::carve(a, m, shape, visual_rows, options_); });
    Text::fill_table(m.table);
    return m;
  }

  // Error kNonFinite. k: after how many layers.
  void check_finite(auto x, const char* part, int k) {
    const Index row = run::first_row_not_finite(x);
    if (row < 0) return;
    std::vector<NamedLeaf> leaves;
    for (const Slot& s : parameters_.slots()) leaves.push_back({s.name, s.weight});
    throw Error(ErrorKind::kNonFinite, std::string("a value that is not finite: ") + part + ", after " +
                                           std::to_string(k) + " layers, row " + std::to_string(row) +
                                           run::culprit(leaves));
  }

  ModelOptions options_;
  Device dev_;
  typename M::template PartParams<WeightPolicy> p_;
  typename M::template PartParams<GradientPolicy> g_;
  Parameters parameters_;
  Workspace towers_, vision_, memory_;
  std::conditional_t<M::kImage, typename Space::ImageEye, None> image_;
  std::conditional_t<M::kVideo, typename Space::VideoEye, None> video_;
};

}  // namespace facellava::train

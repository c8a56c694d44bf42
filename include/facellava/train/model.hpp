// Forward and backward of one compiled model over a batch; compiled once per configuration and device, whatever a run
// trains.
#pragma once
#include <numeric>
#include <utility>

#include "facellava/models/face_llava.hpp"
#include "facellava/run/finite.hpp"
#include "facellava/train/any_model.hpp"
#include "facellava/train/media_groups.hpp"
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
    using Towers = Gradients<Host>;
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
  template <TowerConfig T>
  using TowerFeatures = Tensor<A, kDyn, T.block.dim>;  // [frames · features, dim]

 public:
  // device: what the model's own device is made from. Errors: as Parameters.
  template <class... DeviceOptions>
  Model(const run::ModelFolder& folder, const ParameterOptions& p, const ModelOptions& o,
        const DeviceOptions&... device)
      : options_(o),
        dev_(device...),
        heads_(p.heads, M::kTowerDim, Space::tower_of(p.head_tower).patches(), p.memory),
        parameters_(slots(p_, g_, heads_), folder, p),
        towers_(p.memory),
        vision_(p.memory),
        memory_(p.memory) {
    const TowerConfig read = Space::tower_of(p.head_tower);
    if (!heads_.empty() && read.layers == 0)
      throw Error(ErrorKind::kArgument, "heads: expected a tower that they read, found none in this model");
    if (heads_.reads(Pooling::kClassToken) && read.output != ClassToken::kFirst)
      throw Error(ErrorKind::kArgument, "heads: expected a tower whose features keep the class token, found another");
  }

  // What a run takes on batches of these sizes; folder gives no more than its headers. Errors: as Parameters::count;
  // kArgument (no tower for a medium).
  template <class... DeviceOptions>
  static MemoryPlan plan(const run::ModelFolder& folder, const ParameterOptions& p, const ModelOptions& o,
                         const TrainingWork& work, const DeviceOptions&... device) {
    const auto w = std::make_unique<typename M::template PartParams<WeightPolicy>>();
    const auto g = std::make_unique<typename M::template PartParams<GradientPolicy>>();
    HeadLosses heads(p.heads, M::kTowerDim, Space::tower_of(p.head_tower).patches(), p.memory);
    return Space::plan(folder, Parameters::count(slots(*w, *g, heads), p), p, o, work, Device(device...));
  }

  const FaceLlavaConfig& config() const override { return M::kConfig; }
  Parameters& parameters() override { return parameters_; }
  std::vector<io::TensorInfo> tensors() const override { return run::official_tensors<M>(); }
  std::string instruction_set() const override { return dev_.instruction_set(); }

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
      gather_rows(dev_, TowerFeatures<T>(values->data(), rows), cache.x, at.layout().selected);
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
    MediaGroups groups(M::kConfig, b, parameters_);
    look(groups);
    losses_.tokens = b.rows.ids.empty() ? 0 : learn_text(b, groups, weight);
    const double loss = losses_.tokens + learn_labels(b, groups, weight);
    losses_.heads = heads_.losses();
    look_backward(groups);
    return loss;
  }
  const Losses& losses() const override { return losses_; }
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
  // What a tower has and does not use has no gradient.
  static bool is_used(std::string_view name) {
    const run::Part part = run::part_of(name);
    if (part != run::Part::kImageTower && part != run::Part::kVideoTower) return true;
    if (name.find(".post_layernorm.") != std::string_view::npos) return false;
    constexpr std::string_view kLayers = ".encoder.layers.";
    const auto at = name.find(kLayers);
    if (at == std::string_view::npos) return true;
    const TowerConfig& t = part == run::Part::kImageTower ? M::kConfig.image : M::kConfig.video;
    return std::stoi(std::string(name.substr(at + kLayers.size()))) < t.run_layers;
  }
  static std::vector<Slot> slots(auto& p, auto& g, HeadLosses& heads) {
    std::vector<Slot> all;
    M::visit(
        [&](const std::string& name, auto& w, auto& dw) {
          all.push_back(slot_of(name, w, dw));
          if (!is_used(name)) all.back().gradient = nullptr;
        },
        "", p, g);
    heads.add_slots(all);
    return all;
  }

  template <class T>
  static View<const T, Host, kDyn> view(const std::vector<T>& v) {
    return View<const T, Host, kDyn>(v.data(), Index(v.size()));
  }

  // f<T>(eye, group, its number) for the groups that have media; the number's last bit: without landmarks.
  void each_eye(MediaGroups& groups, auto&& f) {
    for (std::size_t i = 0; i < MediaGroups::kCount; ++i) {
      if (groups[i].frames == 0) continue;
      if constexpr (M::kImage)
        if (i < 2) f.template operator()<M::kConfig.image>(image_, groups[i], i);
      if constexpr (M::kVideo)
        if (i >= 2) f.template operator()<M::kConfig.video>(video_, groups[i], i);
    }
  }
  // f<T>(eye, group, 0 with landmarks or 1 without, points or None).
  void each_group(MediaGroups& groups, auto&& f) {
    each_eye(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, std::size_t i) {
      if (i % 2 == 0)
        f.template operator()<T>(eye, g, 0, Tensor<A, kDyn, 2 * kPoints>(g.points.data(), g.frames));
      else
        f.template operator()<T>(eye, g, 1, None{});
    });
  }

  bool trains_tower(std::size_t group) const {
    return parameters_.trains(group < 2 ? run::Part::kImageTower : run::Part::kVideoTower);
  }
  // The features of every group: those that are kept, or what its tower, which is trained, says now.
  void look(MediaGroups& groups) {
    each_eye(groups, [&]<TowerConfig T>(auto&, MediaGroup& g, std::size_t i) {
      g.seen = g.features.data();
      if (trains_tower(i)) g.rows.emplace(T, g.frames / T.block.frames);
    });
    towers_.carve([&](Arena& a) {
      each_eye(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, std::size_t i) {
        if (!g.rows) return;
        TowerFeatures<T> seen, dseen;
        eye.carve_tower(a, int(i % 2), g.frames, options_.keep, seen, dseen);
        g.seen = seen.data;
        g.dseen = dseen.data;
      });
    });
    each_eye(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, std::size_t i) {
      if (!g.rows) return;
      const View<const float, Host, kDyn, 3 * T.side * T.side> pixels(g.pixels.data(), g.frames);
      const auto at = g.rows->layout();
      Tower<T>::forward_training(dev_, eye.tower[i % 2], pixels, tower<T>(p_), at);
      gather_rows(dev_, g.template features_of<T>(), eye.tower[i % 2].x.back(), at.selected);
      fill(dev_, g.template gradient_of<T>(), 0);
      check_finite(g.template features_of<T>(), "tower", T.run_layers);
    });
  }
  void look_backward(MediaGroups& groups) {
    each_eye(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, std::size_t i) {
      if (!g.rows) return;
      const auto at = g.rows->layout();
      auto& dx = eye.dx[i % 2];
      fill(dev_, dx, 0);
      scatter_add_rows(dev_, dx, TowerFeatures<T>(g.dseen, g.frames * T.features()), at.selected);
      Tower<T>::backward(dev_, dx, tower<T>(g_), eye.tower[i % 2], tower<T>(p_), at);
    });
  }
  template <TowerConfig T>
  static auto& tower(auto& p) {
    if constexpr (T.block.frames > 1)
      return p.video_tower;
    else
      return p.image_tower;
  }

  void see(MediaGroups& groups, Visual visual) {
    vision_.carve([&](Arena& a) {
      each_eye(groups,
               [&]<TowerConfig T>(auto& eye, MediaGroup& g, std::size_t i) { eye.carve(a, int(i % 2), g.frames); });
    });
    each_group(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, int k, auto points) {
      const auto features = g.template features_of<T>();
      Path<T>::forward_training(dev_, rows(visual, g.first, features.rows()), eye.cache[k], features, points, p_);
    });
    check_finite(visual, "visual tokens", 0);
  }
  void see_backward(MediaGroups& groups, Visual dvisual) {
    each_group(groups, [&]<TowerConfig T>(auto& eye, MediaGroup& g, int k, auto points) {
      const auto features = g.template features_of<T>();
      Path<T>::backward(dev_, g.template gradient_of<T>(), g_, rows(dvisual, g.first, features.rows()), eye.d[k],
                        eye.cache[k], features, points, p_);
    });
  }

  // The loss of the supervised rows.
  double learn_text(const Batch& b, MediaGroups& groups, double weight) {
    const BatchRows& r = b.rows;
    std::vector<int> slots(r.ids.size()), index, labels;
    std::iota(slots.begin(), slots.end(), 0);
    for (std::size_t i = 0; i < r.targets.size(); ++i)
      if (r.targets[i] != text::kIgnored) {
        index.push_back(int(i));
        labels.push_back(r.targets[i]);
      }
    if (index.empty()) throw Error(ErrorKind::kArgument, "a batch: expected something to learn, found nothing");
    const std::vector<int> splice = groups.splice(b);
    const Layout<Host> at{view(r.sequences), view(r.ranges), view(r.positions), view(slots)};
    Memory m = carve(r, groups.visual_rows(), Index(index.size()));

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

  std::size_t first_group_of_heads() const { return parameters_.options().head_tower == text::Medium::kVideo ? 2 : 0; }
  // The loss of the heads, on the samples with one medium of their tower's kind, group by group.
  double learn_labels(const Batch& b, MediaGroups& groups, double weight) {
    heads_.clear();
    std::vector<std::vector<float>> targets;
    std::array<std::vector<Index>, MediaGroups::kCount> media;  // of each group the first frames
    for (std::size_t g = first_group_of_heads(); g < first_group_of_heads() + 2 && !heads_.empty(); ++g)
      for (std::size_t s = 0; s < b.media.size(); ++s) {
        if (b.media[s].size() != 1 || MediaGroups::group_of(b.media[s][0]) != g) continue;
        media[g].push_back(groups.before(s, 0));
        targets.push_back(b.targets.at(s));
      }
    if (targets.empty()) return 0;
    heads_.carve(Index(targets.size()));
    each_pool(groups, media, [&]<TowerConfig T>(MediaGroup& g, Pooling p, Index first, Index n, auto index) {
      mean_rows(dev_, means<T>(heads_.pooled(p), p, first, n), g.template features_of<T>(), index);
    });
    const double loss = heads_.learn(dev_, targets, weight);
    each_pool(groups, media, [&]<TowerConfig T>(MediaGroup& g, Pooling p, Index first, Index n, auto index) {
      mean_rows_backward(dev_, g.template gradient_of<T>(), means<T>(heads_.dpooled(p), p, first, n), index);
    });
    return loss;
  }
  // The means that n rows of what is pooled consist of, a row each.
  template <TowerConfig T>
  static Values means(Values pooled, Pooling p, Index first, Index n) {
    return Values(pooled.row(first), p == Pooling::kGrid ? n * T.patches() : n, M::kTowerDim);
  }
  // The rows of a frame that mean i of a pooling is of: the first, and how many.
  template <TowerConfig T>
  static std::pair<int, int> rows_of_mean(Pooling p, int i) {
    constexpr int kToken = T.features() - T.patches();
    if (p == Pooling::kClassToken) return {0, 1};
    return p == Pooling::kGrid ? std::pair(kToken + i, 1) : std::pair(kToken, T.patches());
  }
  // f<T>(group, pooling, rows of what is pooled: the first and how many, the rows of the features behind them).
  void each_pool(MediaGroups& groups, const std::array<std::vector<Index>, MediaGroups::kCount>& media, auto&& f) {
    Index first = 0;
    each_eye(groups, [&]<TowerConfig T>(auto&, MediaGroup& g, std::size_t i) {
      const auto n = Index(media[i].size());
      for (const Pooling p : {Pooling::kPatches, Pooling::kClassToken, Pooling::kGrid}) {
        if (n == 0 || !heads_.reads(p)) continue;
        std::vector<int> index;
        for (const Index frame : media[i])
          for (int mean = 0; mean < (p == Pooling::kGrid ? T.patches() : 1); ++mean) {
            const auto [row, count] = rows_of_mean<T>(p, mean);
            for (Index k = frame; k < frame + T.block.frames; ++k)
              for (int r = row; r < row + count; ++r) index.push_back(int(k) * T.features() + r);
          }
        f.template operator()<T>(g, p, first, n, view(index));
      }
      first += n;
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
  HeadLosses heads_;
  Parameters parameters_;
  Losses losses_;
  Workspace towers_, vision_, memory_;
  std::conditional_t<M::kImage, typename Space::ImageEye, None> image_;
  std::conditional_t<M::kVideo, typename Space::VideoEye, None> video_;
};

}  // namespace facellava::train

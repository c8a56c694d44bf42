// What train::Model carves out of its memory, and the plan of it: the same functions on an arena without a slab.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "facellava/models/face_llava.hpp"
#include "facellava/train/head_losses.hpp"
#include "facellava/train/memory_plan.hpp"
#include "facellava/train/parameters.hpp"

namespace facellava::train {

struct ModelOptions {
  Keep keep = Keep::kInputs;  // changes memory and time, not results
  Index loss_chunk = 256;     // supervised rows whose logits are there at a time
};

template <class M>
struct ModelMemory {
  using A = Act<float, Host>;
  using Text = typename M::Text;
  static constexpr int kDim = M::kDim;
  template <TowerConfig T>
  using Path = typename M::template Vision<T>;
  static constexpr TowerConfig tower_of(text::Medium m) {
    return m == text::Medium::kVideo ? M::kConfig.video : M::kConfig.image;
  }

  // From the pixels, where the tower is trained, or its features to visual tokens; [0]: with landmarks, [1]: without.
  template <TowerConfig T>
  struct Eye {
    using Features = Tensor<A, kDyn, T.block.dim>;
    typename Path<T>::template Training<A> cache[2], d[2];
    typename Tower<T>::template Training<A> tower[2];
    Features dx[2];  // the gradient of the tower's last output

    void carve_tower(Arena& a, int k, Index frames, Keep keep, Features& seen, Features& dseen) {
      Tower<T>::carve_training(a, tower[k], frames, keep);
      a.take(dx[k], frames * T.tokens());
      for (auto* t : {&seen, &dseen}) a.take(*t, frames * T.features());
    }
    void carve(Arena& a, int k, Index frames) {
      for (auto* c : {&cache[k], &d[k]}) Path<T>::carve_training(a, *c, frames);
    }
  };
  using ImageEye = Eye<M::kConfig.image>;
  using VideoEye = Eye<M::kConfig.video>;
  // What a pass of the decoder carves.
  struct Pass {
    Tensor<A, kDyn, kDim> visual, dvisual, hidden, dhidden, dx;
    typename Text::template Training<A> text;
    typename Text::template LossCache<A> loss;
    typename Text::template Table<A> table;
    Statistic<A, kDyn> nll;

    static void carve(Arena& a, Pass& m, const BatchShape& b, Index visual_rows, const ModelOptions& o) {
      Text::carve_training(a, m.text, b.rows, o.keep);
      Text::carve_loss(a, m.loss, std::min(o.loss_chunk, b.supervised));
      a.take(m.table, b.positions);
      for (auto* t : {&m.visual, &m.dvisual}) a.take(*t, visual_rows);
      for (auto* t : {&m.hidden, &m.dhidden, &m.dx}) a.take(*t, b.rows);
      a.take(m.nll, b.supervised);
    }
  };

  // trained: of Parameters::count. Error kArgument (no tower for a medium).
  template <class Device>
  static MemoryPlan plan(const run::ModelFolder& folder, const ParameterBytes& trained, const ParameterOptions& p,
                         const ModelOptions& o, const TrainingWork& work, const Device& dev) {
    MemoryPlan plan;
    plan.values = trained.values;
    plan.rounded = trained.rounded;
    plan.gradients = trained.gradients;
    plan.moments = trained.moments;
    plan.weights = kept_weights(folder, p, work);
    LargestOps ops;
    for (const BatchShape& b : work.batches) plan_batch(plan, ops, b, p, o);
    plan.features = kept_features(work, p);
    plan.scratch = scratch_of(dev, ops);
    return plan;
  }

 private:
  static std::size_t counted(auto&& carve) {
    Arena arena;
    carve(arena);
    return arena.peak();
  }
  template <class Device>
  static std::size_t scratch_of(const Device& dev, const LargestOps& ops) {
    if constexpr (requires { dev.training_scratch_bytes(ops); })
      return std::size_t(dev.training_scratch_bytes(ops));
    else
      return 0;
  }
  // Frozen weights, but mapped towers that nobody looks through; of what is trained, vectors that are read as fp32.
  static std::vector<run::WeightBytes> kept_weights(const run::ModelFolder& folder, const ParameterOptions& p,
                                                    const TrainingWork& work) {
    const auto looks = [&](std::size_t first) {
      return std::any_of(work.batches.begin(), work.batches.end(),
                         [&](const BatchShape& b) { return b.frames[first] + b.frames[first + 1] > 0; });
    };
    std::vector<run::WeightBytes> kept;
    for (const auto& w : run::planned_weights<M>(folder, {.convert = p.frozen})) {
      const bool read = w.part == run::Part::kImageTower   ? looks(0)
                        : w.part == run::Part::kVideoTower ? looks(2)
                                                           : true;
      if (!trains(p, w.part) && (read || w.held == run::Held::kConverted)) kept.push_back(w);
    }
    for (const auto& w : run::planned_weights<M>(folder, {}))
      if (trains(p, w.part) && w.held == run::Held::kConverted) kept.push_back(w);
    return kept;
  }
  static bool trains(const ParameterOptions& p, run::Part part) {
    return std::find(p.trained.begin(), p.trained.end(), part) != p.trained.end();
  }
  static std::size_t kept_features(const TrainingWork& work, const ParameterOptions& p) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < 2; ++i) {
      if (trains(p, i == 0 ? run::Part::kImageTower : run::Part::kVideoTower)) continue;
      const TowerConfig& t = i == 0 ? M::kConfig.image : M::kConfig.video;
      bytes += work.media[i] * std::size_t(t.block.frames * t.features() * t.block.dim) * sizeof(float);
    }
    return std::min(bytes, work.feature_cache);
  }
  static void plan_batch(MemoryPlan& plan, LargestOps& ops, const BatchShape& b, const ParameterOptions& p,
                         const ModelOptions& o) {
    Index visual = 0, input = 0, media = 0;
    Arena vision, towers;
    const auto with = [&]<TowerConfig T>(std::size_t i) {
      const Index rows = b.frames[i] * T.features(), pixels = 3 * T.patch * T.patch;
      visual += rows;
      media += b.frames[i] / T.block.frames;
      const bool trained = trains(p, i < 2 ? run::Part::kImageTower : run::Part::kVideoTower);
      input += trained ? b.frames[i] * 3 * T.side * T.side : rows * T.block.dim;
      const auto eye = std::make_unique<Eye<T>>();
      if (b.rows > 0) eye->carve(vision, int(i % 2), b.frames[i]);
      const Index looked = (trained ? b.frames[i] : Index(T.block.frames)) * T.tokens();
      ops.product(rows, std::max({kDim, T.block.dim, int(2 * kPoints)}));
      ops.product(looked, std::max({Index(T.block.ffn), Index(T.block.dim), pixels}));
      ops.attention(std::max(T.tokens(), T.block.frames), T.block.dim / T.block.heads);
      ops.embedding(T.block.dim);
      if (trained) {
        typename Eye<T>::Features seen, dseen;
        return eye->carve_tower(towers, int(i % 2), b.frames[i], o.keep, seen, dseen);
      }
      typename Tower<T>::template Cache<A> tower;
      plan.towers = std::max(plan.towers, counted([&](Arena& a) { Tower<T>::carve(a, tower, T.block.frames); }));
    };
    for (std::size_t i = 0; i < 4; ++i) {
      if (b.frames[i] == 0) continue;
      if (i < 2 ? !M::kImage : !M::kVideo)
        throw Error(ErrorKind::kArgument, "the model has no tower for a medium of this run");
      if constexpr (M::kImage)
        if (i < 2) with.template operator()<M::kConfig.image>(i);
      if constexpr (M::kVideo)
        if (i >= 2) with.template operator()<M::kConfig.video>(i);
    }
    plan.vision = std::max(plan.vision, vision.peak());
    plan.towers = std::max(plan.towers, towers.peak());
    plan.batch = std::max(plan.batch, std::size_t(input) * sizeof(float));
    HeadLosses heads(p.heads, M::kTowerDim, tower_of(p.head_tower).patches(), p.memory);
    plan.heads = std::max(plan.heads, counted([&](Arena& a) { heads.carve(a, media); }));
    if (b.rows == 0) return;
    const auto pass = std::make_unique<Pass>();
    plan.decoder = std::max(plan.decoder, counted([&](Arena& a) { Pass::carve(a, *pass, b, visual, o); }));
    plan_decoder(plan, ops, b, p);
  }
  static void plan_decoder(MemoryPlan& plan, LargestOps& ops, const BatchShape& b, const ParameterOptions& p) {
    constexpr auto block = M::kConfig.llama.block;
    constexpr Index widest = std::max({block.ffn, block.heads * block.head_dim, block.dim});
    for (const LoraOptions& lora : p.lora) {
      facellava::detail::AdapterRows rows;
      plan.adapters = std::max(
          plan.adapters, counted([&](Arena& a) { rows.carve(a, b.rows, lora.rank, lora.dropout > 0 ? widest : 0); }));
      ops.product(std::max(b.rows, widest), lora.rank);  // of rows, and of a matrix that takes its adapter up
    }
    ops.product(b.rows, widest);
    ops.attention(b.positions, block.head_dim);
    ops.embedding(block.dim);
  }
};

}  // namespace facellava::train

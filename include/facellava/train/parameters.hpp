// The parameters of a run: which are trained, their fp32 values, gradients and moments, and the adapters of LoRA. What
// is frozen stays as its file has it, or in the format asked for: q4 or nf4 under adapters is QLoRA.
#pragma once
#include <algorithm>
#include <cmath>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "facellava/core/trainable.hpp"
#include "facellava/run/model.hpp"
#include "facellava/text/prompt.hpp"
#include "facellava/train/labels.hpp"

namespace facellava::train {

// A leaf of the model, and where its gradient is looked for.
struct Slot {
  std::string name;  // as visited
  Leaf weight;
  Adapter **adapter = nullptr, **gradient_adapter = nullptr;  // of a matrix
  float** gradient = nullptr;                                 // null: of a part that has no backward
  Index* gradient_stride = nullptr;
};
template <class S, Index... D>
Slot slot_of(const std::string& name, TrainableTensor<S, D...>& w, Gradient<S, D...>& g) {
  return {name, leaf_of(w), &w.adapter, &g.adapter, &g.data, &g.stride};
}
template <class S, Index... D>
Slot slot_of(const std::string& name, StoredTensor<S, D...>& w, Gradient<S, D...>& g) {
  return {name, leaf_of(w), nullptr, nullptr, &g.data, &g.stride};
}
template <class S, Index N>
Slot slot_of(const std::string& name, View<const float, S, N>& w, Gradient<S, N>& g) {
  return {name, leaf_of(w), nullptr, nullptr, &g.data, &g.stride};
}
Slot slot_of(const std::string& name, auto& w, None) { return {name, leaf_of(w)}; }

using Values = View<float, Host, kDyn, kDyn>;

// One trained tensor; a vector is a matrix of one row.
struct TrainedTensor {
  std::string name;  // as visited; of an adapter, that of its matrix and ".lora_A" or ".lora_B"
  run::Part part;
  std::vector<Index> shape;
  bool decays;              // is under weight decay
  Values w, dw, m, v;       // m, v: moments; empty where the optimiser keeps none
  bf16* rounded = nullptr;  // [rows, columns], what forward reads in place of w
};

struct LoraOptions {
  int rank = 64;
  double alpha = 16, dropout = 0.05;
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
};

enum class Precision { kF32, kBf16 };  // of trained matrices in forward and backward; masters are fp32

struct ParameterOptions {
  std::vector<run::Part> trained = {};
  std::vector<Head> heads = {};                    // trained, whatever else is
  text::Medium head_tower = text::Medium::kImage;  // whose features they read
  std::vector<LoraOptions> lora = {};              // none, or one: adapters on matrices of the decoder
  Precision precision = Precision::kF32;
  io::Weights::Convert frozen = {};                // matrices that are not trained
  run::Missing landmarks = run::Missing::kRefuse;  // kAllow: a checkpoint without FRLP and FRGCA gets random ones
  int moments = 2;                                 // that the optimiser keeps of each value
  std::uint64_t seed = 0;                          // of what begins at random, and of dropout
  std::pmr::memory_resource* memory = nullptr;
};

constexpr run::Part tower_part(text::Medium m) {
  return m == text::Medium::kVideo ? run::Part::kVideoTower : run::Part::kImageTower;
}

// The parameters of heads begin so; they are no part of a model.
inline constexpr const char* kHeadPrefix = "heads.";
inline bool is_head(std::string_view name) { return name.starts_with(kHeadPrefix); }

// As the released code groups parameters: no decay of biases and LayerNorms; the decoder's RMSNorms do decay.
inline bool decays(std::string_view name, int rank) { return rank > 1 || name.starts_with("llama."); }

// Bytes of what is trained.
struct ParameterBytes {
  std::size_t values = 0, rounded = 0, gradients = 0, moments = 0;
};

class Parameters {
 public:
  // slots must stay where they point. Errors: as run::bind_strict; kArgument (nothing to train, a LoRA target that the
  // decoder lacks).
  Parameters(std::vector<Slot> slots, const run::ModelFolder& folder, ParameterOptions options)
      : Parameters(std::move(slots), std::move(options)) {
    std::vector<NamedLeaf> trained, frozen;
    for (const Slot& s : slots_)
      if (!is_head(s.name)) (is_trained(s) ? trained : frozen).push_back({s.name, s.weight});
    bind(trained, frozen, folder);
    memory_.carve([&](Arena& a) { carve(a); });
    std::size_t i = 0;
    for (const Slot& s : slots_)
      if (is_trained(s)) take(s, trained_[i++]);
    begin_adapters(i);
    for (TrainedTensor& t : trained_)
      for (Values* v : {&t.m, &t.v}) std::fill_n(v->data, v->count(), 0.f);
    round();
  }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  // What parameters of these slots, which need no weights, would own. Error kArgument as above.
  static ParameterBytes count(std::vector<Slot> slots, ParameterOptions options) {
    Parameters p(std::move(slots), std::move(options));
    Arena arena;
    p.carve(arena);
    ParameterBytes bytes;
    const auto add = [](std::size_t& to, const Values& v) { to += std::size_t(v.count()) * sizeof(float); };
    for (const TrainedTensor& t : p.trained_) {
      add(bytes.values, t.w);
      add(bytes.gradients, t.dw);
      for (const Values* moment : {&t.m, &t.v}) add(bytes.moments, *moment);
      if (p.is_rounded(t)) bytes.rounded += std::size_t(t.w.count()) * sizeof(bf16);
    }
    bytes.values += arena.peak() - bytes.values - bytes.gradients - bytes.moments - bytes.rounded;  // gaps
    return bytes;
  }

  std::vector<TrainedTensor>& trained() { return trained_; }
  const std::vector<TrainedTensor>& trained() const { return trained_; }
  const std::vector<Slot>& slots() const { return slots_; }
  const ParameterOptions& options() const { return options_; }

  bool trains(run::Part part) const {
    return std::find(options_.trained.begin(), options_.trained.end(), part) != options_.trained.end();
  }

  // Of a pass: forward and backward of one batch drop the same.
  void set_dropout(std::uint64_t pass, bool on) {
    std::uint64_t n = 0;
    for (Adapter& a : adapters_) {
      a.seed = Rng(options_.seed ^ Rng(pass ^ Rng(++n).next()).next()).next();
      a.dropout = on ? float(options_.lora.front().dropout) : 0;
    }
  }
  // What forward reads follows the values after they were set from outside.
  void round() {
    for (TrainedTensor& t : trained_)
      if (t.rounded) std::transform(t.w.data, t.w.data + t.w.count(), t.rounded, [](float v) { return to_bf16(v); });
  }

 private:
  Parameters(std::vector<Slot> slots, ParameterOptions options)
      : slots_(std::move(slots)),
        options_(std::move(options)),
        weights_(options_.memory),
        scratch_(options_.memory),
        memory_(options_.memory) {
    for (const Slot& s : slots_)
      if (is_trained(s)) add(s.name, {s.weight.sizes.begin(), s.weight.sizes.end()});
    for (const LoraOptions& lora : options_.lora) add_adapters(lora);
    if (trained_.empty()) throw Error(ErrorKind::kArgument, "training: expected something to train, found nothing");
  }

  bool is_trained(const Slot& s) const { return s.gradient && (is_head(s.name) || trains(run::part_of(s.name))); }
  void bind(std::vector<NamedLeaf>& trained, std::vector<NamedLeaf>& frozen, const run::ModelFolder& folder) {
    run::add_sources(weights_, folder);
    const auto may_lack = [&](std::string_view name) {
      return run::is_landmark_leaf(name) && options_.landmarks == run::Missing::kAllow;
    };
    const auto any = [](std::string_view) { return true; };
    weights_.bind_strict(trained, {}, may_lack, any);
    weights_.bind_strict(frozen, options_.frozen, may_lack,
                         [&](std::string_view name) { return run::is_spare(folder, name); });
    const auto lacks = [](const std::vector<NamedLeaf>& leaves) {
      return std::count_if(leaves.begin(), leaves.end(), [](const NamedLeaf& l) { return !l.leaf.is_bound(); });
    };
    if (lacks(frozen) > 0)
      throw Error(ErrorKind::kFormat, folder.path() + ": has no landmark modules, and they are not trained");
  }

  void add(std::string name, std::vector<Index> shape) {
    const bool decay = decays(name, int(shape.size()));
    trained_.push_back({std::move(name), run::Part::kDecoder, std::move(shape), decay, {}, {}, {}, {}});
    trained_.back().part = run::part_of(trained_.back().name);
  }
  void add_adapters(const LoraOptions& lora) {
    for (const std::string& target : lora.targets) {
      const auto is_target = [&](const Slot& s) {
        return s.adapter && s.name.starts_with("llama.layers.") && s.name.ends_with("." + target + ".weight");
      };
      if (std::none_of(slots_.begin(), slots_.end(), is_target))
        throw Error(ErrorKind::kArgument, "lora: expected targets among the decoder's projections, found " + target);
    }
    for (const Slot& s : slots_) {
      if (!is_adapted(s)) continue;
      add(s.name + ".lora_A", {lora.rank, s.weight.columns()});
      add(s.name + ".lora_B", {s.weight.rows(), lora.rank});
    }
  }
  bool is_adapted(const Slot& s) const {
    if (options_.lora.empty() || !s.adapter || !s.name.starts_with("llama.layers.")) return false;
    const auto& targets = options_.lora.front().targets;
    return std::any_of(targets.begin(), targets.end(),
                       [&](const std::string& t) { return s.name.ends_with("." + t + ".weight"); });
  }

  bool is_rounded(const TrainedTensor& t) const {
    return options_.precision == Precision::kBf16 && t.shape.size() > 1 && !is_head(t.name) &&
           t.name.find(".lora_") == std::string::npos;
  }
  void carve(Arena& a) {
    for (TrainedTensor& t : trained_) {
      const bool vector = t.shape.size() == 1;
      const Index rows = vector ? 1 : t.shape[0], columns = vector ? t.shape[0] : t.shape[1];
      a.take(t.w, rows, columns);
      a.take(t.dw, rows, columns);
      a.take(t.m, options_.moments > 0 ? rows : 0, columns);
      a.take(t.v, options_.moments > 1 ? rows : 0, columns);
      View<bf16, Host, kDyn> rounded;
      if (is_rounded(t)) {
        a.take(rounded, rows * columns);
        t.rounded = rounded.data;
      }
    }
  }

  // The values of a leaf, which from now on reads what is trained.
  void take(const Slot& s, TrainedTensor& t) {
    if (s.weight.is_bound())
      for (Index r = 0, i = 0; r < s.weight.rows(); ++r)
        for (Index c = 0; c < s.weight.columns(); ++c) t.w.data[i++] = s.weight(r, c);
    else
      begin_at_random(t);
    if (s.weight.kind == Leaf::Kind::kStored) {
      *s.weight.format = t.rounded ? Format::kBf16 : Format::kF32;
      s.weight.data<const std::byte>() =
          t.rounded ? reinterpret_cast<const std::byte*>(t.rounded) : reinterpret_cast<const std::byte*>(t.w.data);
    } else {
      s.weight.data<const float>() = t.w.data;
      *s.weight.stride = s.weight.columns();
    }
    *s.gradient = t.dw.data;
    *s.gradient_stride = s.weight.columns();
  }

  Rng rng_of(const std::string& name) const {
    std::uint64_t hash = options_.seed;
    for (const char c : name) hash = (hash ^ std::uint8_t(c)) * 0x100000001b3u;
    return Rng(hash);
  }
  // Matrices uniform within ± 1 / √columns, biases 0, scales 1.
  void begin_at_random(TrainedTensor& t) const {
    if (t.shape.size() == 1) {
      std::fill_n(t.w.data, t.w.count(), t.name.ends_with("bias") ? 0.f : 1.f);
      return;
    }
    Rng rng = rng_of(t.name);
    const double bound = 1 / std::sqrt(double(t.w.size(1)));
    std::generate_n(t.w.data, t.w.count(), [&] { return float((2 * rng.uniform() - 1) * bound); });
  }
  // As peft begins: A at random, B zero.
  void begin_adapters(std::size_t first) {
    for (const Slot& s : slots_) {
      if (!is_adapted(s)) continue;
      TrainedTensor &a = trained_[first++], &b = trained_[first++];
      begin_at_random(a);
      std::fill_n(b.w.data, b.w.count(), 0.f);
      const LoraOptions& o = options_.lora.front();
      adapters_.push_back({a.w, b.w, a.dw, b.dw, float(o.alpha / o.rank), float(o.dropout), 0, &scratch_});
      *s.adapter = *s.gradient_adapter = &adapters_.back();
    }
  }

  std::vector<Slot> slots_;
  ParameterOptions options_;
  io::Weights weights_;
  Workspace scratch_, memory_;
  std::vector<TrainedTensor> trained_;
  std::list<Adapter> adapters_;
};

}  // namespace facellava::train

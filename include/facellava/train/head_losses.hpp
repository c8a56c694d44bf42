// Heads in training: their parameters, and their losses and gradients on pooled features; whatever the configuration.
#pragma once
#include <array>
#include <cmath>
#include <deque>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "facellava/train/labels.hpp"
#include "facellava/train/parameters.hpp"

namespace facellava::train {

// Of the labels of a pass. score: the part that was said right; of a regression the mean absolute error, in its
// labels' own unit.
struct HeadLoss {
  std::string name;
  HeadKind kind = HeadKind::kClass;
  double loss = 0, score = 0;
  Index labels = 0;
};

class HeadLosses {
 public:
  // width: of the features; patches: of a frame.
  HeadLosses(const std::vector<Head>& heads, Index width, Index patches, std::pmr::memory_resource* memory)
      : heads_(heads), widths_{width, width, patches * width}, memory_(memory) {
    for (const Head& h : heads) {
      Parts& p = parts_.emplace_back();
      const Index width_read = widths_[std::size_t(h.pooling)];
      p.sizes = {h.outputs, width_read};
      p.weight = View<const float, Host, kDyn, kDyn>(nullptr, h.outputs, width_read);
      p.bias = View<const float, Host, kDyn>(nullptr, h.outputs);
      static_cast<Values&>(p.dweight) = Values(nullptr, h.outputs, width_read);
      static_cast<View<float, Host, kDyn>&>(p.dbias) = View<float, Host, kDyn>(nullptr, h.outputs);
    }
  }
  HeadLosses(const HeadLosses&) = delete;  // slots point into it
  HeadLosses& operator=(const HeadLosses&) = delete;

  bool empty() const { return heads_.empty(); }
  bool reads(Pooling p) const {
    return std::any_of(heads_.begin(), heads_.end(), [&](const Head& h) { return h.pooling == p; });
  }
  void add_slots(std::vector<Slot>& to) {
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      Parts& p = parts_[i];
      const std::string name = kHeadPrefix + heads_[i].name;
      const std::span sizes(p.sizes);
      to.push_back({name + ".weight", leaf(sizes, p.weight), nullptr, nullptr, &p.dweight.data, &p.dweight.stride});
      to.push_back({name + ".bias", leaf(sizes.first(1), p.bias), nullptr, nullptr, &p.dbias.data, &p.dbias.stride});
    }
  }

  // What a pass pools of the features, a row a medium, to be filled, and its gradients.
  void carve(Index rows) {
    memory_.carve([&](Arena& a) { carve(a, rows); });
  }
  void carve(Arena& a, Index rows) {
    for (std::size_t p = 0; p < kPoolings; ++p)
      for (Values* v : {&pooled_[p], &dpooled_[p]}) a.take(*v, reads(Pooling(p)) ? rows : 0, widths_[p]);
    for (std::size_t i = 0; i < heads_.size(); ++i)
      for (Values* v : {&parts_[i].said, &parts_[i].loss, &parts_[i].targets}) a.take(*v, rows, heads_[i].outputs);
  }
  Values pooled(Pooling p) const { return pooled_[std::size_t(p)]; }
  Values dpooled(Pooling p) const { return dpooled_[std::size_t(p)]; }

  // targets: of each row those of all heads, one behind the other. Parameters' gradients += weight · their own; dpooled
  // =. Returns the sum of the heads' losses, each the mean over its labels, times its weight.
  double learn(auto& dev, std::span<const std::vector<float>> targets, double weight) {
    for (const Values& d : dpooled_) fill(dev, d, 0);
    losses_.clear();
    double sum = 0;
    std::size_t first = 0;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      const Head& h = heads_[i];
      losses_.push_back(learn(dev, h, parts_[i], targets, first, weight));
      sum += h.weight * losses_.back().loss;
      first += std::size_t(h.label_size());
    }
    return sum;
  }
  const std::vector<HeadLoss>& losses() const { return losses_; }
  void clear() { losses_.clear(); }

 private:
  struct Parts {
    std::array<Index, 2> sizes;
    View<const float, Host, kDyn, kDyn> weight;  // [outputs, what the head reads]
    View<const float, Host, kDyn> bias;
    Gradient<Host, kDyn, kDyn> dweight;
    Gradient<Host, kDyn> dbias;
    Values said, loss, targets;  // [rows, outputs]; of classes a loss and a label a row
  };

  template <class V>
  static Leaf leaf(std::span<const Index> sizes, V& v) {
    return {Leaf::Kind::kConst, sizes, &v.data, nullptr, nullptr, &v.stride};
  }

  HeadLoss learn(auto& dev, const Head& h, Parts& p, std::span<const std::vector<float>> targets, std::size_t first,
                 double weight) {
    HeadLoss out{h.name, h.kind, 0, 0, 0};
    const auto size = std::size_t(h.label_size());
    std::vector<int> classes;
    for (const std::vector<float>& t : targets)
      for (std::size_t k = 0; k < size; ++k) {
        const float label = t[first + k];
        out.labels += !std::isnan(label);
        if (h.kind == HeadKind::kClass)
          classes.push_back(std::isnan(label) ? -1 : int(label));
        else
          p.targets(Index(&t - targets.data()), Index(k)) =
              std::isnan(label) && h.kind == HeadKind::kMultiLabel ? -1 : label;
      }
    if (out.labels == 0) return out;
    const Values x = pooled(h.pooling);
    linear(dev, p.said, x, p.weight, p.bias, None{});
    out.score = score(h, p, classes) / double(out.labels);
    const auto scale = float(weight * h.weight / double(out.labels));
    Index losses = p.loss.count();
    if (h.kind == HeadKind::kClass) {
      losses = x.rows();
      cross_entropy(dev, View<float, Host, kDyn>(p.loss.data, losses), p.said,
                    View<const int, Host, kDyn>(classes.data(), losses), scale);
    } else if (h.kind == HeadKind::kMultiLabel) {
      binary_cross_entropy(dev, p.loss, p.said, p.targets, scale);
    } else {
      regression_loss(dev, p.loss, p.said, p.targets, h.distance, scale);
    }
    out.loss = std::accumulate(p.loss.data, p.loss.data + losses, 0.0) / double(out.labels);
    linear_dx(dev, dpooled(h.pooling), p.said, p.weight, Write::kAccumulate);
    linear_dw(dev, static_cast<const Values&>(p.dweight), static_cast<const View<float, Host, kDyn>&>(p.dbias), p.said,
              x);
    return out;
  }

  // The sum over the labels that are known.
  static double score(const Head& h, const Parts& p, const std::vector<int>& classes) {
    double sum = 0;
    for (Index r = 0; r < p.said.rows(); ++r) {
      const float* said = p.said.row(r);
      if (h.kind == HeadKind::kClass) {
        sum += std::max_element(said, said + h.outputs) - said == classes[std::size_t(r)];
        continue;
      }
      for (Index c = 0; c < h.outputs; ++c) {
        const float label = p.targets(r, c);
        if (h.kind == HeadKind::kMultiLabel)
          sum += label >= 0 && (said[c] > 0) == (label > 0.5f);
        else if (!std::isnan(label))
          sum += std::abs(double(said[c]) - double(label)) * h.scale[std::size_t(c)];
      }
    }
    return sum;
  }

  std::vector<Head> heads_;
  std::array<Index, kPoolings> widths_;
  std::deque<Parts> parts_;  // stays where it is
  Workspace memory_;
  std::array<Values, kPoolings> pooled_, dpooled_;
  std::vector<HeadLoss> losses_;
};

}  // namespace facellava::train

// The media of a batch, stacked by what they go through: of one kind, with landmarks or without.
#pragma once
#include <array>
#include <cstddef>
#include <numeric>
#include <optional>
#include <vector>

#include "facellava/models/tower.hpp"
#include "facellava/train/any_model.hpp"

namespace facellava::train {

struct MediaGroup {
  Index first = 0, frames = 0;  // row of its first visual token
  std::vector<float> pixels, features, points;
  std::optional<TowerRows> rows;            // where the tower is trained
  float *seen = nullptr, *dseen = nullptr;  // features; their gradient, of a trained tower

  // [frames · features, dim]
  template <TowerConfig T>
  View<float, Host, kDyn, T.block.dim> features_of() const {
    return View<float, Host, kDyn, T.block.dim>(seen, frames * T.features());
  }
  template <TowerConfig T>
  Gradient<Host, kDyn, T.block.dim> gradient_of() const {
    using Plain = View<float, Host, kDyn, T.block.dim>;
    Gradient<Host, kDyn, T.block.dim> d;
    static_cast<Plain&>(d) = Plain(dseen, frames * T.features());
    return d;
  }
};

class MediaGroups {
 public:
  static constexpr std::size_t kCount = 4;
  static std::size_t group_of(const Batch::Medium& m) {
    return std::size_t(m.kind == text::Medium::kVideo) * 2 + m.points.empty();
  }

  // Error kShape for media that are not as the configuration has them, or lack what the model needs of them.
  MediaGroups(const FaceLlavaConfig& c, const Batch& b, const Parameters& p) : config_(c), before_(b.media.size()) {
    for (std::size_t s = 0; s < b.media.size(); ++s)
      for (const Batch::Medium& m : b.media[s]) {
        MediaGroup& g = groups_[group_of(m)];
        const TowerConfig& t = tower_of(group_of(m));
        if (p.trains(tower_part(m.kind)))
          check_equal(t.block.frames * 3 * t.side * t.side, m.pixels.size(), "pixels of a medium");
        else
          check_equal(t.block.frames * t.features() * t.block.dim, m.features ? m.features->size() : 0,
                      "features of a medium");
        if (!m.points.empty()) check_equal(t.block.frames * 2 * kPoints, m.points.size(), "points of a medium");
        before_[s].push_back(g.frames);
        g.frames += t.block.frames;
        g.pixels.insert(g.pixels.end(), m.pixels.begin(), m.pixels.end());
        if (m.features) g.features.insert(g.features.end(), m.features->begin(), m.features->end());
        g.points.insert(g.points.end(), m.points.begin(), m.points.end());
      }
    for (std::size_t i = 0; i < kCount; ++i) {
      groups_[i].first = visual_rows_;
      visual_rows_ += groups_[i].frames * tower_of(i).features();
    }
  }

  MediaGroup& operator[](std::size_t i) { return groups_[i]; }
  Index visual_rows() const { return visual_rows_; }
  // Frames of its group before medium m of sample s.
  Index before(std::size_t s, std::size_t m) const { return before_[s][m]; }

  // For every row of the batch its visual row, or −1.
  std::vector<int> splice(const Batch& b) const {
    std::vector<int> splice(b.rows.ids.size(), -1);
    for (const VisualRows& v : b.rows.visual) {
      const std::size_t group = group_of(b.media[v.sample][v.medium]);
      const Index features = tower_of(group).features();
      check_equal(features, v.count, "rows of a frame");
      const Index row = groups_[group].first + (before(v.sample, v.medium) + v.frame) * features;
      std::iota(splice.begin() + v.first, splice.begin() + v.first + v.count, int(row));
    }
    return splice;
  }

 private:
  const TowerConfig& tower_of(std::size_t group) const { return group < 2 ? config_.image : config_.video; }

  const FaceLlavaConfig& config_;
  std::array<MediaGroup, kCount> groups_;
  Index visual_rows_ = 0;
  std::vector<std::vector<Index>> before_;
};

}  // namespace facellava::train

// Forged faces. A swap puts another identity's inner face, with the same expression, into the head; a blend puts a
// changed rendering of the same identity there (as FaceForensics++ and self-blended images do). Pixels outside the
// hull of the inner face stay as they are.
#pragma once
#include "shade.hpp"

namespace synthetic_faces {

enum class FakeKind { kReal, kSwap, kBlend };

// A forgery and what may give it away.
struct Forgery {
  FakeKind kind = FakeKind::kReal;
  std::uint64_t seed = 0;
  float match = 1;       // how far the inner face takes the head's colours
  float feather = 6;     // of the seam, of the picture's side in thousandths
  float resolution = 1;  // of the inner face
  float noise = 0;
  Colour tint{1, 1, 1};
  float raise = .1f;  // how far above the brows the hull reaches

  bool sharp_seam() const { return feather < 14; }
  bool soft_face() const { return resolution < .5f; }
  bool other_colour() const { return match < .5f; }
};

inline Forgery draw_forgery(Dice d, float part) {
  Forgery f;
  const bool fake = d.chance(part);
  f.kind = !fake ? FakeKind::kReal : d.chance(.65f) ? FakeKind::kSwap : FakeKind::kBlend;
  f.seed = d.seed();
  f.match = d.uniform(.25f, 1);
  f.feather = d.uniform(4, 30);
  f.resolution = d.chance(.6f) ? d.uniform(.25f, .65f) : 1;
  f.noise = f.resolution == 1 && d.chance(.5f) ? d.uniform(.015f, .035f) : 0;
  f.tint.x = 1 + .05f * d.normal();
  f.tint.z = 1 + .05f * d.normal();
  f.raise = d.uniform(0, .25f);
  return f;
}

namespace detail {

// Counterclockwise with y up; by Andrew's monotone chain.
inline std::vector<Vec2> convex_hull(std::vector<Vec2> p) {
  std::sort(p.begin(), p.end(), [](Vec2 a, Vec2 b) { return a.x < b.x || (a.x == b.x && a.y < b.y); });
  std::vector<Vec2> hull;
  const auto extend = [&](Vec2 q, std::size_t floor) {
    const auto turns_left = [](Vec2 a, Vec2 b, Vec2 c) {
      return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x) > 0;
    };
    while (hull.size() >= floor + 2 && !turns_left(hull[hull.size() - 2], hull.back(), q)) hull.pop_back();
    hull.push_back(q);
  };
  for (const Vec2 q : p) extend(q, 0);
  const std::size_t lower = hull.size() - 1;
  for (std::size_t i = p.size() - 1; i-- > 0;) extend(p[i], lower);
  hull.pop_back();
  return hull;
}

// The edges of a hull as lines: normal · p + offset is the distance to the line, positive inside.
class HullEdges {
 public:
  explicit HullEdges(std::span<const Vec2> hull) {
    for (std::size_t i = 0, j = hull.size() - 1; i < hull.size(); j = i++) {
      const Vec2 e = hull[i] - hull[j], normal = Vec2{-e.y, e.x} * (1 / (length(e) + 1e-9f));
      lines_.push_back({normal, -dot(normal, hull[j])});
    }
  }
  // Distance to the nearest line; negative outside.
  float depth(Vec2 p) const {
    float least = 1e9f;
    for (const auto& [normal, offset] : lines_) least = std::min(least, dot(normal, p) + offset);
    return least;
  }

 private:
  std::vector<std::pair<Vec2, float>> lines_;
};

struct Similarity {
  float c = 1, s = 0;
  Vec2 from, to;
  Vec2 operator()(Vec2 p) const {
    const Vec2 q = p - from;
    return {c * q.x - s * q.y + to.x, s * q.x + c * q.y + to.y};
  }
};
// The least squares one of points [17, 68) from a to b.
inline Similarity similarity(const std::array<Vec2, kPoints>& a, const std::array<Vec2, kPoints>& b) {
  constexpr std::size_t kFirst = 17;
  Similarity m;
  const float n = float(kPoints - kFirst);
  for (std::size_t i = kFirst; i < kPoints; ++i) {
    m.from = m.from + a[i] * (1 / n);
    m.to = m.to + b[i] * (1 / n);
  }
  float size = 1e-9f, along = 0, across = 0;
  for (std::size_t i = kFirst; i < kPoints; ++i) {
    const Vec2 p = a[i] - m.from, q = b[i] - m.to;
    size += dot(p, p);
    along += dot(p, q);
    across += p.x * q.y - p.y * q.x;
  }
  m.c = along / size;
  m.s = across / size;
  return m;
}

}  // namespace detail

// What a forgery covers.   points: pixels of the picture.
inline std::vector<Vec2> inner_hull(const std::array<Vec2, kPoints>& points, float raise) {
  std::vector<Vec2> p(points.begin() + 17, points.end());
  for (std::size_t i = 17; i < 27; ++i) p.push_back(points[i] + (points[i] - points[33]) * raise);
  for (std::size_t i = 3; i < 14; ++i) p.push_back(mix(points[i], points[30], .12f));
  return detail::convex_hull(std::move(p));
}

// Whose inner face is put in, and in what light.
struct Donor {
  Identity who;
  Scene scene;
};
inline Donor draw_donor(const Rig& rig, const Identity& head, const Scene& scene, const Forgery& f) {
  Dice d(f.seed, 0, Stream::kFake);
  Donor donor{head, scene};
  if (f.kind == FakeKind::kSwap) {
    donor.who = draw_identity(rig, Dice(f.seed, 1, Stream::kFake));
    if (d.chance(.75f)) donor.who.skin = head.skin * d.uniform(.88f, 1.12f);
  } else {
    detail::add_features(rig, d, donor.who, 2);
    donor.who.skin = head.skin * d.uniform(.9f, 1.1f);
  }
  donor.who.glasses = head.glasses;
  donor.who.hat = false;
  donor.who.bangs = false;
  donor.scene.pose.yaw += .05f * d.normal();
  donor.scene.pose.pitch += .04f * d.normal();
  if (d.chance(.5f)) donor.scene.light = draw_light(d);
  return donor;
}

// Puts the donor's inner face into the picture of the head; both stand before their background.
inline void forge(Canvas& target, const std::array<Vec2, kPoints>& points, const Canvas& donor,
                  const std::array<Vec2, kPoints>& donor_points, const Forgery& f) {
  Dice d(f.seed, 2, Stream::kFake);
  const detail::HullEdges hull(inner_hull(points, f.raise));
  const detail::Similarity back = detail::similarity(points, donor_points);
  const int coarse = std::max(8, int(float(donor.side) * f.resolution));
  const Canvas small = f.resolution < 1 ? resized(donor, coarse) : donor;
  const float shrink = float(small.side) / float(donor.side), feather = f.feather / 1000 * float(target.side);
  struct Texel {
    std::size_t at;
    float part;
    Colour colour;
  };
  std::vector<Texel> inside;
  Colour mean_head, mean_donor;
  for (int y = 0; y < target.side; ++y)
    for (int x = 0; x < target.side; ++x) {
      const Vec2 p{float(x) + .5f, float(y) + .5f};
      const float depth = hull.depth(p);
      if (depth <= 0) continue;
      const Vec2 q = back(p) * shrink;
      const std::size_t at = std::size_t(y) * std::size_t(target.side) + std::size_t(x);
      inside.push_back({at, std::min(1.f, depth / feather), small.sample(q.x, q.y)});
      mean_head += target.pixel[at];
      mean_donor += inside.back().colour;
    }
  const Colour shift = (mean_head - mean_donor) * (f.match / float(std::max<std::size_t>(1, inside.size())));
  for (const Texel& t : inside) {
    const float grain = f.noise > 0 ? f.noise * d.normal() : 0;
    const Colour c = (t.colour + shift) * f.tint + Colour{grain, grain, grain};
    target.pixel[t.at] = mix(target.pixel[t.at], c, t.part);
  }
}

}  // namespace synthetic_faces

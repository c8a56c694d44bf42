// A plane in front of the mean face (canonical x to the right, y up) on which skin is painted, and the masks of what is
// painted on all faces. Shapes are soft: their edges fade over a given width.
#pragma once
#include <span>
#include <vector>

#include "head.hpp"
#include "random.hpp"

namespace synthetic_faces {

inline constexpr int kPlaneSide = 256;
inline constexpr std::size_t kTexels = std::size_t(kPlaneSide) * kPlaneSide;
inline constexpr float kPlaneReach = 1.45f, kPlaneMiddle = .15f;  // canonical: half its side, y of its middle
inline constexpr float kTexelsPerUnit = kPlaneSide / (2 * kPlaneReach);

// Canonical to texels and back; texel (i, j) has its centre at (i, j).
constexpr Vec2 to_plane(float x, float y) {
  return {(x + kPlaneReach) * kTexelsPerUnit - .5f, (kPlaneMiddle + kPlaneReach - y) * kTexelsPerUnit - .5f};
}
constexpr Vec2 from_plane(int i, int j) {
  return {(float(i) + .5f) / kTexelsPerUnit - kPlaneReach,
          kPlaneMiddle + kPlaneReach - (float(j) + .5f) / kTexelsPerUnit};
}

inline float distance_to_segment(Vec2 p, Vec2 a, Vec2 b) {
  const Vec2 ab = b - a, ap = p - a;
  return length(ap - ab * clamped(dot(ap, ab) / (dot(ab, ab) + 1e-12f)));
}

// Distance to the edge of a closed polygon, positive inside.
inline float depth_in_polygon(Vec2 p, std::span<const Vec2> polygon) {
  float nearest = 1e9f;
  bool inside = false;
  for (std::size_t i = 0, j = polygon.size() - 1; i < polygon.size(); j = i++) {
    const Vec2 a = polygon[i], b = polygon[j];
    nearest = std::min(nearest, distance_to_segment(p, a, b));
    if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside ? nearest : -nearest;
}

class Plane {
 public:
  Plane() : value_(kTexels) {}
  void clear() { std::fill(value_.begin(), value_.end(), 0.f); }
  float* row(int j) { return value_.data() + std::size_t(j) * kPlaneSide; }
  const float* row(int j) const { return value_.data() + std::size_t(j) * kPlaneSide; }

  // The larger of what is there and strength · exp(−(distance / width)²) along a line of canonical points.
  void stroke(std::span<const Vec2> line, float width, float strength = 1) {
    for (std::size_t i = 1; i < line.size(); ++i)
      around({line[i - 1], line[i]}, 2.2f * width, [&](Vec2 p) {
        const float d = distance_to_segment(p, line[i - 1], line[i]) / width;
        return strength * std::exp(-d * d);
      });
  }
  // 1 inside, fading over `feather` to both sides of the edge.
  void fill(std::span<const Vec2> polygon, float feather, float strength = 1) {
    around(polygon, feather,
           [&](Vec2 p) { return strength * smooth_step(-feather, feather, depth_in_polygon(p, polygon)); });
  }
  void blob(Vec2 centre, Vec2 radius, float strength = 1) {
    const Vec2 reach = radius * 2.4f, corners[] = {centre - reach, centre + reach};
    around(corners, 0, [&](Vec2 p) {
      const Vec2 d{(p.x - centre.x) / radius.x, (p.y - centre.y) / radius.y};
      return strength * std::exp(-dot(d, d));
    });
  }

 private:
  void around(std::span<const Vec2> points, float reach, auto&& value) {
    Vec2 low{1e9f, 1e9f}, high{-1e9f, -1e9f};
    for (const Vec2 p : points) {
      low = {std::min(low.x, p.x), std::min(low.y, p.y)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y)};
    }
    const Vec2 a = to_plane(low.x - reach, high.y + reach), b = to_plane(high.x + reach, low.y - reach);
    const auto texel = [](float x) { return std::clamp(int(x), 0, kPlaneSide - 1); };
    for (int j = texel(a.y); j <= texel(b.y + 1); ++j)
      for (int i = texel(a.x); i <= texel(b.x + 1); ++i) row(j)[i] = std::max(row(j)[i], value(from_plane(i, j)));
  }
  void around(std::initializer_list<Vec2> points, float reach, auto&& value) {
    around(std::span(points.begin(), points.size()), reach, value);
  }
  std::vector<float> value_;
};

// Noise that repeats after kPlaneSide texels, mean 0, deviation about 1.
struct Noise {
  Plane white, cloud, streak;  // independent texels; soft over many sizes; drawn out from top to bottom

  static float at(const Plane& p, int i, int j) { return p.row(j & (kPlaneSide - 1))[i & (kPlaneSide - 1)]; }
};

inline Noise make_noise() {
  Noise n;
  Dice d(0, 0, Stream::kSkin);
  for (int j = 0; j < kPlaneSide; ++j)
    for (int i = 0; i < kPlaneSide; ++i) n.white.row(j)[i] = d.normal();
  float share = .6f;
  for (int cells = 8; cells <= 64; cells *= 2, share *= .62f) {
    const int size = kPlaneSide / cells;
    for (int j = 0; j < kPlaneSide; ++j)
      for (int i = 0; i < kPlaneSide; ++i) {
        const auto corner = [&](int x, int y) { return n.white.row(y % cells * size)[x % cells * size + cells % 7]; };
        const int x = i / size, y = j / size;
        const float s = smooth_step(0, 1, float(i % size) / float(size)),
                    t = smooth_step(0, 1, float(j % size) / float(size));
        n.cloud.row(j)[i] +=
            share * mix(mix(corner(x, y), corner(x + 1, y), s), mix(corner(x, y + 1), corner(x + 1, y + 1), s), t);
      }
  }
  constexpr int kReach = 6;
  for (int j = 0; j < kPlaneSide; ++j)
    for (int i = 0; i < kPlaneSide; ++i) {
      for (int k = -kReach; k <= kReach; ++k) n.streak.row(j)[i] += Noise::at(n.white, i, j + k) * .28f;
    }
  return n;
}

enum class Line { kForehead, kGlabella, kNasolabial, kCrow, kNasal, kChin, kDimple };
inline constexpr int kLines = 7;

struct Masks {
  Plane lips, mouth_line, eye_shade, liner, lid, bags, cheeks, nose, beard, moustache, goatee;
  std::array<Plane, kLines> lines;
  std::array<std::array<Vec2, 5>, 2> brows{};  // from the outer end to the inner one
};

namespace detail {

struct Sketch {
  std::array<Vec2, kPoints> p;
  Vec2 at(int i, float dx = 0, float dy = 0) const { return p[std::size_t(i)] + Vec2{dx, dy}; }
  std::vector<Vec2> run(int first, int last, float dx = 0, float dy = 0) const {
    std::vector<Vec2> out;
    for (int i = first; i != last; i += last > first ? 1 : -1) out.push_back(at(i, dx, dy));
    return out;
  }
};

inline void paint_eyes(Masks& m, const Sketch& s) {
  for (const int a : {36, 42}) {
    const auto upper = s.run(a, a + 4);
    const std::vector<Vec2> lower{s.at(a), s.at(a + 5), s.at(a + 4), s.at(a + 3)};
    m.liner.stroke(upper, .022f);
    m.liner.stroke(lower, .014f, .5f);
    m.lid.stroke(upper, .016f);
    std::vector<Vec2> bag, shade;
    for (const Vec2 q : lower) bag.push_back(q + Vec2{0, -.13f});
    m.bags.stroke(bag, .035f);
    Vec2 middle;
    for (int i = a; i < a + 6; ++i) middle = middle + s.at(i) * (1.f / 6);
    for (int i = a; i < a + 6; ++i) {
      const Vec2 d = s.at(i) - middle;
      shade.push_back(middle + Vec2{d.x * 1.3f, d.y * 2.2f + .05f});
    }
    m.eye_shade.fill(shade, .09f);
  }
}

inline void paint_lines(Masks& m, const Sketch& s) {
  const auto line = [&](Line l) -> Plane& { return m.lines[std::size_t(l)]; };
  for (int k = 0; k < 4; ++k) {
    std::vector<Vec2> across;
    for (int i = 18; i < 26; ++i) {
      const float bow = (float(i) - 21.5f) / 4;
      across.push_back({s.at(i).x, s.at(19).y + .17f + .13f * float(k) + .05f * (1 - bow * bow * .5f)});
    }
    line(Line::kForehead).stroke(across, .022f);
  }
  for (const int side : {-1, 1}) {
    const float out = float(side);
    const bool right = side < 0;
    const Vec2 brow = s.at(right ? 21 : 22), wing = s.at(right ? 31 : 35), corner = s.at(right ? 48 : 54);
    const Vec2 eye = s.at(right ? 36 : 45), inner = s.at(right ? 39 : 42);
    line(Line::kGlabella)
        .stroke(std::vector<Vec2>{brow + Vec2{-.05f * out, .02f}, brow + Vec2{-.07f * out, -.16f}}, .02f);
    line(Line::kNasolabial)
        .stroke(std::vector<Vec2>{wing + Vec2{.10f * out, .06f}, mix(wing, corner, .5f) + Vec2{.13f * out, .02f},
                                  corner + Vec2{.10f * out, -.02f}, corner + Vec2{.09f * out, -.12f}},
                .03f);
    for (const float dy : {.1f, .01f, -.08f, -.15f})
      line(Line::kCrow).stroke(std::vector<Vec2>{eye + Vec2{.06f * out, dy * .4f}, eye + Vec2{.22f * out, dy}}, .015f);
    for (int k = 0; k < 3; ++k) {
      const Vec2 down{0, -.08f * float(k)};
      line(Line::kNasal)
          .stroke(std::vector<Vec2>{mix(s.at(27), inner, .35f) + down, mix(s.at(28), inner, .15f) + down}, .02f);
    }
    line(Line::kDimple)
        .stroke(std::vector<Vec2>{corner + Vec2{.06f * out, .04f}, corner + Vec2{.07f * out, -.05f}}, .024f);
  }
  line(Line::kChin).stroke(std::vector<Vec2>{s.at(58, -.02f, -.13f), s.at(57, 0, -.10f), s.at(56, .02f, -.13f)}, .026f);
}

inline void paint_hairy_parts(Masks& m, const Sketch& s) {
  std::vector<Vec2> beard = s.run(2, 15, 0, -.12f);
  for (const Vec2 q : {s.at(14, -.10f, -.15f), s.at(54, .22f), s.at(53, .05f, .10f), s.at(51, 0, .03f),
                       s.at(49, -.05f, .10f), s.at(48, -.22f), s.at(2, .10f, -.15f)})
    beard.push_back(q);
  m.beard.fill(beard, .10f);
  std::vector<Vec2> moustache = s.run(48, 55, 0, .015f);
  moustache.front() = moustache.front() + Vec2{-.05f, -.03f};
  moustache.back() = moustache.back() + Vec2{.05f, -.03f};
  for (const int i : {35, 33, 31}) moustache.push_back(s.at(i, 0, -.05f));
  m.moustache.fill(moustache, .035f);
  m.goatee.fill(std::vector<Vec2>{s.at(59, -.08f, -.05f), s.at(57, 0, -.07f), s.at(55, .08f, -.05f), s.at(9, 0, -.1f),
                                  s.at(8, 0, -.1f), s.at(7, 0, -.1f)},
                .05f);
  for (std::size_t i = 0; i < kTexels; ++i) {
    const float open = 1 - .95f * m.lips.row(0)[i];
    m.goatee.row(0)[i] = std::max(m.goatee.row(0)[i] * open, m.moustache.row(0)[i]);
    m.beard.row(0)[i] = std::max(m.beard.row(0)[i] * open, m.moustache.row(0)[i]);
  }
}

}  // namespace detail

inline Masks make_masks(const Head& head) {
  detail::Sketch s;
  for (std::size_t i = 0; i < kPoints; ++i) s.p[i] = {head.points[i].x, head.points[i].y};
  Masks m;
  m.lips.fill(s.run(48, 60), .018f);
  m.mouth_line.stroke(s.run(60, 65), .014f);
  m.mouth_line.stroke(std::vector<Vec2>{s.at(48), s.at(60)}, .014f);
  m.mouth_line.stroke(std::vector<Vec2>{s.at(64), s.at(54)}, .014f);
  m.cheeks.blob(mix(s.at(31), s.at(3), .5f), {.24f, .20f});
  m.cheeks.blob(mix(s.at(35), s.at(13), .5f), {.24f, .20f});
  m.nose.blob(s.at(30), {.18f, .16f});
  detail::paint_eyes(m, s);
  detail::paint_lines(m, s);
  detail::paint_hairy_parts(m, s);
  for (int i = 0; i < 5; ++i) {
    m.brows[0][std::size_t(i)] = s.at(17 + i);
    m.brows[1][std::size_t(i)] = s.at(26 - i);
  }
  return m;
}

}  // namespace synthetic_faces

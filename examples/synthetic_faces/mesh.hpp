// The mesh of one moment: the head with its shape and expression, hair, glasses and hat around it.
#pragma once
#include "expression.hpp"
#include "head.hpp"
#include "identity.hpp"

namespace synthetic_faces {

struct Mesh {
  std::vector<Vec3> position, normal, place;        // place: canonical, of hair and skin alike
  std::vector<float> cut, strand, occlusion, hair;  // hair: how far inside the hairline, radians
  std::vector<std::array<std::uint32_t, 3>> triangles;
  std::vector<Material> material;
  std::size_t first_cut = 0, first_lens = 0;  // [first_cut, first_lens) may be cut; lenses are last
  std::array<float, 256> fray{};

  std::size_t size() const { return position.size(); }
};

namespace detail {

inline void add_normals(Mesh& m, std::size_t first_vertex, std::size_t first_triangle) {
  m.normal.resize(m.size());
  for (std::size_t i = first_triangle; i < m.triangles.size(); ++i) {
    const auto& t = m.triangles[i];
    const Vec3 n = cross(m.position[t[1]] - m.position[t[0]], m.position[t[2]] - m.position[t[0]]);
    for (const std::uint32_t v : t) m.normal[v] += n;
  }
  for (std::size_t v = first_vertex; v < m.size(); ++v) m.normal[v] = normalised(m.normal[v]);
}

struct Vertex {
  Vec3 position, place;
  float cut = 1, strand = 0, occlusion = 1, hair = -1;
};
inline void push(Mesh& m, const Vertex& v) {
  m.position.push_back(v.position);
  m.place.push_back(v.place);
  m.cut.push_back(v.cut);
  m.strand.push_back(v.strand);
  m.occlusion.push_back(v.occlusion);
  m.hair.push_back(v.hair);
}
inline void push(Mesh& m, std::size_t a, std::size_t b, std::size_t c, Material material) {
  m.triangles.push_back({std::uint32_t(a), std::uint32_t(b), std::uint32_t(c)});
  m.material.push_back(material);
}
// Triangles that nothing is left of when they are cut are left out.
inline void push(Mesh& m, std::size_t base, std::span<const Triangle> triangles, Material material) {
  constexpr float kFray = .1f;
  for (const Triangle& t : triangles)
    if (std::max({m.cut[base + t[0]], m.cut[base + t[1]], m.cut[base + t[2]]}) > -kFray)
      push(m, base + t[0], base + t[1], base + t[2], material);
}

// How high above the ears hair begins, by azimuth.
inline std::vector<float> inside_hairline(const Head& head, const Identity& who, Dice& d) {
  using enum HairStyle;
  const float front = mix(.30f, .85f, who.receding) + .05f * d.normal() + (who.style == kUp ? .02f : 0);
  const bool cropped = who.style == kBuzz || who.style == kShort || who.style == kFull || who.style == kBald;
  const float nape = cropped ? -.32f : -.55f, r = who.receding;
  const Vec2 line[] = {{0, front},
                       {.45f, front + .01f + .12f * r},
                       {.85f, front - .13f + .25f * r},
                       {1.12f, -.02f},
                       {1.28f, cropped ? -.33f : -.45f},
                       {1.45f, -.12f},
                       {1.75f, -.12f},
                       {2.05f, nape},
                       {3.2f, nape - .1f}};
  const float wave = .025f, turns = 5 + 8 * d.uniform(), phase = 6 * d.uniform();
  std::vector<float> inside(head.place.size());
  for (std::size_t v = 0; v < inside.size(); ++v)
    inside[v] = head.altitude[v] - piecewise(line, std::abs(head.azimuth[v])) +
                wave * std::sin(turns * head.azimuth[v] + phase);
  return inside;
}

inline void add_hair(Mesh& m, const Head& head, const Identity& who, Dice& d) {
  using enum HairStyle;
  constexpr float kVolumes[] = {0, 0, .10f, .22f, .13f, .17f, .09f};
  const float volume = kVolumes[int(who.style)] * d.uniform(.75f, 1.3f) * (who.hat ? .35f : 1);
  const float lumps = d.uniform(.1f, .3f), phase_a = 6 * d.uniform(), phase_b = 6 * d.uniform();
  const float bangs = who.bangs ? d.uniform(.26f, .36f) : 0;
  const float parting = d.uniform(-.45f, .45f);
  const std::size_t base = m.size(), first = m.triangles.size(), n = head.place.size();
  for (std::size_t v = 0; v < n; ++v) {
    const float az = head.azimuth[v], el = head.altitude[v], inside = m.hair[v];
    const float rise = 1 / (1 + std::exp(-(inside - .07f) * 11));
    float out = volume * rise * (1 + lumps * std::sin(5 * az + phase_a) * std::sin(6 * el + phase_b));
    if (who.style == kFull || who.style == kShort) out *= .7f + .55f * clamped(el);
    const float furrow = (head.place[v].x - parting) / .09f;
    if (who.style == kLong || who.style == kBob) out *= 1 - .35f * std::exp(-furrow * furrow);
    const float fringe = bangs * std::exp(-az * az / .56f);
    const Vec3 lift = fringe > .05f ? Vec3{0, -.02f, .05f} : Vec3{};
    push(m, {m.position[v] + m.normal[v] * (out + .012f) + lift, head.place[v], inside + fringe - .02f,
             head.place[v].x + .35f * az, .55f + .45f * rise, 1});
  }
  push(m, base, head.scalp, Material::kHair);
  add_normals(m, base, first);
  if (who.style != kLong && who.style != kBob) return;
  const float open = d.uniform(.90f, 1.08f), ends = who.style == kLong ? -3 : -d.uniform(.75f, 1.3f),
              width = d.uniform(.92f, .99f);
  const Vec2 gap[] = {{-2.2f, .70f * open}, {-.6f, .70f * open}, {0, .67f * open}, {.55f, .50f * open}, {.75f, 0}};
  const std::size_t hanging = m.size(), first_hanging = m.triangles.size();
  for (std::size_t v = 0; v < n; ++v) {
    const Vec3 p = head.place[v];
    const float beside = p.z > -.75f ? std::abs(p.x) - piecewise(gap, p.y) : 1;
    Vec3 at = m.position[v];
    at.x *= width;
    constexpr float kSharp = 3;  // less frayed than a hairline
    push(m, {at, p, kSharp * std::min(beside, p.y - ends), 1.6f * head.azimuth[v], .8f, 1});
  }
  push(m, hanging, head.curtain, Material::kHair);
  add_normals(m, hanging, first_hanging);
}

// A tube of five sides along a line.
inline void add_tube(Mesh& m, std::span<const Vec3> line, float radius) {
  constexpr int kSides = 5;
  const std::size_t base = m.size(), first = m.triangles.size();
  for (std::size_t i = 0; i < line.size(); ++i) {
    const Vec3 along = line[std::min(i + 1, line.size() - 1)] - line[i > 0 ? i - 1 : 0];
    const Vec3 a = normalised(cross(along, {0, .2f, 1})), b = normalised(cross(along, a));
    for (int k = 0; k < kSides; ++k) {
      const float angle = 6.2831853f * float(k) / kSides;
      push(m, {line[i] + (a * std::cos(angle) + b * std::sin(angle)) * radius, {}});
    }
    for (std::size_t k = 0; i > 0 && k < kSides; ++k) {
      const std::size_t here = base + i * kSides, before = here - kSides, next = (k + 1) % kSides;
      push(m, before + k, before + next, here + k, Material::kFrame);
      push(m, before + next, here + next, here + k, Material::kFrame);
    }
  }
  add_normals(m, base, first);
}

struct LensShape {
  float width, height, roundness, front, bend;
};
// The rim of one lens, from its outer end around.
inline std::vector<Vec3> rim(Vec3 eye, int side, const LensShape& s) {
  constexpr int kCorners = 28;
  const float out = side == 0 ? -1.f : 1.f;
  std::vector<Vec3> line;
  for (int i = 0; i <= kCorners; ++i) {
    const float angle = 6.2831853f * float(i) / kCorners, c = std::cos(angle), n = std::sin(angle);
    const auto rounded = [&](float x) { return std::copysign(std::pow(std::abs(x), 2 / s.roundness), x); };
    line.push_back({eye.x * 1.03f + out * s.width * rounded(c), eye.y - s.height * .18f + s.height * rounded(n),
                    s.front - s.bend * std::max(0.f, c) * std::abs(c)});
  }
  return line;
}

inline std::array<Vec3, kEyes> posed_eyes(const Head& head, const Mesh& m) {
  std::array<Vec3, kEyes> out;
  for (std::size_t e = 0; e < kEyes; ++e) {
    for (const int v : head.eyeball[e]) out[e] += m.position[std::size_t(v)];
    out[e] = out[e] * (1 / float(head.eyeball[e].size()));
  }
  return out;
}

inline std::vector<std::vector<Vec3>> add_frames(Mesh& m, const Head& head, Dice& d) {
  const auto eyes = posed_eyes(head, m);
  const auto point = [&](int i) { return m.position[head.rig.points[std::size_t(i)]]; };
  const float between = length(eyes[0] - eyes[1]);
  LensShape s{};
  s.width = .40f * between * d.uniform(.88f, 1.08f);
  s.height = s.width * d.uniform(.62f, .95f);
  s.roundness = d.uniform(2, 5);
  s.front = std::max({point(27).z, point(19).z - .02f, point(24).z - .02f}) + .06f;
  s.bend = .10f * between;
  const float radius = .014f * d.uniform(.8f, 2.1f);
  std::vector<std::vector<Vec3>> rims;
  for (int e = 0; e < kEyes; ++e) {
    rims.push_back(rim(eyes[std::size_t(e)], e, s));
    add_tube(m, rims.back(), radius);
    const Vec3 ear = point(e == 0 ? 0 : 16), hinge = rims.back().front();
    const Vec3 arm[] = {hinge, {ear.x * 1.05f, hinge.y, ear.z + .1f}, {ear.x * 1.08f, hinge.y - .02f, ear.z - .5f}};
    add_tube(m, arm, radius);
  }
  const std::size_t inner = rims[0].size() / 2;
  const Vec3 middle = (eyes[0] + eyes[1]) * .5f;
  const Vec3 bridge[] = {rims[0][inner], {middle.x, middle.y + .05f * between, s.front + .03f}, rims[1][inner]};
  add_tube(m, bridge, radius);
  return rims;
}

inline void add_lenses(Mesh& m, const std::vector<std::vector<Vec3>>& rims) {
  for (const auto& line : rims) {
    const std::size_t base = m.size();
    Vec3 middle;
    for (std::size_t i = 1; i < line.size(); ++i) middle += line[i] * (1 / float(line.size() - 1));
    push(m, {middle, {}});
    for (const Vec3& p : line) push(m, {p, {}});
    for (std::size_t i = 1; i < line.size(); ++i) push(m, base, base + i, base + i + 1, Material::kLens);
  }
  m.normal.resize(m.size(), {0, 0, 1});
}

inline void add_hat(Mesh& m, const Head& head, Dice& d) {
  const float brow = d.uniform(.34f, .44f), height = d.uniform(.20f, .30f);
  const Vec2 edge[] = {{0, brow}, {1.2f, .10f}, {3.2f, -.22f}};
  const std::size_t base = m.size(), first = m.triangles.size(), n = head.place.size();
  float lowest = 1e9f;
  Vec3 front;
  for (std::size_t v = 0; v < n; ++v) {
    const float az = std::abs(head.azimuth[v]), above = head.altitude[v] - piecewise(edge, az);
    push(m,
         {m.position[v] + m.normal[v] * (.10f + height * smooth_step(0, .35f, above)), head.place[v], above, 0, .95f});
    if (std::abs(above) + az < lowest) {
      lowest = std::abs(above) + az;
      front = m.position[v];
    }
  }
  push(m, base, head.scalp, Material::kHat);
  add_normals(m, base, first);
  if (!d.chance(.55f)) return;  // else a cap with a brim
  constexpr int kSteps = 13;
  const std::size_t brim = m.size(), first_brim = m.triangles.size();
  for (int i = 0; i < kSteps; ++i) {
    const float a = 1.1f * (float(i) * 2 / (kSteps - 1) - 1), x = std::sin(a), z = std::cos(a);
    const Vec3 root{.92f * x, front.y + .05f, front.z - .72f + .86f * z};
    push(m, {root, {x, 0, 0}});
    push(m, {root + Vec3{.25f * x, -.10f, .42f * z}, {x, 1, 0}});
    if (i == 0) continue;
    const std::size_t v = brim + 2 * std::size_t(i);
    push(m, v - 2, v - 1, v, Material::kHat);
    push(m, v - 1, v + 1, v, Material::kHat);
  }
  add_normals(m, brim, first_brim);
}

}  // namespace detail

inline Mesh make_mesh(const Head& head, const FaceUnits& units, const Identity& who, const Expression& e) {
  Dice d(who.seed, 0, Stream::kMesh);
  Mesh m;
  m.position = head.rig.vertices;
  head.rig.add(m.position, who.shape);
  units.apply(head.rig, m.position, e);
  m.place = head.place;
  m.occlusion = head.rig.occlusion;
  m.cut.assign(m.size(), 1);
  m.strand = head.azimuth;
  m.hair = detail::inside_hairline(head, who, d);
  if (who.style == HairStyle::kBald)
    for (float& h : m.hair) h = -1;
  for (std::size_t i = 0; i < head.body.size(); ++i)
    detail::push(m, head.body[i][0], head.body[i][1], head.body[i][2], head.body_material[i]);
  detail::add_normals(m, 0, 0);
  for (float& f : m.fray) f = .02f * d.normal();
  m.first_cut = m.triangles.size();
  if (who.style > HairStyle::kBuzz) detail::add_hair(m, head, who, d);
  if (who.hat) detail::add_hat(m, head, d);
  std::vector<std::vector<Vec3>> rims;
  if (who.glasses != Glasses::kNone) rims = detail::add_frames(m, head, d);
  m.first_lens = m.triangles.size();
  detail::add_lenses(m, rims);
  return m;
}

}  // namespace synthetic_faces

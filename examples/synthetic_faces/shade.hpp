// Light on what the rasteriser has seen, once a pixel: sun or lamp with a shadow map, light from the other side, sky.
// Colours are squared on the way in and rooted on the way out: near enough to linear light.
#pragma once
#include <optional>

#include "raster.hpp"
#include "scene.hpp"
#include "skin.hpp"

namespace synthetic_faces {

// What is the same for all faces.
struct Studio {
  Head head;
  FaceUnits units;
  Masks masks;
  Noise noise;

  // Errors: as read_head; kFormat (a rig without the face units).
  explicit Studio(const std::string& rig)
      : head(read_head(rig)), units(head.rig), masks(make_masks(head)), noise(make_noise()) {}
};

// One face, cut out: the colour of each pixel, whether it is there, and where the 68 points are.
struct Picture {
  Canvas colour;
  std::vector<std::uint8_t> covered;   // of each pixel: 1 where the person is
  std::array<Vec2, kPoints> points{};  // pixels
};

namespace detail {

struct Shadow {
  static constexpr int kSide = 112;
  Frame& map;
  Vec3 across, up, towards;
  float zoom = 0;

  Vec3 place(Vec3 turned) const {
    const float half = float(map.side) / 2;
    return {half + dot(turned, across) * zoom, half + dot(turned, up) * zoom, -dot(turned, towards)};
  }
  // 1 in the light, 0 in the shadow.
  float light_at(Vec3 turned, float slack) const {
    const Vec3 p = place(turned);
    const float u = std::clamp(p.x - .5f, 0.f, float(map.side) - 1.01f),
                v = std::clamp(p.y - .5f, 0.f, float(map.side) - 1.01f);
    const int i = int(u), j = int(v);
    const float s = u - float(i), t = v - float(j);
    const float* d = map.depth.data() + std::size_t(j) * std::size_t(map.side) + std::size_t(i);
    const auto lit = [&](float depth) { return smooth_step(-slack, slack, depth + 1.6f * slack - p.z); };
    return mix(mix(lit(d[0]), lit(d[1]), s), mix(lit(d[map.side]), lit(d[map.side + 1]), s), t);
  }
};

// All that the shading of one face looks at.
struct Subject {
  const Studio& studio;
  const Identity& who;
  const Expression& expression;
  const Scene& scene;
  const Mesh& mesh;
  const Skin& skin;
  View view;
  std::vector<Vec3> turned, normal;  // of each vertex, in the camera's frame
  std::vector<Screen> screen;
  Shadow shadow;
  float hair_shade = 1;
  Vec3 half;                       // between the light and the eye
  std::array<Vec3, kEyes> look{};  // of each eye, canonical
};

struct Surface {
  Colour albedo;
  float gloss = .05f;
  int sharpness = 5;              // of the gloss: the power is 2 to this
  float occlusion = 1, soft = 0;  // soft: how much light comes through, as through skin
};

inline Surface skin_surface(const Subject& s, Vec3 place, float occlusion, float hair, float grain) {
  Surface out;
  const Identity& who = s.who;
  Colour c = s.skin.at(place.x, place.y);
  c = mix(c, who.skin, smooth_step(.75f, 1.15f, -place.z));
  if (hair > -.5f) {
    const bool stubble = who.style == HairStyle::kBuzz;
    const float dense = smooth_step(stubble ? -.02f : -.07f, stubble ? .10f : .06f, hair + .035f * grain);
    const Colour h = hair_colour(who.hair) * (s.hair_shade * (1 + .12f * grain));
    c = mix(c, h, dense * (stubble ? .72f : .93f));
    out.gloss *= 1 - dense;
  }
  const Wardrobe& w = s.scene.wardrobe;
  const float collar = -1.95f - (w.low_neck ? -.35f : .12f) * std::abs(place.x) - (w.low_neck ? .25f : 0.f);
  if (place.y < collar) {
    out.albedo = w.shirt * (1 + .05f * grain);
    out.gloss = .01f;
    out.occlusion = occlusion;
    return out;
  }
  const float mouth = place.y < -.5f ? 1 - smooth_step(.10f, .20f, occlusion) : 0;
  out.albedo = mix(c, c * Colour{.5f, .22f, .22f}, mouth);
  out.occlusion = occlusion;
  out.soft = 1;
  return out;
}

inline Surface eye_surface(const Subject& s, Vec3 place, float occlusion) {
  const std::size_t e = place.x > 0;
  const Vec3 d = normalised(place - s.studio.head.eye_centre[e]);
  const float angle = std::sqrt(std::max(0.f, 2 - 2 * dot(d, s.look[e])));  // about the angle, radians
  Colour c = Colour{.88f, .85f, .83f} * std::clamp(1.04f - .4f * std::abs(d.x), .5f, 1.f);
  c = mix(c, s.who.iris * (.65f + angle), clamped((.50f - angle) / .06f));
  c = mix(c, {.02f, .02f, .02f}, clamped((.22f - angle) / .05f));
  const float lid = smooth_step(-.1f, .42f, d.y);  // the upper lid's shadow
  return {c * (1 - .5f * lid), .55f, 7, clamped(occlusion * 1.1f + .25f), 0};
}

inline Surface hair_surface(const Subject& s, Vec3 place, float strand, float occlusion) {
  const Noise& n = s.studio.noise;
  const int x = int(strand * 150 + 4096), y = int((place.y - place.z) * 26 + 4096);
  const float fine = Noise::at(n.streak, x, y), broad = Noise::at(n.streak, x / 7, y / 3 + 90);
  const float tone = s.hair_shade * std::max(.25f, 1 + .11f * fine + .12f * broad);
  const bool dark = s.who.hair == HairColour::kBlack;
  return {hair_colour(s.who.hair) * tone, dark ? .10f : .13f * (1 + .3f * fine), 4, occlusion, 0};
}

inline Surface surface_at(const Subject& s, Material m, Vec3 place, const Hit& h, float occlusion, float hair) {
  const auto& t = s.mesh.triangles[std::size_t(h.triangle)];
  switch (m) {
    case Material::kSkin:
      return skin_surface(s, place, occlusion, hair,
                          Noise::at(s.studio.noise.streak, int(place.x * 120 + 4096), int(place.y * 40 + 4096)));
    case Material::kEye: return eye_surface(s, place, occlusion);
    case Material::kTeeth: return {{.90f, .87f, .80f}, .15f, 6, std::max(occlusion, .4f) * .95f, .3f};
    case Material::kTongue: return {{.62f, .28f, .27f}, .1f, 5, std::max(occlusion, .3f), .5f};
    case Material::kFrame: return {s.scene.wardrobe.frame, .35f, 5, 1, 0};
    case Material::kHat: {
      const float weave = 1 + .07f * std::sin(place.x * 40) * std::sin(place.y * 40);
      return {s.scene.wardrobe.hat * weave, .02f, 3, occlusion, 0};
    }
    case Material::kHair:
    case Material::kLashes:
    case Material::kLens: break;
  }
  const float strand =
      mix(s.mesh.strand[t[0]], s.mesh.strand[t[1]], h.second) + h.third * (s.mesh.strand[t[2]] - s.mesh.strand[t[0]]);
  return hair_surface(s, place, strand, occlusion);
}

inline Colour lit(const Subject& s, const Surface& u, Vec3 n, Vec3 at) {
  const Light& l = s.scene.light;
  const float facing = dot(n, l.towards);
  const float wrapped = u.soft > 0 ? (facing + .18f * u.soft) / (1 + .18f * u.soft) : facing;
  float key = std::max(0.f, wrapped);
  float open = 1;
  if (l.shadow > 0 && facing > -.2f) open = 1 - l.shadow * (1 - s.shadow.light_at(at, .03f * s.view.face_height));
  key *= open;
  float shine = std::max(0.f, dot(n, s.half));
  for (int k = 0; k < u.sharpness; ++k) shine *= shine;
  shine *= u.gloss * open * l.key;
  const float sky = l.ambient * (.78f + .22f * n.y) * (.25f + .75f * u.occlusion);
  const float fill = l.fill * std::max(0.f, n.x * l.fill_side + .4f * n.z) * u.occlusion;
  const float bleed = u.soft * .10f * std::max(0.f, 1 - std::abs(facing - .05f) * 4) * l.key * open;
  const Colour light = l.tint * (key * l.key * 1.25f * (.5f + .5f * u.occlusion)) + Colour{1, 1, 1} * (sky + fill) +
                       Colour{bleed, .25f * bleed, .15f * bleed};
  return u.albedo * u.albedo * light + Colour{shine, shine, shine};
}

// Light to display, with a shoulder in the highlights.
inline Colour displayed(Colour c) {
  const auto f = [](float x) { return std::sqrt(x < .7f ? x : .7f + (x - .7f) / (1 + 1.6f * (x - .7f))); };
  return {f(c.x), f(c.y), f(c.z)};
}

inline void place_vertices(Subject& s) {
  const Mesh& m = s.mesh;
  const View& v = s.view;
  s.turned.resize(m.size());
  s.normal.resize(m.size());
  s.screen.resize(m.size());
  for (std::size_t i = 0; i < m.size(); ++i) {
    s.turned[i] = v.turned(m.position[i]);
    const Vec3 n = m.normal[i];
    s.normal[i] = {dot(v.row_x, n), dot(v.row_y, n), dot(v.row_z, n)};
    s.screen[i] = v.project(s.turned[i]);
  }
  s.half = normalised(s.scene.light.towards + Vec3{0, 0, 1});
  for (std::size_t e = 0; e < kEyes; ++e) {
    const Vec2 g = s.expression.gaze;
    s.look[e] = normalised({g.x, g.y, 1});
  }
}

inline void draw_all(Frame& f, const Subject& s, std::span<const Screen> at) {
  const Cut cut{s.mesh.cut, s.mesh.strand, s.mesh.fray.data()};
  draw(f, at, s.mesh.triangles, 0, s.mesh.first_cut, Sides::kFront, nullptr);
  draw(f, at, s.mesh.triangles, s.mesh.first_cut, s.mesh.first_lens, Sides::kBoth, &cut);
}

inline void cast_shadow(Subject& s) {
  Shadow& w = s.shadow;
  w.towards = s.scene.light.towards;
  w.across = normalised(cross({0, 1, 0}, w.towards));
  w.up = cross(w.towards, w.across);
  w.zoom = .36f * Shadow::kSide / s.view.face_height;
  w.map.clear(Shadow::kSide);
  if (s.scene.light.shadow == 0) return;
  std::vector<Screen> at(s.turned.size());
  for (std::size_t i = 0; i < at.size(); ++i) at[i] = w.place(s.turned[i]);
  draw_all(w.map, s, at);
}

inline void shade_all(Picture& out, const Subject& s, const Frame& f) {
  const Mesh& m = s.mesh;
  for (int y = 0; y < f.side; ++y)
    for (int x = 0; x < f.side; ++x) {
      const std::size_t o = std::size_t(y) * std::size_t(f.side) + std::size_t(x);
      const Hit h = f.hit[o];
      if (h.triangle < 0) continue;
      const auto& t = m.triangles[std::size_t(h.triangle)];
      const float a = 1 - h.second - h.third;
      const auto of = [&](const auto& v) { return v[t[0]] * a + v[t[1]] * h.second + v[t[2]] * h.third; };
      Vec3 n = normalised(of(s.normal));
      if (n.z < -.15f) n = n * -1;
      const Vec3 at = s.view.unproject(float(x) + .5f, float(y) + .5f, f.depth[o]);
      const Surface u = surface_at(s, m.material[std::size_t(h.triangle)], of(m.place), h, of(m.occlusion), of(m.hair));
      out.colour.pixel[o] = displayed(lit(s, u, n, at));
      out.covered[o] = 1;
    }
}

// Glass over what is there: darkened, with a band of reflection.
inline void add_glass(Picture& out, const Subject& s, Frame& f) {
  if (s.mesh.first_lens == s.mesh.triangles.size()) return;
  draw(f, s.screen, s.mesh.triangles, s.mesh.first_lens, s.mesh.triangles.size(), Sides::kBoth, nullptr);
  const bool sun = s.who.glasses == Glasses::kSun;
  for (int y = 0; y < f.side; ++y)
    for (int x = 0; x < f.side; ++x) {
      const std::size_t o = std::size_t(y) * std::size_t(f.side) + std::size_t(x);
      if (f.hit[o].triangle < std::int32_t(s.mesh.first_lens)) continue;
      const float band = std::sin((float(x) + .6f * float(y)) / float(f.side) * 14 + s.scene.wardrobe.frame_glint);
      const float glint = clamped(band - .75f) * (sun ? .28f : .16f);
      Colour& c = out.colour.pixel[o];
      c = c * (sun ? .16f : .95f) + Colour{1, 1, 1} * (glint + .03f);
      out.covered[o] = 1;
    }
}

}  // namespace detail

// The person alone, on nothing.   side: pixels.
inline Picture render(const Studio& studio, const Identity& who, const Expression& e, const Scene& scene, int side) {
  static thread_local Skin skin;
  static thread_local Frame frame, shadow;  // kept: their memory is worth more than a face's time
  paint_skin(skin, studio.masks, studio.noise, who, e);
  const Mesh mesh = make_mesh(studio.head, studio.units, who, e);
  detail::Subject s{studio,
                    who,
                    e,
                    scene,
                    mesh,
                    skin,
                    make_view(studio.head, mesh, scene.pose, side),
                    {},
                    {},
                    {},
                    {shadow, {}, {}, {}, 0},
                    1,
                    {},
                    {}};
  s.hair_shade = Dice(who.seed, 1, Stream::kMesh).uniform(.8f, 1.2f);
  detail::place_vertices(s);
  detail::cast_shadow(s);
  frame.clear(side);
  detail::draw_all(frame, s, s.screen);
  Picture out{Canvas(side), std::vector<std::uint8_t>(frame.depth.size()), {}};
  detail::shade_all(out, s, frame);
  detail::add_glass(out, s, frame);
  for (std::size_t i = 0; i < kPoints; ++i) {
    const Screen p = s.screen[studio.head.rig.points[i]];
    out.points[i] = {p.x, p.y};
  }
  return out;
}

// The person before a background, which may be smaller.
inline void put_before(Picture& p, const Canvas& background) {
  const float step = float(background.side) / float(p.colour.side);
  std::size_t i = 0;
  for (int y = 0; y < p.colour.side; ++y)
    for (int x = 0; x < p.colour.side; ++x, ++i)
      if (!p.covered[i]) p.colour.pixel[i] = background.sample((float(x) + .5f) * step, (float(y) + .5f) * step);
}

}  // namespace synthetic_faces

// The skin of one face at one moment: tone, blood, freckles, wrinkles (of age, and of the muscles that are active),
// lips, make-up, brows, beard.
#pragma once
#include "expression.hpp"
#include "identity.hpp"
#include "paint.hpp"

namespace synthetic_faces {

// Colours of the plane, display values.
struct Skin {
  std::vector<Colour> texel = std::vector<Colour>(kTexels);

  // Bilinear at a canonical place, repeated beyond the edges.
  Colour at(float x, float y) const {
    const Vec2 p = to_plane(x, y);
    const float u = std::clamp(p.x, 0.f, kPlaneSide - 1.001f), v = std::clamp(p.y, 0.f, kPlaneSide - 1.001f);
    const int i = int(u), j = int(v);
    const Colour* c = texel.data() + std::size_t(j) * kPlaneSide + std::size_t(i);
    const float s = u - float(i), t = v - float(j);
    return mix(mix(c[0], c[1], s), mix(c[kPlaneSide], c[kPlaneSide + 1], s), t);
  }
};

namespace detail {

// How dark each kind of line is on the right and left side.
inline std::array<Intensity, kLines> line_depths(const Identity& who, const Expression& e) {
  const float k = who.age < 14 ? 0 : who.wrinkles;
  const float at_rest[kLines] = {.14f * k, .12f * k, .04f + .19f * k, .17f * k, .03f * k, .04f + .07f * k, .07f * k};
  const auto side = [&](auto of, std::size_t l) {
    using enum Au;
    const auto a = [&](Au au) { return of(e[au]); };
    const float depths[kLines] = {a(k1) > .2f ? .16f * a(k1) * (.35f + .65f * a(k2)) : .11f * a(k2),
                                  .30f * a(k4),
                                  .22f * a(k12) + .13f * a(k9) + .14f * a(k10),
                                  .20f * a(k6) + .10f * a(k7),
                                  .30f * a(k9),
                                  .25f * a(k17),
                                  .26f * a(k14) + .14f * a(k24) + .12f * a(k15)};
    return depths[l];
  };
  const float young = who.age < 14 ? .6f : 1;
  std::array<Intensity, kLines> out;
  for (std::size_t l = 0; l < kLines; ++l)
    out[l] = {young * (at_rest[l] + side([](const Intensity& i) { return i.right; }, l)),
              young * (at_rest[l] + side([](const Intensity& i) { return i.left; }, l))};
  return out;
}

inline void add_lines(Plane& depth, const Masks& m, const Identity& who, const Expression& e) {
  const auto depths = line_depths(who, e);
  const float bags = .04f + .2f * who.wrinkles + .08f * e[Au::k6].mean();
  for (std::size_t t = 0; t < kTexels; ++t) depth.row(0)[t] = bags * m.bags.row(0)[t];
  for (std::size_t l = 0; l < kLines; ++l)
    for (int j = 0; j < kPlaneSide; ++j) {
      float* to = depth.row(j);
      const float* from = m.lines[l].row(j);
      for (int i = 0; i < kPlaneSide / 2; ++i) to[i] += depths[l].right * from[i];
      for (int i = kPlaneSide / 2; i < kPlaneSide; ++i) to[i] += depths[l].left * from[i];
    }
}

// Hairs of both brows.
inline void add_brows(Plane& brows, const Masks& m, const Identity& who, Dice& d) {
  const float thick = d.uniform(.018f, .030f) * (who.bushy_brows ? 1.6f : 1) * (who.sex == Sex::kFemale ? .8f : 1);
  const int hairs = who.bushy_brows ? 130 : 90;
  for (int side = 0; side < 2; ++side) {
    const auto& b = m.brows[std::size_t(side)];
    const float inward = side == 0 ? 1 : -1;
    for (int h = 0; h < hairs; ++h) {
      const float t = d.uniform(), at = t * 3.999f;
      const std::size_t i = std::size_t(at);
      Vec2 root = mix(b[i], b[i + 1], at - float(i));
      root.y += std::max(-1.3f, d.normal()) * thick * (.4f + .6f * std::min(1.f, t * 2.2f));
      const Vec2 along{-inward * (1 - .5f * t) * .05f, (.1f - .1f * t + .45f * t) * .05f};
      const Vec2 hair[] = {root - along, root + along};
      brows.stroke(hair, .011f, d.uniform(.45f, .95f));
    }
  }
}

inline void add_spots(Plane& spots, const Identity& who, Dice& d) {
  if (who.freckles)
    for (int i = 0; i < 140; ++i) {
      const float x = .75f * d.uniform(-1, 1), y = d.uniform(-.75f, .05f);
      spots.blob({x, y}, {.016f, .016f}, d.uniform(.1f, .3f));
    }
  if (who.age > 55)
    for (int i = 0; i < 25; ++i) {
      const float x = d.uniform(-1, 1), y = d.uniform(-.9f, .9f), r = d.uniform(.02f, .04f);
      spots.blob({x, y}, {r, r}, .25f * who.wrinkles);
    }
  if (d.chance(.2f)) {
    const float x = d.uniform(-.6f, .6f), y = d.uniform(-1.f, .1f);
    spots.blob({x, y}, {.025f, .025f}, .6f);
  }
}

struct Coats {
  Colour lips, brows, beard, shadow;
  float lips_part, beard_part, shadow_part, liner_part, lid_part, rosy, nose;
  const Plane* beard_mask;
};

inline Coats choose_coats(const Masks& m, const Identity& who, Dice& d) {
  constexpr Colour kLipsticks[] = {
      {.66f, .10f, .14f}, {.76f, .24f, .34f}, {.56f, .12f, .22f}, {.74f, .32f, .29f}, {.45f, .09f, .17f}};
  constexpr Colour kShadows[] = {{.45f, .3f, .3f}, {.35f, .3f, .45f}, {.5f, .35f, .25f}, {.3f, .35f, .4f}};
  const Colour hair = hair_colour(who.hair);
  Coats c{};
  const Colour own = who.skin * Colour{.84f, .60f, .60f} + Colour{.06f, .0f, .012f};
  const float pale = .35f * smooth_step(45, 80, who.age);
  c.lips = who.lipstick ? d.pick(kLipsticks) : mix(own, who.skin * Colour{.86f, .74f, .72f}, pale);
  c.lips_part = who.lipstick ? .9f : .75f;
  c.brows = {std::min(hair.x * .75f, .8f * who.skin.x), std::min(hair.y * .75f, .8f * who.skin.y),
             std::min(hair.z * .75f, .8f * who.skin.z)};
  c.beard = hair * .8f;
  const bool shaven = who.beard == FacialHair::kNone;
  c.beard_mask = who.beard == FacialHair::kMoustache ? &m.moustache
                 : who.beard == FacialHair::kGoatee  ? &m.goatee
                                                     : &m.beard;
  c.beard_part = who.beard == FacialHair::kStubble       ? d.uniform(.35f, .5f)
                 : !shaven                               ? 1.05f
                 : who.sex == Sex::kMale && who.age > 17 ? d.uniform(0, .12f)
                                                         : 0;
  c.shadow = d.pick(kShadows);
  c.shadow_part = who.eye_makeup ? d.uniform(.3f, .6f) : 0;
  c.liner_part = who.eye_makeup ? .85f : 0;
  c.lid_part = who.sex == Sex::kFemale ? .6f : .45f;
  c.rosy = .25f + who.rosy + (who.eye_makeup ? .5f : 0);
  c.nose = d.uniform(.2f, 1.f);
  return c;
}

}  // namespace detail

// Where on the plane there is more than plain skin, texels.
struct PlanePart {
  int left, right, top, bottom;
};
inline constexpr PlanePart kFace{32, kPlaneSide - 32, 24, kPlaneSide};

// Who at one moment; the same seed paints the same skin in every frame of a clip.
inline void paint_skin(Skin& skin, const Masks& m, const Noise& noise, const Identity& who, const Expression& e) {
  Dice d(who.seed, 0, Stream::kSkin);
  static thread_local Plane depth, brows, spots;
  brows.clear();
  spots.clear();
  const detail::Coats c = detail::choose_coats(m, who, d);
  detail::add_lines(depth, m, who, e);
  detail::add_brows(brows, m, who, d);
  detail::add_spots(spots, who, d);
  const int shift_x = d.below(kPlaneSide), shift_y = d.below(kPlaneSide);
  const float blotch = d.uniform(.015f, .035f) * (1 + who.wrinkles),
              pores = d.uniform(.006f, .014f) * (1 + .5f * who.wrinkles);
  const float rings = d.uniform(.3f, 1.f + .5f * who.wrinkles);
  const Colour blood = who.skin.x < .55f ? Colour{.01f, -.03f, -.025f} : Colour{.02f, -.055f, -.045f};
  for (int j = 0; j < kPlaneSide; ++j)
    for (int i = 0; i < kPlaneSide; ++i) {
      const auto of = [&](const Plane& p) { return p.row(j)[i]; };
      const int x = i + shift_x, y = j + shift_y;
      const float tone = 1 + blotch * Noise::at(noise.cloud, x, y) + pores * Noise::at(noise.white, x, y);
      Colour& to = skin.texel[std::size_t(j) * kPlaneSide + std::size_t(i)];
      if (i < kFace.left || i >= kFace.right || j < kFace.top || j >= kFace.bottom) {
        to = who.skin * tone;
        continue;
      }
      Colour t = who.skin * tone + blood * (of(m.cheeks) * c.rosy + of(m.nose) * c.nose);
      t = t * (Colour{1, 1, 1} + Colour{-.09f, -.13f, -.11f} * (of(m.eye_shade) * rings) +
               Colour{-.9f, -1.2f, -1.3f} * of(spots));
      const float line = std::min(.6f, of(depth));
      t = t * (1 - line);
      const float lips = of(m.lips) * c.lips_part;
      t = mix(t, c.lips * (1 + .04f * Noise::at(noise.cloud, 2 * x, y)), lips) * (1 - .45f * of(m.mouth_line));
      if (who.eye_makeup) {
        t = mix(t, c.shadow * t * 1.3f, of(m.eye_shade) * c.shadow_part);
        t = mix(t, Colour{.05f, .04f, .04f}, of(m.liner) * c.liner_part);
      }
      t = mix(t, who.skin * .15f, of(m.lid) * c.lid_part);
      t = mix(t, c.brows, std::min(.92f, of(brows)));
      if (const float hairs = of(*c.beard_mask) * c.beard_part; hairs > 0) {
        const float streak = Noise::at(noise.streak, x, y);
        t = mix(t, c.beard * (1 + .15f * streak), std::clamp(hairs * (1 + .22f * streak), 0.f, .95f));
      }
      to = {clamped(t.x), clamped(t.y), clamped(t.z)};
    }
}

}  // namespace synthetic_faces

// Who is seen: sex, age, the head's shape, skin, hair, beard, make-up and what is worn. Drawn from simple conditional
// tables; ethnicity is a mixture that only shapes and colours follow, and is no label.
#pragma once
#include "random.hpp"
#include "rig.hpp"

namespace synthetic_faces {

enum class Sex { kFemale, kMale };
enum class HairColour { kBlack, kBrown, kBlond, kRed, kGrey };
enum class HairStyle { kBald, kBuzz, kShort, kFull, kLong, kBob, kUp };
enum class FacialHair { kNone, kStubble, kMoustache, kGoatee, kBeard };
enum class Glasses { kNone, kClear, kSun };

struct Identity {
  Sex sex = Sex::kFemale;
  float age = 30;  // years
  Weights shape;
  Colour skin;  // of display values, 0..1
  HairColour hair = HairColour::kBrown;
  HairStyle style = HairStyle::kShort;
  FacialHair beard = FacialHair::kNone;
  Glasses glasses = Glasses::kNone;
  bool bangs = false, hat = false, bushy_brows = false, freckles = false, lipstick = false, eye_makeup = false;
  float receding = 0, wrinkles = 0;  // 0..1
  float rosy = 0;                    // 0..1
  Colour iris;
  std::uint64_t seed = 0;  // of what is drawn on the skin and of the hair
};

inline Colour hair_colour(HairColour c) {
  constexpr Colour kColours[] = {
      {.10f, .085f, .085f}, {.31f, .20f, .135f}, {.76f, .61f, .38f}, {.54f, .25f, .12f}, {.62f, .61f, .60f}};
  return kColours[std::size_t(c)];
}

namespace detail {

struct Skins {
  Colour light, middle, dark;
};
inline constexpr const char* kRaces[] = {"african", "asian", "caucasian"};
inline constexpr Skins kSkins[] = {{{.66f, .47f, .35f}, {.49f, .33f, .235f}, {.31f, .20f, .15f}},
                                   {{.93f, .81f, .70f}, {.86f, .71f, .58f}, {.75f, .58f, .44f}},
                                   {{.93f, .80f, .73f}, {.88f, .72f, .62f}, {.79f, .60f, .49f}}};

inline void add_macro_shape(const Rig& rig, Dice& d, Identity& who, int race, int other, float part) {
  constexpr const char* kAges[] = {"baby", "child", "young", "old"};
  constexpr Vec2 kKnots[] = {{1, 0}, {10, 1}, {25, 2}, {90, 3}};
  const float at = piecewise(kKnots, who.age);
  const int low = std::min(int(at), 2);
  const float high_part = at - float(low);
  const float male = std::clamp((who.sex == Sex::kMale ? .9f : .06f) + .09f * d.normal(), -.1f, 1.1f);
  const float fat = .5f * d.normal();
  for (int k = 0; k < 2; ++k) {
    const std::string age = kAges[low + k];
    const float age_part = k ? high_part : 1 - high_part;
    for (const char* sex : {"male", "female"}) {
      const float sex_part = (sex[0] == 'm' ? male : 1 - male) * age_part;
      for (const auto& [r, race_part] : {std::pair(race, 1 - part), std::pair(other, part)})
        who.shape.push_back(
            {rig.target("race/" + std::string(kRaces[r]) + "-" + sex + "-" + age), sex_part * race_part});
    }
    who.shape.push_back({rig.target("univ/" + std::string(who.sex == Sex::kMale ? "male-" : "female-") + age +
                                    (fat > 0 ? "-maxweight" : "-minweight")),
                         std::min(1.f, std::abs(fat)) * age_part});
  }
}

// How far the targets of a group of the face vary; 0: they do not. Where brows, eyes and mouths sit varies too: an
// expression must be told from a face that is like that at rest.
inline float spread(std::string_view name) {
  struct Group {
    std::string_view prefix;
    float spread;
  };
  constexpr Group kGroups[] = {{"head/", .20f},     {"cheek/", .28f}, {"chin/", .28f},  {"forehead/", .28f},
                               {"eyebrows/", .30f}, {"eyes/", .20f},  {"mouth/", .24f}, {"nose/", .27f},
                               {"ears/", .28f},     {"asym/", .12f}};
  if (name.find("age") != name.npos || name.find("head-trans") != name.npos) return 0;
  for (const Group& g : kGroups)
    if (name.starts_with(g.prefix)) {
      const bool place = name.find("trans") != name.npos || name.find("angles") != name.npos;
      return place && g.prefix != "eyebrows/" ? g.spread * .7f : g.spread;
    }
  return 0;
}

inline void add_features(const Rig& rig, Dice& d, Identity& who, int race) {
  constexpr float kPart = .42f;
  for (const auto& [name, t] : rig.names) {
    if (name.find("/r-") != name.npos) continue;  // goes with its left one
    const float s = spread(name);
    if (s == 0 || !d.chance(kPart)) continue;
    float w = std::min(.8f, std::abs(d.normal()) * s);
    if (name.find("epicanthus") != name.npos && race != 1) w *= .2f;
    who.shape.push_back({t, w});
    const auto left = name.find("/l-");
    if (left == name.npos) continue;
    std::string right = name;
    right[left + 1] = 'r';
    who.shape.push_back({rig.target(right), w});
  }
}

inline Colour skin_of(Dice& d, int race, int other, float part) {
  const Skins& s = kSkins[race];
  const float t = d.uniform();
  Colour c = d.chance(.3f) ? mix(s.middle, s.dark, t) : mix(s.light, s.middle, t);
  c = mix(c, kSkins[other].middle, part);
  const float light = .016f * d.normal();
  const float red = .008f * d.normal(), blue = .008f * d.normal();
  return {clamped(c.x + light + red), clamped(c.y + light), clamped(c.z + light + blue)};
}

inline HairColour hair_of(Dice& d, int race, float age) {
  if (age > 55 && d.chance(std::min(.95f, (age - 46) / 28))) return HairColour::kGrey;
  if (race == 2) return HairColour(d.weighted({.2f, .38f, .32f, .1f}));
  return d.chance(.05f) ? HairColour::kBlond : HairColour(d.weighted({.8f, .2f}));
}

inline Colour iris_of(Dice& d, int race) {
  constexpr Colour kIrises[] = {{.22f, .14f, .09f}, {.28f, .18f, .11f}, {.38f, .27f, .16f},
                                {.30f, .42f, .55f}, {.38f, .50f, .42f}, {.45f, .47f, .48f}};
  return kIrises[race == 2 ? d.weighted({.1f, .2f, .15f, .3f, .15f, .1f}) : d.below(2)];
}

inline void dress(Dice& d, Identity& who) {
  using enum HairStyle;
  const bool male = who.sex == Sex::kMale;
  const bool grown = who.age > 30;
  constexpr HairStyle kMale[] = {kBald, kBuzz, kShort, kFull}, kFemale[] = {kLong, kBob, kUp, kShort, kFull};
  who.style = male ? kMale[d.weighted({grown ? .15f : .02f, .2f, .4f, grown ? .25f : .38f})]
                   : kFemale[d.weighted({.44f, .24f, .16f, .08f, .08f})];
  if (male && who.age > 19) who.beard = FacialHair(d.weighted({.46f, .15f, .11f, .11f, .17f}));
  who.lipstick = !male && who.age > 15 && d.chance(.5f);
  who.eye_makeup = !male && who.age > 15 && d.chance(who.lipstick ? .75f : .12f);
  who.hat = d.chance(.1f);
  who.bangs = !who.hat && (who.style == kLong || who.style == kBob || who.style == kFull) && d.chance(.35f);
  who.receding = male && !who.bangs ? clamped((who.age - 33) / 45) * d.uniform() : 0;
  who.glasses = Glasses(d.weighted({.71f, .22f, .07f}));
  who.bushy_brows = d.chance(male ? .33f : .06f);
}

}  // namespace detail

inline Identity draw_identity(const Rig& rig, Dice d) {
  Identity who;
  const int race = d.below(3), other = d.below(3);
  const float a = d.uniform(), b = d.uniform();
  const float part = .45f * a * b;
  who.sex = d.chance(.5f) ? Sex::kMale : Sex::kFemale;
  constexpr Vec2 kAges[] = {{4, 16}, {16, 40}, {35, 65}, {60, 86}};
  const Vec2 ages = kAges[d.weighted({.15f, .35f, .3f, .2f})];
  who.age = d.uniform(ages.x, ages.y);
  detail::add_macro_shape(rig, d, who, race, other, part);
  detail::add_features(rig, d, who, race);
  who.skin = detail::skin_of(d, race, other, part);
  who.hair = detail::hair_of(d, race, who.age);
  who.iris = detail::iris_of(d, race);
  detail::dress(d, who);
  const float lines = clamped((who.age - 31) / 45);
  who.wrinkles = lines * d.uniform(.65f, 1.15f);
  who.freckles = race == 2 && d.chance(.15f);
  who.rosy = race == 0 ? .4f * d.uniform() : d.uniform();
  who.seed = d.seed();
  return who;
}

}  // namespace synthetic_faces

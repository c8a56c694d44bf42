// What the face does: action units (AU) of the Facial Action Coding System with an intensity on each side, and seven
// expressions as prototypes that overlap (EMFACS-like): an expression has AUs that it needs and others that may join.
#pragma once
#include <optional>
#include <span>

#include "random.hpp"
#include "rig.hpp"

namespace synthetic_faces {

enum class Emotion { kNeutral, kHappy, kSad, kSurprised, kFearful, kAngry, kDisgusted };
inline constexpr int kEmotions = 7;

// In the order of kActionUnits.
enum class Au { k1, k2, k4, k5, k6, k7, k9, k10, k12, k14, k15, k17, k18, k20, k23, k24, k25, k26, k43 };
inline constexpr int kAus = 19;
inline constexpr float kSeen = .3f;  // from this intensity on an AU is in the labels

struct FaceUnit {
  std::string_view name;  // a target fu/...; one that ends with * stands for its Left and its Right
  float scale;
};
struct ActionUnit {
  int number;
  std::array<FaceUnit, 3> units;
  int region;       // of facellava::kRegions, where it shows best
  float one_sided;  // how often it is, where it is active
};
inline constexpr std::array<ActionUnit, kAus> kActionUnits{{
    {1, {{{"browInnerUp", 1.f}}}, 1, 0},
    {2, {{{"browOuterUp*", 1.f}}}, 1, .15f},
    {4, {{{"browDown*", 1.f}}}, 1, .04f},
    {5, {{{"eyeWide*", 1.f}}}, 5, .02f},
    {6, {{{"cheekSquint*", 1.f}, {"eyeSquint*", .45f}}}, 5, .03f},
    {7, {{{"eyeSquint*", .95f}}}, 5, .06f},
    {9, {{{"noseSneer*", 1.f}, {"mouthUpperUp*", .3f}}}, 3, .05f},
    {10, {{{"mouthUpperUp*", .9f}, {"noseSneer*", .15f}}}, 7, .12f},
    {12, {{{"mouthSmile*", 1.f}}}, 7, .10f},
    {14, {{{"mouthDimple*", 1.f}}}, 7, .30f},
    {15, {{{"mouthFrown*", 1.f}}}, 7, .05f},
    {17, {{{"mouthShrugLower", .9f}}}, 7, 0},
    {18, {{{"mouthPucker", .8f}}}, 7, 0},
    {20, {{{"mouthStretch*", 1.f}}}, 7, .06f},
    {23, {{{"mouthRollUpper", .6f}, {"mouthRollLower", .6f}, {"mouthPucker", .25f}}}, 7, 0},
    {24, {{{"mouthPress*", 1.f}, {"mouthShrugLower", .2f}}}, 7, 0},
    {25, {{{"mouthLowerDown*", .55f}, {"mouthUpperUp*", .15f}, {"jawOpen", .07f}}}, 7, 0},
    {26, {{{"jawOpen", .55f}}}, 7, 0},
    {43, {{{"eyeBlink*", 1.f}}}, 5, .15f},
}};

struct Intensity {
  float right = 0, left = 0;  // of the person's own sides: right is left in the picture
  float most() const { return std::max(right, left); }
  float mean() const { return (right + left) / 2; }
};

struct Expression {
  std::optional<Emotion> emotion;  // none: a free set of AUs
  std::array<Intensity, kAus> au{};
  Vec2 gaze;

  Intensity& operator[](Au a) { return au[std::size_t(a)]; }
  const Intensity& operator[](Au a) const { return au[std::size_t(a)]; }
};

enum class Role { kMay, kNeeds };
struct Part {
  Au au;
  Role role;
  float chance;  // of being there; those needed: of 1, or one of a group of alternatives
};

// What an expression is made of. Two that overlap differ in what they need.
inline std::span<const Part> parts_of(Emotion e) {
  using enum Au;
  using enum Role;
  static constexpr Part kHappyParts[] = {{k6, kNeeds, .9f}, {k12, kNeeds, 1}, {k25, kMay, .45f}, {k26, kMay, .2f},
                                         {k7, kMay, .15f},  {k4, kMay, .05f}, {k2, kMay, .06f},  {k14, kMay, .08f}};
  static constexpr Part kSadParts[] = {{k1, kNeeds, .95f}, {k15, kNeeds, .95f}, {k4, kMay, .65f}, {k17, kMay, .5f},
                                       {k7, kMay, .1f},    {k43, kMay, .08f},   {k25, kMay, .06f}};
  static constexpr Part kSurprisedParts[] = {{k1, kNeeds, 1}, {k2, kNeeds, 1}, {k5, kNeeds, .9f}, {k26, kNeeds, .9f}};
  static constexpr Part kFearfulParts[] = {{k1, kNeeds, 1},  {k4, kNeeds, 1},  {k5, kNeeds, .95f}, {k20, kNeeds, .9f},
                                           {k2, kMay, .75f}, {k7, kMay, .25f}, {k25, kMay, .5f},   {k26, kMay, .35f}};
  static constexpr Part kAngryParts[] = {{k4, kNeeds, 1},  {k7, kNeeds, .75f}, {k23, kNeeds, .55f}, {k24, kNeeds, .5f},
                                         {k5, kMay, .35f}, {k17, kMay, .3f},   {k10, kMay, .12f},   {k25, kMay, .1f}};
  static constexpr Part kDisgustedParts[] = {{k9, kNeeds, .85f}, {k10, kNeeds, .6f}, {k4, kMay, .45f},
                                             {k17, kMay, .35f},  {k15, kMay, .25f},  {k7, kMay, .25f},
                                             {k25, kMay, .2f}};
  switch (e) {
    case Emotion::kHappy: return kHappyParts;
    case Emotion::kSad: return kSadParts;
    case Emotion::kSurprised: return kSurprisedParts;
    case Emotion::kFearful: return kFearfulParts;
    case Emotion::kAngry: return kAngryParts;
    case Emotion::kDisgusted: return kDisgustedParts;
    case Emotion::kNeutral: break;
  }
  return {};
}

namespace detail {

// AUs that pull against each other: the second one rests where the first one is active.
inline void settle(Expression& e) {
  using enum Au;
  constexpr std::pair<Au, Au> kAgainst[] = {{k26, k24}, {k26, k23}, {k25, k24}, {k25, k23}, {k12, k15}, {k12, k18},
                                            {k20, k18}, {k43, k5},  {k43, k7},  {k26, k17}, {k12, k24}, {k23, k24},
                                            {k5, k6},   {k9, k2},   {k9, k1},   {k14, k18}};
  for (const auto& [strong, weak] : kAgainst)
    if (e[strong].most() >= kSeen && e[weak].most() >= kSeen) e[weak] = {};
  // A jaw that drops parts the lips.
  if (e[k26].most() >= kSeen && e[k25].most() < kSeen) e[k25] = {.4f, .4f};
}

inline Intensity drawn(Dice& d, Au a, float low) {
  const float v = d.uniform(low, 1), tilt = .07f * d.normal();
  Intensity i{clamped(v * (1 - tilt)), clamped(v * (1 + tilt))};
  if (d.chance(kActionUnits[std::size_t(a)].one_sided)) (d.chance(.5f) ? i.left : i.right) = 0;
  i.left = i.left < kSeen ? std::min(i.left, .1f) : i.left;
  i.right = i.right < kSeen ? std::min(i.right, .1f) : i.right;
  return i;
}

inline void draw_prototype(Dice& d, Expression& e) {
  for (const Part& p : parts_of(*e.emotion))
    if (d.chance(p.chance)) e[p.au] = drawn(d, p.au, p.role == Role::kNeeds ? .45f : .35f);
  const Emotion is = *e.emotion;
  const bool lids_tell = is == Emotion::kAngry || is == Emotion::kFearful || is == Emotion::kSurprised;
  if (!lids_tell && d.chance(.05f)) e[Au::k43] = {.95f, .95f};
  settle(e);
  // Alternatives, of which one must be there.
  const auto need = [&](Au a, Au b) {
    if (e[a].most() < kSeen && e[b].most() < kSeen) e[a] = drawn(d, a, .5f);
  };
  if (is == Emotion::kAngry) need(Au::k7, Au::k23);
  if (is == Emotion::kDisgusted) need(Au::k9, Au::k10);
  if (is == Emotion::kSad) need(Au::k15, Au::k1);
  if (is == Emotion::kFearful) need(Au::k20, Au::k5);
}

}  // namespace detail

// Three of four are one of the seven expressions, the others a free set of AUs.
inline Expression draw_expression(Dice d) {
  constexpr float kPrototypes = .75f, kFree = .2f;
  Expression e;
  if (d.chance(kPrototypes)) {
    e.emotion = Emotion(d.below(kEmotions));
    detail::draw_prototype(d, e);
  } else {
    for (int a = 0; a < kAus; ++a) {
      const float often = Au(a) == Au::k43 ? .1f : kFree;
      if (d.chance(often)) e[Au(a)] = detail::drawn(d, Au(a), .4f);
    }
    detail::settle(e);
  }
  // No face is quite at rest.
  for (Intensity& i : e.au) {
    const float rest = d.chance(.5f) ? d.uniform(0, .1f) : 0;
    if (i.most() < kSeen && rest > 0) i = {rest, rest};
  }
  const float x = .11f * d.normal(), y = .07f * d.normal();
  e.gaze = {x, y};
  return e;
}

// The face units of an expression on a rig, found by name once.
class FaceUnits {
 public:
  explicit FaceUnits(const Rig& rig) {
    for (std::size_t a = 0; a < kAus; ++a)
      for (const FaceUnit& u : kActionUnits[a].units) {
        if (u.name.empty()) continue;
        std::string name = "fu/" + std::string(u.name);
        if (name.back() != '*') {
          entries_.push_back({a, rig.target(name), u.scale});
          continue;
        }
        name.pop_back();
        for (const char* side : {"Left", "Right"}) entries_.push_back({a, rig.target(name + side), u.scale});
      }
  }

  // Moves the vertices of an identity. Units of one side pull at the other one a little (half as much, of eyeBlink):
  // each half of the face takes its own intensity, so that an eye that is open in the labels is open.
  void apply(const Rig& rig, std::vector<Vec3>& moved, const Expression& e) const {
    for (const Entry& u : entries_) {
      const Intensity& i = e.au[u.au];
      if (i.most() > 0) rig.add(moved, u.target, i.left * u.scale, i.right * u.scale);
    }
  }

 private:
  struct Entry {
    std::size_t au;
    int target;
    float scale;
  };
  std::vector<Entry> entries_;
};

}  // namespace synthetic_faces

// All that is known about a sample. What cannot be seen (behind sunglasses, a hand, a mask) is known too, but marked.
#pragma once
#include <bitset>

#include "camera.hpp"
#include "clip.hpp"
#include "facellava/core/regions.hpp"
#include "fake.hpp"
#include "occluder.hpp"

namespace synthetic_faces {

// The binary attributes, in the order of kAttributeNames.
enum class Attribute {
  kMale,
  kYoung,
  kBald,
  kBangs,
  kBlackHair,
  kBrownHair,
  kBlondHair,
  kRedHair,
  kGreyHair,
  kLongHair,
  kReceding,
  kEyeglasses,
  kSunglasses,
  kHat,
  kLipstick,
  kHeavyMakeup,
  kMoustache,
  kGoatee,
  kFullBeard,
  kStubble,
  kNoBeard,
  kBushyBrows,
  kWrinkles,
  kFreckles,
  kSmiling,
  kMouthOpen,
  kEyesClosed,
  kCovered,
  kGreyPicture
};
inline constexpr std::array kAttributeNames = {
    "male",       "young",      "bald",        "bangs",        "black_hair",  "brown_hair",
    "blond_hair", "red_hair",   "grey_hair",   "long_hair",    "receding",    "glasses",
    "sunglasses", "hat",        "lipstick",    "heavy_makeup", "moustache",   "goatee",
    "beard",      "stubble",    "no_beard",    "bushy_brows",  "wrinkles",    "freckles",
    "smiling",    "mouth_open", "eyes_closed", "covered_face", "grey_picture"};
inline constexpr std::size_t kAttributes = kAttributeNames.size();
static_assert(kAttributes == std::size_t(Attribute::kGreyPicture) + 1);

inline constexpr std::array<std::string_view, kEmotions> kEmotionNames{"neutral", "happy", "sad",      "surprised",
                                                                       "fearful", "angry", "disgusted"};
inline constexpr std::array<std::string_view, 5> kHairNames{"black", "brown", "blond", "red", "grey"};

using Points = std::array<Vec2, kPoints>;

struct Labels {
  Identity who;
  Expression expression;  // of a clip: at its apex
  std::bitset<kAttributes> attributes;
  std::array<bool, facellava::kRegionCount> covered{};  // regions of which half or more is hidden
  Occluder occluder = Occluder::kNone;
  Forgery forgery;
  Pose pose;
  Motion motion;               // of a clip
  std::vector<Points> points;  // of each frame, pixels of the picture
  int side = 0;

  bool has(Attribute a) const { return attributes[std::size_t(a)]; }
  bool fake() const { return forgery.kind != FakeKind::kReal; }
  bool mouth_covered() const { return covered[7]; }
  bool eyes_covered() const { return covered[5] || covered[6]; }
  // Of pairs (brows, eyes) both must be in sight.
  bool can_show(Au a) const {
    const std::size_t r = std::size_t(kActionUnits[std::size_t(a)].region);
    return !covered[r] && !((r == 1 || r == 5) && covered[r + 1]);
  }
  // Active, and in sight.
  bool shows(Au a) const { return can_show(a) && expression[a].most() >= kSeen; }
  std::vector<Au> shown() const {
    std::vector<Au> out;
    for (int a = 0; a < kAus; ++a)
      if (shows(Au(a))) out.push_back(Au(a));
    return out;
  }
};

namespace detail {

inline void set_attributes(Labels& l, const Camera& camera) {
  using enum Attribute;
  const Identity& w = l.who;
  const auto set = [&](Attribute a, bool on) { l.attributes[std::size_t(a)] = on; };
  const bool bald = w.style == HairStyle::kBald, sun = w.glasses == Glasses::kSun;
  const bool beard_seen = !l.mouth_covered();
  // Under a hat a shaved head is as good as none; what hair there is shows at the sides.
  const bool hair = !bald && !(w.hat && w.style == HairStyle::kBuzz);
  set(kMale, w.sex == Sex::kMale);
  set(kYoung, w.age < 36);
  set(kBald, bald && !w.hat);
  set(kBangs, w.bangs);
  for (int c = 0; c < 5; ++c) set(Attribute(int(kBlackHair) + c), hair && !camera.grey() && int(w.hair) == c);
  set(kLongHair, w.style == HairStyle::kLong);
  set(kReceding, w.receding > .35f && hair && !w.hat);
  set(kEyeglasses, w.glasses == Glasses::kClear);
  set(kSunglasses, sun);
  set(kHat, w.hat);
  set(kLipstick, w.lipstick && !l.mouth_covered());
  set(kHeavyMakeup, w.eye_makeup && !sun);
  set(kMoustache, beard_seen && w.beard == FacialHair::kMoustache);
  set(kGoatee, beard_seen && w.beard == FacialHair::kGoatee);
  set(kFullBeard, beard_seen && w.beard == FacialHair::kBeard);
  set(kStubble, beard_seen && w.beard == FacialHair::kStubble);
  set(kNoBeard, beard_seen && w.beard == FacialHair::kNone);
  set(kBushyBrows, w.bushy_brows);
  set(kWrinkles, w.wrinkles > .35f);
  set(kFreckles, w.freckles);
  set(kSmiling, l.shows(Au::k12));
  set(kMouthOpen, l.shows(Au::k25) || l.shows(Au::k26));
  const Intensity& lids = l.expression[Au::k43];
  set(kEyesClosed, l.can_show(Au::k43) && std::min(lids.left, lids.right) > .7f);
  set(kCovered, l.occluder != Occluder::kNone);
  set(kGreyPicture, camera.grey());
}

}  // namespace detail

inline Labels make_labels(const Identity& who, const Expression& e, const Pose& pose, const Occlusion& o,
                          const Forgery& forgery, const Camera& camera) {
  Labels l;
  l.who = who;
  l.expression = e;
  l.pose = pose;
  l.forgery = forgery;
  l.occluder = o.kind;
  for (std::size_t r = 0; r < l.covered.size(); ++r) {
    const facellava::Region& region = facellava::kRegions[r];
    int hidden = 0;
    for (int i = region.first; i < region.first + region.count; ++i) hidden += o.hidden[std::size_t(i)];
    l.covered[r] = 2 * hidden >= region.count;
  }
  if (who.glasses == Glasses::kSun) l.covered[5] = l.covered[6] = true;
  detail::set_attributes(l, camera);
  return l;
}

}  // namespace synthetic_faces

// What a person looks like, in words.
#pragma once
#include "labels.hpp"
#include "phrases.hpp"

namespace synthetic_faces {

struct AttributeWords {
  Attribute attribute;
  std::string_view question, yes, no;                     // patterns
  enum class Of { kHead, kInnerFace, kMouth, kEyes } of;  // where it is; a forged inner face is nobody's
};

inline std::span<const AttributeWords> attribute_words() {
  using enum Attribute;
  using Of = AttributeWords::Of;
  static constexpr AttributeWords kWords[] = {
      {kEyeglasses, "{Is the person wearing|Does the person wear|Do you see} {glasses|eyeglasses}?",
       "{there are glasses on the face|the person wears glasses}",
       "{there are no eyeglasses|the person wears no eyeglasses}", Of::kHead},
      {kSunglasses, "{Is the person wearing|Does the person wear} sunglasses?", "the person wears sunglasses",
       "there are no sunglasses", Of::kHead},
      {kHat, "{Is the person wearing|Does the person wear|Is there} a {hat|hat or cap}?",
       "{there is a hat|the person wears a hat}", "{there is no hat|the person wears no hat}", Of::kHead},
      {kBald, "Is the person bald?", "the head is bald", "the person is not bald", Of::kHead},
      {kBangs, "{Does the person have|Are there} bangs{| over the forehead}?", "bangs cover part of the forehead",
       "there are no bangs", Of::kHead},
      {kLongHair, "{Does the person have|Is that} long hair?", "the hair is long", "the hair is not long", Of::kHead},
      {kReceding, "Is the hairline receding?", "the hairline is receding", "the hairline is not receding", Of::kHead},
      {kMale, "Is this {person |}a {man|man or a boy}?", "the person looks male", "the person looks female",
       Of::kInnerFace},
      {kYoung, "Is the person young?", "the person looks young", "the person does not look young", Of::kInnerFace},
      {kLipstick, "Is the person wearing lipstick?", "there is lipstick on the lips", "there is no lipstick",
       Of::kMouth},
      {kHeavyMakeup, "{Is the person wearing|Do you see} {eye make-up|make-up around the eyes}?",
       "there is make-up around the eyes", "there is no make-up around the eyes", Of::kEyes},
      {kMoustache, "Does the person have {only |}a moustache?", "there is a moustache", "there is no moustache alone",
       Of::kMouth},
      {kGoatee, "Does the person have a goatee?", "there is a goatee", "there is no goatee", Of::kMouth},
      {kFullBeard, "{Does the person have|Is there} a full beard?", "there is a full beard", "there is no full beard",
       Of::kMouth},
      {kNoBeard, "{Is the face clean-shaven|Is the face without a beard}?", "there is no beard", "there is facial hair",
       Of::kMouth},
      {kBushyBrows, "Are the eyebrows {bushy|thick}?", "the eyebrows are bushy", "the eyebrows are not bushy",
       Of::kInnerFace},
      {kWrinkles, "{Are there|Does the face have|Do you see} wrinkles?", "there are wrinkles",
       "the skin has hardly any wrinkles", Of::kInnerFace},
      {kFreckles, "{Are there|Do you see} freckles?", "there are freckles", "there are no freckles", Of::kInnerFace},
      {kSmiling, "{Is the person smiling|Do you see a smile|Is there a smile on the face}?", "the person is smiling",
       "the person is not smiling", Of::kMouth},
      {kMouthOpen, "Is the mouth {|slightly }open?", "the mouth is open", "the mouth is closed", Of::kMouth},
      {kEyesClosed, "Are the eyes {closed|shut}?", "the eyes are closed", "the eyes are not both closed", Of::kEyes},
      {kCovered, "Is {part of the face|the face partly} {covered|hidden}?", "something covers part of the face",
       "nothing covers the face", Of::kHead},
      {kGreyPicture, "Is this a {black-and-white|grey} picture?", "the picture has no colour",
       "the picture is in colour", Of::kHead},
  };
  return kWords;
}

inline std::string person_of(const Labels& l) {
  const float age = l.who.age;
  const bool male = l.has(Attribute::kMale);
  if (age < 14) return male ? "a boy" : "a girl";
  return std::string(age < 20   ? "a teenage "
                     : age < 36 ? "a young "
                     : age < 58 ? "a middle-aged "
                                : "an older ") +
         (age < 20 ? (male ? "boy" : "girl") : (male ? "man" : "woman"));
}

// "short brown hair"; empty where none is seen.
inline std::string hair_of(const Labels& l) {
  constexpr std::string_view kStyles[] = {"", "very short", "short", "thick short", "long", "chin-length", "tied-back"};
  if (l.has(Attribute::kBald)) return "a bald head";
  const std::string style(kStyles[std::size_t(l.who.style)]);
  for (std::size_t c = 0; c < kHairNames.size(); ++c)
    if (l.has(Attribute(int(Attribute::kBlackHair) + int(c))))
      return style + " " + std::string(kHairNames[c]) + " hair";
  const bool shows = l.who.style > HairStyle::kBuzz || (l.who.style == HairStyle::kBuzz && !l.who.hat);
  return shows ? style + " hair" : "";  // of a grey picture
}

inline std::string beard_of(const Labels& l) {
  using enum Attribute;
  return l.has(kStubble)     ? "stubble"
         : l.has(kMoustache) ? "a moustache"
         : l.has(kGoatee)    ? "a goatee"
         : l.has(kFullBeard) ? "a full beard"
                             : "";
}

// "wears glasses", "is smiling", ...
inline std::vector<std::string> looks_of(const Labels& l) {
  using enum Attribute;
  std::vector<std::string> out;
  const auto add = [&](Attribute a, const char* text) {
    if (l.has(a)) out.push_back(text);
  };
  add(kEyeglasses, "wears glasses");
  add(kSunglasses, "wears sunglasses");
  add(kHat, "wears a hat");
  add(kLipstick, "wears lipstick");
  add(kEyesClosed, "has closed eyes");
  add(kMouthOpen, "has an open mouth");
  if (!l.mouth_covered()) out.push_back(l.has(kSmiling) ? "is smiling" : "is not smiling");
  return out;
}

}  // namespace synthetic_faces

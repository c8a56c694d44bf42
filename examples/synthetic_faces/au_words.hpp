// Action units in words. Names are those of the Facial Action Coding System.
#pragma once
#include "labels.hpp"
#include "phrases.hpp"

namespace synthetic_faces {

struct AuWords {
  std::string_view name, both, one, rest;  // patterns; one: of a single side, which stands in place of $
};
inline constexpr std::array<AuWords, kAus> kAuWords{{
    {"inner brow raiser", "the inner {ends of the|parts of the} {eyebrows|brows} are {raised|drawn up}", "",
     "the inner brows are not raised"},
    {"outer brow raiser", "the outer {ends|parts} of the {eyebrows|brows} are {raised|lifted}",
     "the outer part of the $ brow is raised", "the outer brows are not raised"},
    {"brow lowerer", "the {eyebrows|brows} are {lowered|drawn down|pulled down}", "the $ brow is lowered",
     "the brows are not lowered"},
    {"upper lid raiser", "the upper {eyelids|lids} are {raised|pulled up}", "the $ upper lid is raised",
     "the upper lids are not raised"},
    {"cheek raiser", "the cheeks {are raised|lift|push up under the eyes}", "the $ cheek is raised",
     "the cheeks are not raised"},
    {"lid tightener", "the {eyelids|lids} are {tightened|narrowed}", "the lids of the $ eye are tightened",
     "the lids are not tightened"},
    {"nose wrinkler", "the nose is {wrinkled|crinkled}", "the nose is wrinkled on the $ side",
     "the nose is not wrinkled"},
    {"upper lip raiser", "the upper lip is {raised|pulled up}", "the $ part of the upper lip is raised",
     "the upper lip is not raised"},
    {"lip corner puller", "the {lip corners|corners of the mouth} are {raised|pulled up}", "the $ lip corner is raised",
     "the lip corners are not raised"},
    {"dimpler", "the {lip corners|corners of the mouth} are {tucked in|tightened inwards}",
     "the $ lip corner is tucked in", "the lip corners are not tucked in"},
    {"lip corner depressor", "the {lip corners|corners of the mouth} are {pulled down|turned down}",
     "the $ lip corner is pulled down", "the lip corners are not pulled down"},
    {"chin raiser", "the chin is {pushed up|raised}", "", "the chin is not raised"},
    {"lip pucker", "the lips are {puckered|pushed forward}", "", "the lips are not puckered"},
    {"lip stretcher", "the lips are stretched {sideways|wide}", "the lips are stretched to the $ side",
     "the lips are not stretched"},
    {"lip tightener", "the lips are {tightened|narrowed}", "", "the lips are not tightened"},
    {"lip pressor", "the lips are pressed {together|tight}", "", "the lips are not pressed together"},
    {"lips part", "the lips are {parted|apart}", "", "the lips are closed"},
    {"jaw drop", "the jaw {is dropped|drops|hangs open}", "", "the jaw is not dropped"},
    {"eye closure", "the eyes are {closed|shut}", "the $ eye is closed", "the eyes are open"},
}};

inline const AuWords& words_of(Au a) { return kAuWords[std::size_t(a)]; }
inline int number_of(Au a) { return kActionUnits[std::size_t(a)].number; }
inline std::string code_of(Au a) { return "AU" + std::to_string(number_of(a)); }

enum class Side { kBoth, kLeft, kRight };  // the person's own
inline Side side_of(const Intensity& i) {
  return i.left < kSeen ? Side::kRight : i.right < kSeen ? Side::kLeft : Side::kBoth;
}

// "the lip corners are raised"
inline std::string movement(Dice& d, const Labels& l, Au a) {
  const AuWords& w = words_of(a);
  const Side side = side_of(l.expression[a]);
  if (side == Side::kBoth || w.one.empty()) return spoken(d, w.both);
  std::string text = spoken(d, w.one);
  text.replace(text.find('$'), 1, side == Side::kLeft ? "left" : "right");
  return text;
}
// "the lip corners are raised (AU12)"
inline std::string reason(Dice& d, const Labels& l, Au a) { return movement(d, l, a) + " (" + code_of(a) + ")"; }
inline std::string reasons(Dice& d, const Labels& l, const std::vector<Au>& of) {
  std::vector<std::string> parts;
  for (const Au a : of) parts.push_back(reason(d, l, a));
  return joined(parts);
}

inline std::string_view strength_of(const Intensity& i) {
  return i.most() < .5f ? "weak" : i.most() < .75f ? "medium" : "strong";
}

}  // namespace synthetic_faces

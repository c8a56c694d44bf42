// Questions about a sample and their answers, computed from its labels alone: so all answers about one sample agree.
// Forms: describe, list, which of these, yes or no. An action unit is written "AU12" in an answer only if it is active.
#pragma once
#include "attribute_words.hpp"
#include "au_words.hpp"

namespace synthetic_faces {

enum class Task { kExpression, kActionUnits, kAge, kAttributes, kDeepfake, kHead, kCourse };
inline constexpr std::array<std::string_view, 7> kTaskNames{"expression", "action_units", "age",   "attributes",
                                                            "deepfake",   "head",         "course"};

struct Exchange {
  Task task = Task::kExpression;
  std::string question, answer;
  std::optional<bool> truth = {};  // of a question of yes or no
};

namespace detail {

inline std::string yes_no(bool yes) { return yes ? "Yes, " : "No, "; }

inline std::string expression_reason(Dice& d, const Labels& l) {
  const std::vector<Au> shown = l.shown();
  if (*l.expression.emotion != Emotion::kNeutral) return reasons(d, l, shown);
  if (shown.empty())
    return spoken(d,
                  "{the brows, the eyelids and the mouth are {relaxed|at rest}|no part of the face moves|all of the "
                  "face is {relaxed|at rest}}");
  return "apart from this, the face is at rest: " + reasons(d, l, shown);
}

inline bool expression_in_sight(const Labels& l) {
  if (!l.expression.emotion || l.mouth_covered()) return false;
  if (l.eyes_covered() && l.who.glasses != Glasses::kSun) return false;
  return *l.expression.emotion == Emotion::kNeutral || !l.shown().empty();
}

inline Exchange about_expression(Dice& d, const Labels& l) {
  const Emotion e = *l.expression.emotion;
  const std::string name(kEmotionNames[std::size_t(e)]), because = expression_reason(d, l);
  const auto explained = [&](const std::string& start) { return start + spoken(d, "{, because |: }") + because + "."; };
  const std::string whole = spoken(d, "{The person looks|The face looks|The expression is} ") + name;
  switch (d.weighted({.45f, .2f, .2f, .15f})) {
    case 0:
      return {
          Task::kExpression,
          spoken(
              d,
              "{{What|Which} {emotion|feeling} {does this face show|can be read from this face|does the person show}?|"
              "How does the person feel{|, and how can you tell}?|Name the facial expression and {say why|give a "
              "reason}.|"
              "What is the {facial |}expression of this {person|face}{|, and why}?|Tell me the emotion {that |}you see "
              "and what gives it away.|"
              "Describe the emotional state of the person.}"),
          explained(whole)};
    case 1: {
      std::vector<std::string> names{name};
      while (names.size() < 3) {
        const std::string other(kEmotionNames[std::size_t(d.below(kEmotions))]);
        if (std::find(names.begin(), names.end(), other) == names.end()) names.push_back(other);
      }
      shuffle(d, names);
      return {Task::kExpression,
              spoken(d, "{Does the person look|Is the person|Which fits better:} ") + joined(names, " or ") + "?",
              explained(whole)};
    }
    case 2: {
      const Emotion asked = d.chance(.5f) ? e : Emotion(d.below(kEmotions));
      return {Task::kExpression,
              spoken(d, "{Does the {person|face} look|Would you say the person is} ") +
                  std::string(kEmotionNames[std::size_t(asked)]) + "?",
              explained(yes_no(asked == e) + "the person looks " + name), asked == e};
    }
    default:
      return {Task::kExpression,
              spoken(d, "{Which|What} {emotion|expression} is it? {Answer with|Use} one word{| only}."),
              capital(name) + "."};
  }
}

inline Exchange list_action_units(Dice& d, const std::vector<Au>& shown, const Labels& l) {
  const std::string question = spoken(
      d,
      "{{Which|What} {facial |}action units are {active|shown|present}{| in this face}?|List the action units {that "
      "|}you can see.|"
      "Give the active {AUs|action units} of this face.|Name every facial action unit that is {present|active}.}");
  const bool strengths = d.chance(.3f);
  std::vector<std::string> names;
  for (const Au a : shown)
    names.push_back(code_of(a) + " (" + std::string(words_of(a).name) +
                    (strengths ? ", " + std::string(strength_of(l.expression[a])) : "") + ")");
  return {Task::kActionUnits, question + (strengths ? " How strong are they?" : ""),
          capital(spoken(d, "{Active: |The active action units are |I see |}") + joined(names)) + "."};
}

// Those that could be seen if they were active.
inline std::vector<Au> in_sight(const Labels& l) {
  std::vector<Au> out;
  for (int a = 0; a < kAus; ++a)
    if (l.can_show(Au(a))) out.push_back(Au(a));
  return out;
}

inline Exchange about_one_action_unit(Dice& d, const Labels& l, const std::vector<Au>& shown) {
  const std::vector<Au> may = in_sight(l);
  const std::vector<Au>& from = !shown.empty() && d.chance(.5f) ? shown : may;
  const Au asked = from[std::size_t(d.below(int(from.size())))];
  const bool on = l.shows(asked);
  const std::string question = spoken(d, "{Is the |Can you see the |Is the }") + std::string(words_of(asked).name) +
                               " (" + code_of(asked) + ")" + spoken(d, "{ active| at work}?");
  return {Task::kActionUnits, question,
          yes_no(on) + (on ? reason(d, l, asked) : std::string(words_of(asked).rest)) + ".", on};
}

// One that is active beside two that are not.
inline Exchange which_action_unit(Dice& d, const Labels& l, const std::vector<Au>& shown, std::vector<Au> others) {
  const Au one = shown[std::size_t(d.below(int(shown.size())))];
  shuffle(d, others);
  std::vector<std::string> names{code_of(one), code_of(others[0]), code_of(others[1])};
  shuffle(d, names);
  return {Task::kActionUnits, spoken(d, "{Which|Which one} of ") + joined(names) + spoken(d, " is {active|present}?"),
          code_of(one) + ": " + movement(d, l, one) + "."};
}

inline Exchange about_no_action_unit(Dice& d, const Labels& l) {
  const std::string question = spoken(d, "{Which|What} {action units|AUs} {are active|can you see}?");
  if (in_sight(l).size() < kAus)
    return {Task::kActionUnits, question, "None that can be seen: part of the face is covered."};
  return {Task::kActionUnits, question,
          spoken(d, "{No action unit is active: the face is {relaxed|at rest}.|There is no clear action unit.}")};
}

inline Exchange about_action_units(Dice& d, const Labels& l) {
  const std::vector<Au> shown = l.shown();
  std::vector<Au> others = in_sight(l);
  std::erase_if(others, [&](Au a) { return l.shows(a); });
  const int form = d.weighted({.4f, .3f, .3f});
  if (form == 1 && shown.size() + others.size() > 0) return about_one_action_unit(d, l, shown);
  if (shown.empty()) return about_no_action_unit(d, l);
  if (form == 2 && d.chance(.4f) && others.size() > 1) return which_action_unit(d, l, shown, std::move(others));
  if (form == 2)
    return {Task::kActionUnits,
            spoken(d,
                   "{Which face muscles are moving?|What moves in this face?|Describe the {facial |}movements{|, with "
                   "action units}.}"),
            capital(reasons(d, l, shown)) + "."};
  return list_action_units(d, shown, l);
}

inline std::string age_reason(Dice& d, const Labels& l) {
  std::vector<std::string> why;
  const float age = l.who.age;
  if (age < 13) why.push_back(spoken(d, "{the face is small and {soft|round}|the features are those of a child}"));
  if (l.has(Attribute::kWrinkles))
    why.push_back(
        spoken(d, l.who.wrinkles > .7f
                      ? "{there are deep lines on the forehead and around the eyes|the skin is deeply lined}"
                      : "{some lines show on the forehead|there are light lines around the eyes and the mouth}"));
  else
    why.push_back(spoken(d, "{the skin is smooth|there are hardly any lines}"));
  if (l.has(Attribute::kGreyHair)) why.push_back("the hair is grey");
  if (l.has(Attribute::kReceding)) why.push_back("the hairline is receding");
  return joined(why);
}

inline Exchange about_age(Dice& d, const Labels& l) {
  constexpr std::string_view kGroups[] = {"a child", "a teenager", "a young adult", "a middle-aged adult",
                                          "an older adult"};
  const float age = l.who.age;
  const int years = int(age + .5f), group = age < 13 ? 0 : age < 20 ? 1 : age < 36 ? 2 : age < 58 ? 3 : 4;
  const std::string why = age_reason(d, l), number = std::to_string(years);
  switch (d.weighted({.6f, .2f, .2f})) {
    case 0:
      return {Task::kAge,
              spoken(d,
                     "{How old is {this person|the person|he or she}?|Estimate the age of the person{| and give a "
                     "reason}.|What age would you guess{|, and why}?|"
                     "Guess the age of this face.|How many years old does the person look?|Give an age estimate{| for "
                     "the person}.}"),
              spoken(d, "{The person looks about |About |I would say }") + number + " years old" +
                  spoken(d, "{, because |: }") + why + "."};
    case 1: {
      const int limit = 10 * (1 + d.below(7));
      if (std::abs(years - limit) < 5) break;
      return {Task::kAge,
              spoken(d, "{Is the person|Does the person look} {older than|over} ") + std::to_string(limit) + "?",
              yes_no(years > limit) + "the person looks about " + number + " years old.", years > limit};
    }
    default: break;
  }
  return {
      Task::kAge,
      spoken(
          d,
          "{Is this|Would you say this is} a child, a teenager, a young adult, a middle-aged adult or an older adult?"),
      capital(spoken(d, "{this is |this looks like |}") + std::string(kGroups[group])) + ": " + why + "."};
}

inline bool hidden(const Labels& l, AttributeWords::Of of) {
  return (of == AttributeWords::Of::kMouth && l.mouth_covered()) ||
         (of == AttributeWords::Of::kEyes && l.eyes_covered());
}

// Each attribute as often as another, so that yes is as likely as the attribute is.
inline Exchange yes_or_no_attribute(Dice& d, const Labels& l) {
  std::vector<const AttributeWords*> may;
  for (const AttributeWords& w : attribute_words())
    if (!l.fake() || w.of == AttributeWords::Of::kHead) may.push_back(&w);
  const AttributeWords& w = *may[std::size_t(d.below(int(may.size())))];
  const std::string question = spoken(d, w.question);
  if (hidden(l, w.of))
    return {Task::kAttributes, question,
            std::string("That cannot be seen: the ") + (w.of == AttributeWords::Of::kMouth ? "mouth is" : "eyes are") +
                " covered."};
  const bool yes = l.has(w.attribute);
  return {Task::kAttributes, question, yes_no(yes) + spoken(d, yes ? w.yes : w.no) + ".", yes};
}

inline Exchange which_attribute(Dice& d, const Labels& l) {
  const std::string hair = hair_of(l);
  if (l.fake() || (d.chance(.5f) && !hair.empty()))
    return {Task::kAttributes,
            spoken(d,
                   "{What hair does the person have?|Describe the hair.|Which {colour|color} is the hair, and how long "
                   "is it?}"),
            hair.empty() ? "No hair shows under the hat." : "The person has " + hair + "."};
  return {Task::kAttributes, spoken(d, "{Is this a man or a woman?|Is the person male or female?}"),
          spoken(d, "{This looks like |This is }") + person_of(l) + "."};
}

inline Exchange describe_person(Dice& d, const Labels& l) {
  std::vector<std::string> with;
  for (const std::string& s : {hair_of(l), beard_of(l)})
    if (!s.empty()) with.push_back(s);
  if (l.has(Attribute::kBangs)) with.push_back("bangs");
  if (l.has(Attribute::kBushyBrows)) with.push_back("bushy eyebrows");
  if (l.has(Attribute::kFreckles)) with.push_back("freckles");
  std::string text = spoken(d, "{This is |The picture shows |I see }") + person_of(l) +
                     (with.empty() ? "" : " with " + joined(with)) + ".";
  const auto looks = looks_of(l);
  if (!looks.empty()) text += (l.has(Attribute::kMale) ? " He " : " She ") + joined(looks) + ".";
  if (l.occluder != Occluder::kNone) {
    constexpr std::string_view kThings[] = {"", "A hand", "A face mask", "A microphone"};
    text += " " + std::string(kThings[std::size_t(l.occluder)]) + " covers part of the face.";
  }
  return {
      Task::kAttributes,
      spoken(d,
             "{Describe {this face|the person}.|What does the person look like?|Which facial attributes are visible?|"
             "Give a {short |}description of the person.|Describe hair, face and accessories.|Tell me about the "
             "appearance of the person.}"),
      text};
}

inline Exchange about_attributes(Dice& d, const Labels& l) {
  switch (d.weighted({l.fake() ? 0 : .35f, .5f, .15f})) {
    case 0: return describe_person(d, l);
    case 1: return yes_or_no_attribute(d, l);
    default: return which_attribute(d, l);
  }
}

inline Exchange about_forgery(Dice& d, const Labels& l) {
  std::vector<std::string> why;
  const Forgery& f = l.forgery;
  if (f.sharp_seam())
    why.push_back(spoken(d, "{a seam shows around the inner face|the edge of the inner face can be seen}"));
  if (f.soft_face()) why.push_back(spoken(d, "the inner face is {less sharp than|softer than} the rest of the head"));
  if (f.other_colour())
    why.push_back(
        spoken(d, "the {colour|tone} of the inner face {does not match|differs from that of} the rest of the head"));
  if (why.empty()) why.push_back("the inner face does not quite fit the head");
  std::string answer =
      l.fake()
          ? spoken(d, "{The face looks fake|The picture looks fake|This is a fake face}{, because |: }") + joined(why)
          : spoken(d,
                   "{The face looks real|The picture looks real|This is a real face}{, because |: }"
                   "{there is no seam around the face|skin, light and sharpness agree over the whole face|the skin "
                   "tone is even up to the hairline}");
  if (d.chance(.3f))
    return {Task::kDeepfake,
            spoken(d,
                   "{Is this face fake|Is this a deepfake|Has this face been {swapped|manipulated}|Was the face "
                   "tampered with}?"),
            yes_no(l.fake()) + "t" + answer.substr(1) + ".", l.fake()};
  return {Task::kDeepfake,
          spoken(d,
                 "{Is {this|the} face real or fake?|Real or fake? {Explain|Say why}.|Is the face authentic{| or a "
                 "deepfake}?|Do you see signs of a deepfake?|"
                 "{Tell|Say} whether {this|the} {face|picture} is real or fake.}"),
          answer + "."};
}

inline Exchange about_head(Dice& d, const Labels& l) {
  constexpr float kTurned = .17f, kNodded = .12f;  // radians
  std::vector<std::string> ways;
  if (std::abs(l.pose.yaw) > kTurned)
    ways.push_back(l.pose.yaw > 0 ? "turned to the right of the picture" : "turned to the left of the picture");
  if (std::abs(l.pose.pitch) > kNodded) ways.push_back(l.pose.pitch > 0 ? "lowered" : "raised");
  if (std::abs(l.pose.roll) > kNodded) ways.push_back("tilted");
  return {Task::kHead, spoken(d, "{Which way does the head turn?|How is the head turned?|Is the head turned?}"),
          ways.empty() ? "The head faces the camera." : "The head is " + joined(ways) + "."};
}

inline Exchange about_course(Dice& d, const Labels& l) {
  const std::string frame = "frame " + std::to_string(l.motion.apex + 1) + " of " + std::to_string(kFrames);
  std::string text;
  switch (l.motion.course) {
    case Course::kRisesAndFades:
      text = spoken(d, "{It builds up|It grows}, is strongest near ") + frame + " and {fades|goes} again";
      break;
    case Course::kRises: text = "It builds up and is strongest at the end"; break;
    case Course::kFades: text = "It is strongest at the beginning and fades"; break;
    case Course::kHeld: text = "It stays the same over the whole clip"; break;
  }
  const auto shown = l.shown();
  if (shown.empty())
    return {
        Task::kCourse, "How does the expression change?",
        in_sight(l).size() < kAus ? "No change can be seen: part of the face is covered." : "The face stays at rest."};
  return {Task::kCourse,
          spoken(d,
                 "{How does the expression {change|develop}{| over the clip}?|When is the expression "
                 "strongest?|Describe how the expression {moves|goes} over time.}"),
          spoken(d, text) + ": " + reasons(d, l, shown) + "."};
}

}  // namespace detail

// `count` exchanges about a sample; tasks in random order, each asked again only when all have been. Then `attributes`
// further ones of yes or no.
inline std::vector<Exchange> ask_about(const Labels& l, int count, Dice d, int attributes = 0) {
  std::vector<Exchange> out;
  const auto add = [&](Exchange x) {
    const bool fresh =
        std::none_of(out.begin(), out.end(), [&](const Exchange& y) { return y.question == x.question; });
    if (fresh) out.push_back(std::move(x));
    return fresh;
  };
  std::vector<Task> open;
  for (int misses = 0; int(out.size()) < count && misses < 100;) {
    if (open.empty()) {
      open = {Task::kExpression, Task::kActionUnits, Task::kAttributes, Task::kDeepfake};
      if (!l.fake()) open.push_back(Task::kAge);
      if (d.chance(.2f)) open.push_back(Task::kHead);
      if (l.points.size() > 1) open.push_back(Task::kCourse);
      if (!detail::expression_in_sight(l)) open.erase(open.begin());
      shuffle(d, open);
    }
    const Task t = open.back();
    open.pop_back();
    Exchange x;
    switch (t) {
      case Task::kExpression: x = detail::about_expression(d, l); break;
      case Task::kActionUnits: x = detail::about_action_units(d, l); break;
      case Task::kAge: x = detail::about_age(d, l); break;
      case Task::kAttributes: x = detail::about_attributes(d, l); break;
      case Task::kDeepfake: x = detail::about_forgery(d, l); break;
      case Task::kHead: x = detail::about_head(d, l); break;
      case Task::kCourse: x = detail::about_course(d, l); break;
    }
    if (!add(std::move(x))) ++misses;
  }
  for (int i = 0; i < attributes; ++i) add(detail::yes_or_no_attribute(d, l));
  return out;
}

}  // namespace synthetic_faces

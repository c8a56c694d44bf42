#include "interview.hpp"

#include <algorithm>
#include <cstdio>

#include "synthetic_faces/au_words.hpp"

namespace demo {

using namespace facellava;

namespace {

const char* question_of(Topic t) {
  switch (t) {
    case Topic::kEmotion: return "What emotion does this face show?";
    case Topic::kActionUnits: return "Which facial action units are active?";
    case Topic::kAge: return "How old is this person?";
    case Topic::kPerson: return "Describe the person.";
    case Topic::kForgery: return "Is this face real or fake?";
    default: return "How does the expression change?";
  }
}

struct Labelled {
  std::string label;
  float probability;
};

void print(const char* what, std::vector<Labelled> labels) {
  std::stable_sort(labels.begin(), labels.end(),
                   [](const Labelled& a, const Labelled& b) { return a.probability > b.probability; });
  std::printf("     %s", what);
  for (std::size_t i = 0; i < labels.size(); ++i)
    std::printf("%s %s %.1f %%", i ? "," : "", labels[i].label.c_str(), 100 * double(labels[i].probability));
  std::printf("\n");
}

// Of the ways to go on after `begins`, in the answer to a question.
void print_endings(run::Viewing& face, const char* question, const char* begins, std::vector<std::string> endings) {
  const auto scores = face.score(question, endings, begins);
  std::vector<Labelled> labels;
  for (std::size_t i = 0; i < endings.size(); ++i) labels.push_back({endings[i], scores[i].probability});
  print(("\"" + std::string(begins) + " ...\":").c_str(), std::move(labels));
}

struct YesOrNo {
  std::string label, question;
};
// How probable a yes is, of each.
void print_yes(run::Viewing& face, const std::vector<YesOrNo>& questions) {
  const std::vector<std::string> answers{"Yes", "No"};
  std::vector<Labelled> labels;
  for (const auto& [label, question] : questions)
    labels.push_back({label, face.score(question, answers)[0].probability});
  print("\"Yes\" to each by itself:", std::move(labels));
}

// Those that tell the seven expressions apart.
std::vector<YesOrNo> about_action_units() {
  using synthetic_faces::Au;
  std::vector<YesOrNo> out;
  for (const Au a : {Au::k1, Au::k4, Au::k5, Au::k6, Au::k9, Au::k12, Au::k15, Au::k26}) {
    const std::string name(synthetic_faces::words_of(a).name), code = synthetic_faces::code_of(a);
    out.push_back({code + " " + name, "Is the " + name + " (" + code + ") active?"});
  }
  return out;
}

void print_probabilities(run::Viewing& face, Topic t) {
  switch (t) {
    case Topic::kEmotion:
      return print_endings(face, question_of(t), "The expression is",
                           {"neutral", "happy", "sad", "surprised", "fearful", "angry", "disgusted"});
    case Topic::kActionUnits: return print_yes(face, about_action_units());
    case Topic::kAge:
      return print_endings(face, "Is this a child, a teenager, a young adult, a middle-aged adult or an older adult?",
                           "This is",
                           {"a child", "a teenager", "a young adult", "a middle-aged adult", "an older adult"});
    case Topic::kPerson:
      return print_yes(face, {{"man", "Is this a man?"},
                              {"smiles", "Is the person smiling?"},
                              {"glasses", "Is the person wearing glasses?"},
                              {"hat", "Is the person wearing a hat?"},
                              {"full beard", "Does the person have a full beard?"},
                              {"long hair", "Does the person have long hair?"}});
    case Topic::kForgery: return print_endings(face, question_of(t), "The face looks", {"real", "fake"});
    case Topic::kCourse: return;
  }
}

}  // namespace

void ask(run::Viewing& face, Topic topic, Stages& stages) {
  const char* question = question_of(topic);
  const std::string name = "answering: " + std::string(question);
  const double before = stages.milliseconds(name);
  std::printf("  Q  %s\n  A  ", question);
  {
    const auto stage = stages.in(name);
    face.ask(question, {.max_new_tokens = 100}, [](std::string_view words) {
      std::printf("%.*s", int(words.size()), words.data());
      std::fflush(stdout);
    });
  }
  std::printf("   (%zu tokens, %.0f ms)\n", face.generations[0].ids.size(), stages.milliseconds(name) - before);
  const auto stage = stages.in("label probabilities");
  print_probabilities(face, topic);
}

}  // namespace demo

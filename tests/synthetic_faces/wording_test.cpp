// Answers say what the labels say, in many words.
#include "synthetic_faces/wording.hpp"

#include <set>

#include "synthetic_faces/faces.hpp"
#include "synthetic_faces/read_answer.hpp"

using namespace synthetic_faces;
using namespace synthetic_faces::test;

namespace {

// Labels of a sample without drawing it; every fifth is covered, every fifteenth wholly, every fourth a clip.
Labels labels_of(std::uint64_t i) {
  const Plot p = small_faces().plot(9, i);
  Occlusion o;
  if (i % 5 == 0) {
    o.kind = Occluder::kMask;
    std::fill(o.hidden.begin() + (i % 15 == 0 ? 0 : 48), o.hidden.end(), true);
  }
  Labels l = make_labels(p.who, p.expression, p.scene.pose, o, p.forgery, p.camera);
  l.points.resize(i % 4 == 0 ? kFrames : 1);
  l.motion = draw_motion(Dice(9, i, Stream::kMotion));
  return l;
}

std::set<int> numbers(const std::vector<Au>& aus) {
  std::set<int> out;
  for (const Au a : aus) out.insert(number_of(a));
  return out;
}

void check_exchange(const Labels& l, const Exchange& x) {
  CAPTURE(x.question);
  CAPTURE(x.answer);
  const Reading r = read_answer(x.answer);
  const std::set<int> shown = numbers(l.shown()), named(r.aus.begin(), r.aus.end());
  CHECK(std::includes(shown.begin(), shown.end(), named.begin(), named.end()));
  for (const char* start : {"Active: ", "The active action units are ", "I see AU"})
    if (x.task == Task::kActionUnits && x.answer.starts_with(start)) CHECK(named == shown);
  CHECK(r.yes == x.truth);
  if (x.task == Task::kExpression) CHECK(r.emotion == l.expression.emotion);
  if (x.task == Task::kDeepfake) CHECK(r.fake == l.fake());
  if (r.years) CHECK(std::abs(float(*r.years) - l.who.age) <= .51f);  // rounded
  CHECK(x.question.find_first_of("{}|$") == x.question.npos);
  CHECK(x.answer.find_first_of("{}|$") == x.answer.npos);
  CHECK((x.answer[0] >= 'A' && x.answer[0] <= 'Z'));
  CHECK(x.answer.back() == '.');
  CHECK((x.question.back() == '?' || x.question.back() == '.'));
}

}  // namespace

TEST_CASE("further questions about attributes: yes as often as the attribute is there") {
  int asked = 0, glasses = 0, right = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const Labels l = labels_of(i);
    const auto all = ask_about(l, 1, Dice(3, i, Stream::kWording), 6);
    for (const Exchange& x : all) {
      check_exchange(l, x);
      CHECK(std::count_if(all.begin(), all.end(), [&](const Exchange& y) { return y.question == x.question; }) == 1);
      if (x.question.find("glasses") == x.question.npos || x.question.find("sun") != x.question.npos) continue;
      ++asked;
      glasses += l.has(Attribute::kEyeglasses);
      right += x.truth == l.has(Attribute::kEyeglasses);
    }
  }
  CHECK(right == asked);
  CHECK(asked > 300);
  CHECK(float(glasses) / float(asked) == doctest::Approx(.23).epsilon(.25));  // of 22 in 100 faces
}

TEST_CASE("patterns") {
  Dice d(1, 2, Stream::kWording);
  std::set<std::string> said;
  for (int i = 0; i < 200; ++i) said.insert(spoken(d, "{a|b {c|d}|}x"));
  CHECK(said == std::set<std::string>{"ax", "b cx", "b dx", "x"});
  CHECK(joined({"a", "b", "c"}) == "a, b and c");
  CHECK(joined({"a"}, " or ") == "a");
}

TEST_CASE("answers are read back as the labels") {
  std::set<std::string> questions;
  std::array<int, kTaskNames.size()> tasks{};
  for (std::uint64_t i = 0; i < 400; ++i) {
    const Labels l = labels_of(i);
    const auto all = ask_about(l, 8, Dice(9, i, Stream::kWording));
    CHECK(all.size() == 8);
    for (const Exchange& x : all) {
      check_exchange(l, x);
      questions.insert(x.question);
      ++tasks[std::size_t(x.task)];
    }
  }
  CHECK(questions.size() > 400);
  for (const int n : tasks) CHECK(n > 20);
}

TEST_CASE("a reading knows what contradicts") {
  CHECK(read_answer("No, the lips are closed.").yes == false);
  CHECK(read_answer("The person looks sad, because AU1 (x) and AU15 (y).").aus == std::vector<int>{1, 15});
  CHECK(read_answer("Happy.").emotion == Emotion::kHappy);
  CHECK(read_answer("This is a fake face.").fake == true);
  CHECK_FALSE(read_answer("The surreal sadness.").emotion);
  CHECK(read_answer("About 31 years old.").years == 31);
  CHECK_FALSE(read_answer("years AU").years);
}

TEST_CASE("one side is named as the person's own") {
  Labels l = labels_of(1);
  l.expression = {};
  l.expression[Au::k12] = {0, .8f};
  Dice d(1, 1, Stream::kWording);
  CHECK(reason(d, l, Au::k12) == "the left lip corner is raised (AU12)");
}

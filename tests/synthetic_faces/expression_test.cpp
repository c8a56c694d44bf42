// Labels agree with the geometry: what an action unit does to the 68 points, on several heads.
#include "synthetic_faces/faces.hpp"

using namespace synthetic_faces;
using namespace synthetic_faces::test;

namespace {

// The 68 points of a head that looks straight ahead, in distances between the outer eye corners of the mean head; y up.
Points frontal(const Identity& who, const Expression& e) {
  const Studio& s = small_faces().studio();
  const Mesh m = make_mesh(s.head, s.units, who, e);
  const auto at = [&](std::size_t i) { return m.position[s.head.rig.points[i]]; };
  const float unit = 1 / (s.head.points[45].x - s.head.points[36].x);
  Points p;
  for (std::size_t i = 0; i < kPoints; ++i) p[i] = {at(i).x * unit, at(i).y * unit};
  return p;
}

Expression with(Au a, Intensity i) {
  Expression e;
  e[a] = i;
  return e;
}

float height(const Points& p, std::initializer_list<std::size_t> of) {
  float sum = 0;
  for (const std::size_t i : of) sum += p[i].y;
  return sum / float(of.size());
}
float eye_opening(const Points& p) { return height(p, {37, 38, 43, 44}) - height(p, {40, 41, 46, 47}); }
float mouth_opening(const Points& p) { return height(p, {61, 62, 63}) - height(p, {65, 66, 67}); }
float mouth_width(const Points& p) { return p[54].x - p[48].x; }
float lip_height(const Points& p) { return height(p, {50, 51, 52}) - height(p, {56, 57, 58}); }

struct Effect {
  Au au;
  const char* what;
  float (*measure)(const Points&);
  float least;  // change of the measure at full intensity; its sign is the direction
};
const Effect kEffects[] = {
    {Au::k1, "inner brows go up",
     [](const Points& p) {
       return height(p, {20, 21, 22, 23});
     },
     .02f},
    {Au::k2, "outer brows go up",
     [](const Points& p) {
       return height(p, {17, 18, 25, 26});
     },
     .02f},
    {Au::k4, "brows go down",
     [](const Points& p) {
       return height(p, {19, 20, 21, 22, 23, 24});
     },
     -.02f},
    {Au::k5, "eyes open wide", eye_opening, .01f},
    {Au::k7, "eyes narrow", eye_opening, -.01f},
    {Au::k9, "nostrils go up",
     [](const Points& p) {
       return height(p, {31, 35});
     },
     .005f},
    {Au::k10, "the upper lip goes up",
     [](const Points& p) {
       return height(p, {50, 51, 52});
     },
     .01f},
    {Au::k12, "lip corners go up",
     [](const Points& p) {
       return height(p, {48, 54});
     },
     .03f},
    {Au::k12, "the mouth widens", mouth_width, .02f},
    {Au::k15, "lip corners go down",
     [](const Points& p) {
       return height(p, {48, 54});
     },
     -.02f},
    {Au::k17, "the lower lip goes up",
     [](const Points& p) {
       return height(p, {56, 57, 58});
     },
     .005f},
    {Au::k18, "the mouth narrows", mouth_width, -.02f},
    {Au::k20, "the mouth widens", mouth_width, .02f},
    {Au::k23, "the lips become thinner", lip_height, -.005f},
    {Au::k25, "the lips part", mouth_opening, .02f},
    {Au::k26, "the mouth opens", mouth_opening, .05f},
    {Au::k26, "the chin goes down",
     [](const Points& p) {
       return height(p, {7, 8, 9});
     },
     -.03f},
    {Au::k43, "the eyes close", eye_opening, -.05f},
};

Identity head(std::uint64_t i) { return small_faces().plot(1, i).who; }

}  // namespace

TEST_CASE("each action unit moves its points, on every head") {
  for (std::uint64_t i = 0; i < 6; ++i) {
    const Points rest = frontal(head(i), {});
    for (const Effect& f : kEffects) {
      const float change = f.measure(frontal(head(i), with(f.au, {1, 1}))) - f.measure(rest);
      CAPTURE(f.what);
      CAPTURE(i);
      CAPTURE(change);
      CHECK(change / f.least >= 1);
      // Half the intensity moves half as far: targets are linear, and only rounding differs.
      const float half = f.measure(frontal(head(i), with(f.au, {.5f, .5f}))) - f.measure(rest);
      CHECK(half == doctest::Approx(change / 2).epsilon(.02));
    }
  }
}

TEST_CASE("closed eyes are closed") {
  const Points open = frontal(head(2), {}), shut = frontal(head(2), with(Au::k43, {1, 1}));
  CHECK(eye_opening(shut) < .3f * eye_opening(open));
}

TEST_CASE("what is one-sided moves one side") {
  struct Pair {
    Au au;
    std::size_t right, left;  // points of the person's own sides
  };
  for (const Pair& p : {Pair{Au::k12, 48, 54}, Pair{Au::k2, 18, 25}, Pair{Au::k15, 48, 54}, Pair{Au::k43, 37, 44},
                        Pair{Au::k1, 21, 22}}) {
    CAPTURE(int(p.au));
    const Points rest = frontal(head(3), {}), left = frontal(head(3), with(p.au, {0, 1})),
                 right = frontal(head(3), with(p.au, {1, 0}));
    const auto moved = [&](const Points& to, std::size_t i) { return length(to[i] - rest[i]); };
    // AU1 is one target of both sides, split in the middle, where the inner ends of the brows are.
    const float other = p.au == Au::k1 ? .6f : .15f;
    CHECK(moved(left, p.left) > .01f);
    CHECK(moved(left, p.right) < other * moved(left, p.left));
    CHECK(moved(right, p.right) > .01f);
    CHECK(moved(right, p.left) < other * moved(right, p.right));
  }
}

TEST_CASE("drawn expressions are what their names say") {
  std::array<int, kEmotions> seen{};
  int free_sets = 0, one_sided = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const Expression e = draw_expression(Dice(8, i, Stream::kExpression));
    const auto on = [&](Au a) { return e[a].most() >= kSeen; };
    for (const Intensity& a : e.au) one_sided += a.most() >= kSeen && std::min(a.left, a.right) < kSeen;
    CHECK_FALSE((on(Au::k12) && on(Au::k15)));
    CHECK_FALSE((on(Au::k26) && on(Au::k24)));
    if (on(Au::k26)) CHECK(on(Au::k25));
    if (!e.emotion) {
      ++free_sets;
      continue;
    }
    ++seen[std::size_t(*e.emotion)];
    switch (*e.emotion) {
      case Emotion::kNeutral: CHECK_FALSE((on(Au::k12) || on(Au::k4) || on(Au::k1))); break;
      case Emotion::kHappy: CHECK(on(Au::k12)); break;
      case Emotion::kSad: CHECK((on(Au::k15) || on(Au::k1))); break;
      case Emotion::kSurprised: CHECK((on(Au::k1) && on(Au::k2))); break;
      case Emotion::kFearful: CHECK((on(Au::k1) && on(Au::k4) && (on(Au::k20) || on(Au::k5)))); break;
      case Emotion::kAngry: CHECK((on(Au::k4) && (on(Au::k7) || on(Au::k23) || on(Au::k24)))); break;
      case Emotion::kDisgusted: CHECK((on(Au::k9) || on(Au::k10))); break;
    }
  }
  for (const int n : seen) CHECK(n > 150);  // of about 214: five deviations less
  CHECK(free_sets > 400);
  CHECK(one_sided > 100);
}

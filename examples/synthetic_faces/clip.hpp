// Eight frames of one person: an expression that comes (onset), is there (apex) and goes (offset), blinks, a head that
// moves a little.
#pragma once
#include "expression.hpp"
#include "scene.hpp"

namespace synthetic_faces {

inline constexpr int kFrames = 8;

enum class Course { kRisesAndFades, kRises, kFades, kHeld };

struct Motion {
  Course course = Course::kRisesAndFades;
  int apex = 4;                           // the frame at which the expression is strongest, from 0
  std::array<float, kFrames> strength{};  // of the expression, 0..1
  int blink = -1;                         // the frame with closed eyes; none: −1
  float yaw = 0, pitch = 0, roll = 0;     // radians over the whole clip
};

inline Motion draw_motion(Dice d) {
  Motion m;
  m.course = Course(d.weighted({.55f, .18f, .12f, .15f}));
  m.apex = m.course == Course::kRises ? kFrames - 1 : m.course == Course::kFades ? 0 : 2 + d.below(4);
  const float rise = d.uniform(2.f, 4.f), fall = d.uniform(2.f, 5.f), rest = d.uniform(0, .12f);
  for (int f = 0; f < kFrames; ++f) {
    const float away = float(f - m.apex);
    const float s = m.course == Course::kHeld ? 1 : smooth_step(0, 1, 1 - (away < 0 ? -away / rise : away / fall));
    m.strength[std::size_t(f)] = std::max(rest, s);
  }
  if (d.chance(.3f)) m.blink = d.below(kFrames);
  if (m.blink == m.apex) m.blink = -1;
  m.yaw = .10f * d.normal();
  m.pitch = .05f * d.normal();
  m.roll = .04f * d.normal();
  return m;
}

inline Expression at_frame(const Expression& apex, const Motion& m, int frame) {
  Expression e = apex;
  const float s = m.strength[std::size_t(frame)];
  for (Intensity& i : e.au) i = {i.right * s, i.left * s};
  if (frame == m.blink) {
    e[Au::k43] = {1, 1};
    e[Au::k5] = {};
  }
  return e;
}

inline Pose at_frame(const Pose& p, const Motion& m, int frame) {
  const float t = float(frame) / (kFrames - 1) - .5f;
  Pose out = p;
  out.yaw += m.yaw * t;
  out.pitch += m.pitch * t;
  out.roll += m.roll * t;
  return out;
}

}  // namespace synthetic_faces

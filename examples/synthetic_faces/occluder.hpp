// Things in front of a face: a hand, a face mask, a microphone. They hide parts of it, which labels then do not tell
// of.
#pragma once
#include "paint.hpp"
#include "shade.hpp"

namespace synthetic_faces {

enum class Occluder { kNone, kHand, kMask, kMicrophone };

struct Occlusion {
  Occluder kind = Occluder::kNone;
  std::array<bool, kPoints> hidden{};  // which of the 68 points are behind it
};

namespace detail {

// Covers what lies inside, and notes the points that do.   depth(p): distance to the edge, positive inside.
inline void cover(Picture& p, Occlusion& o, auto&& depth, auto&& colour) {
  for (int y = 0; y < p.colour.side; ++y)
    for (int x = 0; x < p.colour.side; ++x) {
      const Vec2 at{float(x) + .5f, float(y) + .5f};
      const float d = depth(at);
      if (d > -1) p.colour.at(x, y) = mix(p.colour.at(x, y), colour(at, d), clamped(d + 1));
    }
  for (std::size_t i = 0; i < kPoints; ++i)
    if (depth(p.points[i]) > 0) o.hidden[i] = true;
}

inline void cover_with_mask(Picture& p, Occlusion& o, Dice& d) {
  std::vector<Vec2> edge(p.points.begin() + 2, p.points.begin() + 15);
  edge.push_back(mix(p.points[14], p.points[29], .6f));
  edge.push_back(mix(p.points[28], p.points[29], .7f));
  edge.push_back(mix(p.points[2], p.points[29], .6f));
  const Colour cloth = d.chance(.5f) ? Colour{.66f, .80f, .88f} : draw_colour(d, .4f);
  const Vec2 middle = p.points[33];
  const float size = length(p.points[2] - p.points[14]);
  cover(
      p, o, [&](Vec2 q) { return depth_in_polygon(q, edge); },
      [&](Vec2 q, float) {
        const float fold = .06f * std::sin((q.y - middle.y) / size * 38), side = std::abs(q.x - middle.x) / size;
        return cloth * (1 + fold - .55f * side);
      });
}

inline void cover_with_hand(Picture& p, Occlusion& o, const Identity& who, Dice& d) {
  const int over = d.weighted({.6f, .2f, .2f});  // the mouth, an eye
  const Vec2 at = over == 0 ? p.points[62] : over == 1 ? p.points[37] : p.points[44];
  const float face = length(p.points[0] - p.points[16]), angle = d.uniform(-.6f, .6f), finger = .075f * face;
  const Vec2 along{std::sin(angle), -std::cos(angle)}, beside{std::cos(angle), std::sin(angle)};
  const auto depth = [&](Vec2 q) {
    float most = .26f * face - distance_to_segment(q, at - along * (.45f * face), at - along * (.12f * face));
    for (int i = 0; i < 4; ++i) {
      const Vec2 root = at + beside * ((float(i) - 1.5f) * 2.05f * finger) - along * (.2f * face);
      const float reach = (i == 0 || i == 3 ? .36f : .44f) * face;
      most = std::max(most, finger - distance_to_segment(q, root, root + along * reach));
    }
    return most;
  };
  cover(p, o, depth, [&](Vec2, float in) { return who.skin * (.62f + .38f * smooth_step(0, finger, in)); });
}

inline void cover_with_microphone(Picture& p, Occlusion& o, Dice& d) {
  const float face = length(p.points[0] - p.points[16]), r = .17f * face, lean = d.uniform(-.4f, .4f);
  const Vec2 ball = p.points[66] + Vec2{d.uniform(-.05f, .05f) * face, .03f * face};
  const Vec2 end = ball + Vec2{lean * face, 1.4f * face};
  cover(
      p, o, [&](Vec2 q) { return std::max(r - length(q - ball), .4f * r - distance_to_segment(q, ball, end)); },
      [&](Vec2 q, float in) {
        const float mesh = length(q - ball) < r ? .05f * std::sin(q.x * 2.2f) * std::sin(q.y * 2.2f) : 0;
        const float grey = .10f + .22f * clamped(in / r) + mesh;
        return Colour{grey, grey, grey};
      });
}

}  // namespace detail

inline Occlusion add_occluder(Picture& p, const Identity& who, const Scene& scene) {
  Occlusion o;
  if (!scene.occluded) return o;
  Dice d(scene.occluder, 0, Stream::kScene);
  o.kind = Occluder(1 + d.weighted({.45f, .35f, .2f}));
  switch (o.kind) {
    case Occluder::kHand: detail::cover_with_hand(p, o, who, d); break;
    case Occluder::kMask: detail::cover_with_mask(p, o, d); break;
    case Occluder::kMicrophone: detail::cover_with_microphone(p, o, d); break;
    case Occluder::kNone: break;
  }
  return o;
}

}  // namespace synthetic_faces

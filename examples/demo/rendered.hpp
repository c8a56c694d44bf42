// The subjects that the demo renders itself, from seeds that stand here.
#pragma once
#include "synthetic_faces/generator.hpp"

namespace demo {

inline constexpr std::uint64_t kSeed = 2504;  // another one than training takes
inline constexpr int kSide = 144;             // pixels: as the faces of its training were rendered

inline synthetic_faces::Generator renderer(float fake_part) {
  return synthetic_faces::Generator(SYNTHETIC_FACES_RIG, {.side = kSide, .fake_part = fake_part});
}

// A child is surprised, most so in the third of eight frames.
inline synthetic_faces::Sample rendered_clip() { return renderer(0).clip(kSeed, 37); }

struct Swap {
  synthetic_faces::Sample source, fake;
};
// A face, and the same picture with another person's inner face in its place.
inline Swap rendered_swap() {
  const auto faces = renderer(1);
  const synthetic_faces::Plot fake = faces.plot(kSeed, 36);
  synthetic_faces::Plot source = fake;
  source.forgery.kind = synthetic_faces::FakeKind::kReal;
  return {faces.face(source), faces.face(fake)};
}

}  // namespace demo

// The subjects that the demo renders itself, from seeds that stand here.
#pragma once
#include "synthetic_faces/generator.hpp"

namespace demo {

inline constexpr std::uint64_t kSeed = 2504;  // of no data set that the model was trained on
inline constexpr int kSide = 144;             // pixels: as the faces of its training were rendered

inline synthetic_faces::Generator renderer() {
  return synthetic_faces::Generator(SYNTHETIC_FACES_RIG, {.side = kSide, .fake_part = 0});
}

// Somebody is surprised, most so in the third of eight frames.
inline synthetic_faces::Sample rendered_clip() { return renderer().clip(kSeed, 76); }

struct Swap {
  synthetic_faces::Sample source, fake;
};
// A face, and the same picture with another person's inner face in its place.
inline Swap rendered_swap() {
  const auto faces = renderer();
  synthetic_faces::Plot plot = faces.plot(kSeed, 56);
  Swap swap{faces.face(plot), {}};
  plot.forgery.kind = synthetic_faces::FakeKind::kSwap;
  plot.forgery.match = .4f;
  plot.forgery.feather = 8;
  plot.forgery.resolution = .4f;
  plot.forgery.noise = 0;
  swap.fake = faces.face(plot);
  return swap;
}

}  // namespace demo

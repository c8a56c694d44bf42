// Pictures of floats, display values 0..1, and what is done to them before they are bytes.
#pragma once
#include <vector>

#include "random.hpp"
#include "vec.hpp"

namespace synthetic_faces {

struct Canvas {
  int side = 0;
  std::vector<Colour> pixel;  // [side, side]

  Canvas() = default;
  explicit Canvas(int n) : side(n), pixel(std::size_t(n) * std::size_t(n)) {}
  Colour& at(int x, int y) { return pixel[std::size_t(y) * std::size_t(side) + std::size_t(x)]; }
  const Colour& at(int x, int y) const { return pixel[std::size_t(y) * std::size_t(side) + std::size_t(x)]; }
  // Bilinear; pixel (i, j) has its centre at (i + ½, j + ½); beyond the edges the edge is repeated.
  Colour sample(float x, float y) const {
    const float most = float(side) - 1.001f, u = std::clamp(x - .5f, 0.f, most), v = std::clamp(y - .5f, 0.f, most);
    const int i = int(u), j = int(v);
    const Colour *a = &at(i, j), *b = a + side;
    const float s = u - float(i), t = v - float(j);
    return mix(mix(a[0], a[1], s), mix(b[0], b[1], s), t);
  }
};

// Half the side: means of 2 x 2.
inline Canvas halved(const Canvas& from) {
  Canvas out(from.side / 2);
  for (int y = 0; y < out.side; ++y)
    for (int x = 0; x < out.side; ++x) {
      const Colour *a = &from.at(2 * x, 2 * y), *b = a + from.side;
      out.at(x, y) = (a[0] + a[1] + b[0] + b[1]) * .25f;
    }
  return out;
}

inline Canvas resized(const Canvas& from, int side) {
  Canvas out(side);
  const float step = float(from.side) / float(side);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) out.at(x, y) = from.sample((float(x) + .5f) * step, (float(y) + .5f) * step);
  return out;
}

// Gaussian, of the given deviation in pixels; edges are repeated.
inline void blur(Canvas& c, float deviation) {
  const int reach = std::clamp(int(2.5f * deviation + .5f), 1, 24);
  std::vector<float> weight(std::size_t(reach) + 1);
  float all = 0;
  for (int k = 0; k <= reach; ++k) {
    weight[std::size_t(k)] = std::exp(-.5f * float(k * k) / (deviation * deviation));
    all += (k ? 2 : 1) * weight[std::size_t(k)];
  }
  for (float& w : weight) w /= all;
  Canvas across(c.side);
  const auto pass = [&](const Canvas& from, Canvas& to, int dx, int dy) {
    const int last = c.side - 1;
    for (int y = 0; y < c.side; ++y)
      for (int x = 0; x < c.side; ++x) {
        Colour sum = from.at(x, y) * weight[0];
        for (int k = 1; k <= reach; ++k)
          sum += (from.at(std::max(0, x - k * dx), std::max(0, y - k * dy)) +
                  from.at(std::min(last, x + k * dx), std::min(last, y + k * dy))) *
                 weight[std::size_t(k)];
        to.at(x, y) = sum;
      }
  };
  pass(c, across, 1, 0);
  pass(across, c, 0, 1);
}

// A gradient with a few soft shapes, small: it is out of focus.
inline Canvas draw_background(std::uint64_t seed, auto&& colour) {
  constexpr int kSmall = 56;
  Dice d(seed, 0, Stream::kScene);
  const float vivid = d.uniform(.05f, .6f), angle = 6.28f * d.uniform();
  const Colour a = colour(d, vivid), b = colour(d, vivid);
  Canvas small(kSmall);
  for (int y = 0; y < kSmall; ++y)
    for (int x = 0; x < kSmall; ++x)
      small.at(x, y) = mix(
          a, b,
          clamped(.5f +
                  ((float(x) / kSmall - .5f) * std::cos(angle) + (float(y) / kSmall - .5f) * std::sin(angle)) * 1.2f));
  for (int shapes = d.below(9); shapes > 0; --shapes) {
    const Colour c = colour(d, vivid);
    const float x0 = float(d.below(kSmall)), y0 = float(d.below(kSmall)), w = d.uniform(3, 22), h = d.uniform(3, 40);
    const bool round = d.chance(.5f);
    for (int y = 0; y < kSmall; ++y)
      for (int x = 0; x < kSmall; ++x) {
        const float u = (float(x) - x0) / w, v = (float(y) - y0) / (round ? w : h);
        if (round ? u * u + v * v < 1 : u > 0 && u < 1 && v > 0 && v < 1) small.at(x, y) = c;
      }
  }
  blur(small, d.uniform(.6f, 2.5f));
  return small;
}

}  // namespace synthetic_faces

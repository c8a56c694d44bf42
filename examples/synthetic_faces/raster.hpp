// A z-buffer rasteriser that notes, for each pixel, which triangle is in front and where on it: attributes are looked
// up afterwards, once a pixel. Triangles of hair are cut where a vertex value, frayed by strands, falls below 0.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "vec.hpp"

namespace synthetic_faces {

struct Hit {
  std::int32_t triangle = -1;   // none
  float second = 0, third = 0;  // weights of its second and third vertex
};

struct Frame {
  int side = 0;
  std::vector<float> depth;
  std::vector<Hit> hit;

  // Empty, of this many pixels a side.
  void clear(int n) {
    side = n;
    depth.assign(std::size_t(n) * std::size_t(n), std::numeric_limits<float>::max());
    hit.assign(depth.size(), Hit{});
  }
};

// A vertex on the screen: x, y in pixels (pixel (i, j) covers [i, i + 1) x [j, j + 1)), z grows away from the eye.
using Screen = Vec3;

// What a triangle may lose: nothing, or what falls below 0.
struct Cut {
  std::span<const float> value, strand;  // of each vertex
  const float* fray = nullptr;           // [256], added by strand
  static constexpr float kStrands = 90;  // table entries per unit of strand

  bool keeps(const std::array<std::uint32_t, 3>& t, float a, float b, float c) const {
    const float v = a * value[t[0]] + b * value[t[1]] + c * value[t[2]];
    const float s = a * strand[t[0]] + b * strand[t[1]] + c * strand[t[2]];
    return v + fray[int(s * kStrands + 4096) & 255] >= 0;
  }
};

enum class Sides { kFront, kBoth };

// Draws triangles [first, last) into the frame. cut: null where they are whole. A front is counterclockwise to the eye.
inline void draw(Frame& f, std::span<const Screen> at, std::span<const std::array<std::uint32_t, 3>> triangles,
                 std::size_t first, std::size_t last, Sides sides, const Cut* cut) {
  const float side = float(f.side);
  for (std::size_t i = first; i < last; ++i) {
    const auto& t = triangles[i];
    const Screen a = at[t[0]], b = at[t[1]], c = at[t[2]];
    const float area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);
    if (std::abs(area) < 1e-9f || (area > 0 && sides == Sides::kFront)) continue;
    const float left = std::min({a.x, b.x, c.x}), right = std::max({a.x, b.x, c.x});
    const float top = std::min({a.y, b.y, c.y}), bottom = std::max({a.y, b.y, c.y});
    if (!(right > 0 && bottom > 0 && left < side && top < side)) continue;
    const int x0 = int(std::max(0.f, left)), x1 = int(std::min(side - 1, right));
    const int y0 = int(std::max(0.f, top)), y1 = int(std::min(side - 1, bottom));
    const float scale = 1 / area;
    // Weights of b and c are linear in the pixel.
    const float bx = (c.y - a.y) * scale, by = -(c.x - a.x) * scale, cx = -(b.y - a.y) * scale,
                cy = (b.x - a.x) * scale;
    constexpr float kEdge = -1e-4f;
    for (int y = y0; y <= y1; ++y) {
      const float dx = float(x0) + .5f - a.x, dy = float(y) + .5f - a.y;
      float wb = bx * dx + by * dy, wc = cx * dx + cy * dy;
      const std::size_t row = std::size_t(y) * std::size_t(f.side);
      for (int x = x0; x <= x1; ++x, wb += bx, wc += cx) {
        const float wa = 1 - wb - wc;
        if (wa < kEdge || wb < kEdge || wc < kEdge) continue;
        const float z = wa * a.z + wb * b.z + wc * c.z;
        const std::size_t o = row + std::size_t(x);
        if (z >= f.depth[o] || (cut && !cut->keeps(t, wa, wb, wc))) continue;
        f.depth[o] = z;
        f.hit[o] = {std::int32_t(i), wb, wc};
      }
    }
  }
}

}  // namespace synthetic_faces

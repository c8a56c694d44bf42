// Points, directions and colours of three numbers.
#pragma once
#include <algorithm>
#include <cmath>

namespace synthetic_faces {

struct Vec2 {
  float x = 0, y = 0;
};
constexpr Vec2 operator+(Vec2 a, Vec2 b) { return {a.x + b.x, a.y + b.y}; }
constexpr Vec2 operator-(Vec2 a, Vec2 b) { return {a.x - b.x, a.y - b.y}; }
constexpr Vec2 operator*(Vec2 a, float s) { return {a.x * s, a.y * s}; }
constexpr float dot(Vec2 a, Vec2 b) { return a.x * b.x + a.y * b.y; }
inline float length(Vec2 a) { return std::sqrt(dot(a, a)); }

struct Vec3 {
  float x = 0, y = 0, z = 0;
  constexpr Vec3& operator+=(Vec3 b) {
    x += b.x;
    y += b.y;
    z += b.z;
    return *this;
  }
};
constexpr Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
constexpr Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
constexpr Vec3 operator*(Vec3 a, Vec3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
constexpr Vec3 operator*(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
constexpr float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
constexpr Vec3 cross(Vec3 a, Vec3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
inline float length(Vec3 a) { return std::sqrt(dot(a, a)); }
inline Vec3 normalised(Vec3 a) { return a * (1 / (length(a) + 1e-9f)); }
constexpr Vec3 mix(Vec3 a, Vec3 b, float t) { return a + (b - a) * t; }
constexpr Vec2 mix(Vec2 a, Vec2 b, float t) { return a + (b - a) * t; }
constexpr float mix(float a, float b, float t) { return a + (b - a) * t; }

using Colour = Vec3;  // of display values, 0..1

constexpr float clamped(float x) { return std::clamp(x, 0.f, 1.f); }
// 0 up to `low`, 1 from `high` on, smooth between.
constexpr float smooth_step(float low, float high, float x) {
  const float t = clamped((x - low) / (high - low));
  return t * t * (3 - 2 * t);
}
// A line through points (x, y) whose x ascend, level beyond its ends.
template <std::size_t N>
constexpr float piecewise(const Vec2 (&points)[N], float x) {
  if (x <= points[0].x) return points[0].y;
  for (std::size_t i = 1; i < N; ++i)
    if (x < points[i].x)
      return mix(points[i - 1].y, points[i].y, (x - points[i - 1].x) / (points[i].x - points[i - 1].x));
  return points[N - 1].y;
}

}  // namespace synthetic_faces

// What is the same for all faces: where each vertex lies on the mean head. Textures, hairlines and masks are functions
// of that place ("canonical": the mean young adult, the middle between the eyes = origin).
#pragma once
#include "rig.hpp"

namespace synthetic_faces {

inline constexpr int kEyes = 2;  // 0: the one with x < 0, which is left in the picture

struct Head {
  Rig rig;
  std::vector<Vec3> place;               // canonical, of each vertex
  std::vector<float> azimuth, altitude;  // of each vertex, seen from the middle of the head: radians from the front, up
  std::array<Vec3, kPoints> points{};    // canonical
  std::array<std::vector<int>, kEyes> eyeball;  // vertices
  std::array<Vec3, kEyes> eye_centre{};         // canonical
  std::array<float, kEyes> eye_radius{};
  std::vector<Triangle> body, scalp, curtain;  // skin, eyes and mouth; skin that hair may grow on; long hair
  std::vector<Material> body_material;
};

inline constexpr Vec3 kHeadMiddle{0, .22f, -1.05f};

namespace detail {

inline std::vector<Vec3> mean_head(const Rig& rig) {
  std::vector<Vec3> mean = rig.vertices;
  for (const char* race : {"african", "asian", "caucasian"})
    for (const char* sex : {"female", "male"}) {
      const int t = rig.target("race/" + std::string(race) + "-" + sex + "-young");
      rig.add(mean, t, 1.f / 6, 1.f / 6);
    }
  return mean;
}

inline void find_eyes(Head& h, const std::vector<Vec3>& mean) {
  for (int e = 0; e < kEyes; ++e) {
    std::vector<int>& ball = h.eyeball[std::size_t(e)];
    for (std::size_t t = 0; t < h.rig.triangles.size(); ++t)
      for (const std::uint16_t v : h.rig.triangles[t])
        if (h.rig.material[t] == Material::kEye && (mean[v].x > 0) == (e == 1)) ball.push_back(v);
    std::sort(ball.begin(), ball.end());
    ball.erase(std::unique(ball.begin(), ball.end()), ball.end());
    if (ball.empty()) throw Error(ErrorKind::kFormat, "the rig has no eyes");
    Vec3 sum;
    for (const int v : ball) sum += mean[std::size_t(v)];
    h.eye_centre[std::size_t(e)] = sum * (1 / float(ball.size()));
  }
}

inline std::vector<bool> ear_vertices(const Rig& rig) {
  std::vector<bool> ear(rig.vertices.size());
  for (const char* name : {"ears/l-ear-scale-incr", "ears/r-ear-scale-incr"}) {
    const std::size_t t = std::size_t(rig.target(name));
    for (std::size_t i = rig.begin[t]; i < rig.begin[t + 1]; ++i) ear[rig.index[i]] = true;
  }
  return ear;
}

inline void sort_triangles(Head& h) {
  constexpr float kNeck = -1.2f;
  const std::vector<bool> ear = ear_vertices(h.rig);
  for (std::size_t i = 0; i < h.rig.triangles.size(); ++i) {
    const Triangle& t = h.rig.triangles[i];
    const Material m = h.rig.material[i];
    if (m == Material::kHair) h.curtain.push_back(t);
    if (m > Material::kTongue) continue;
    h.body.push_back(t);
    h.body_material.push_back(m);
    const auto grows = [&](std::uint16_t v) { return !ear[v] && h.place[v].y > kNeck && h.altitude[v] > -.95f; };
    if (m == Material::kSkin && grows(t[0]) && grows(t[1]) && grows(t[2])) h.scalp.push_back(t);
  }
}

}  // namespace detail

// Errors: as read_rig; kFormat (a rig without the targets of the mean head, or without eyes).
inline Head read_head(const std::string& path) {
  Head h;
  h.rig = read_rig(path);
  const std::vector<Vec3> mean = detail::mean_head(h.rig);
  detail::find_eyes(h, mean);
  const Vec3 origin = (h.eye_centre[0] + h.eye_centre[1]) * .5f;
  for (const Vec3& v : mean) {
    h.place.push_back(v - origin);
    const Vec3 d = h.place.back() - kHeadMiddle;
    h.azimuth.push_back(std::atan2(d.x, d.z));
    h.altitude.push_back(std::atan2(d.y, std::sqrt(d.x * d.x + d.z * d.z)));
  }
  for (std::size_t e = 0; e < kEyes; ++e) {
    h.eye_centre[e] = h.eye_centre[e] - origin;
    for (const int v : h.eyeball[e])
      h.eye_radius[e] = std::max(h.eye_radius[e], length(h.place[std::size_t(v)] - h.eye_centre[e]));
  }
  for (std::size_t i = 0; i < kPoints; ++i) h.points[i] = h.place[h.rig.points[i]];
  detail::sort_triangles(h);
  return h;
}

}  // namespace synthetic_faces

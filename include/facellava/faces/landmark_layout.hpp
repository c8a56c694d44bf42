// Which layout a number of landmarks is known from, and the 68 landmarks of the numbers that a file holds. Shared by
// the readers of landmark files.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/faces/mesh_points.hpp"

namespace facellava::faces {

// What a number of landmarks other than 68 is known from, or an empty string.
inline std::string_view known_layout(std::size_t points) {
  struct Known {
    std::size_t points;
    std::string_view name;
  };
  static constexpr std::array<Known, 10> kKnown{
      {{5, "eyes, nose and corners of the mouth, of face detectors"},
       {6, "the key points of a BlazeFace detector"},
       {19, "AFLW"},
       {21, "AFLW"},
       {29, "COFW"},
       {49, "68 points without the outline of the face and the inner corners of the mouth"},
       {51, "68 points without the outline of the face"},
       {98, "WFLW"},
       {106, "JD-landmark"},
       {194, "HELEN"}}};
  for (const Known& k : kKnown)
    if (k.points == points) return k.name;
  return {};
}

namespace detail {

[[noreturn]] inline void wrong_count(const std::string& where, std::size_t points) {
  const auto layout = known_layout(points);
  throw Error(ErrorKind::kShape,
              where + ": expected " + std::to_string(kPoints) + " landmarks, found " + std::to_string(points) +
                  (layout.empty() ? std::string() : " (the layout looks like " + std::string(layout) + ")"));
}

[[noreturn]] inline void wrong_width(const std::string& where, std::size_t numbers) {
  throw Error(ErrorKind::kShape, where + ": expected landmarks of 2 numbers (x and y), found " +
                                     std::to_string(numbers) +
                                     (numbers == 3 ? " (depth or confidence? leave the third out)" : ""));
}

constexpr bool is_mesh(std::size_t points) { return points == kMeshPoints || points == kMeshPoints + 10; }

inline Landmarks mesh_frame(std::span<const float> values, const std::string& where) {
  std::vector<Point> mesh;
  float top = 0;
  for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
    mesh.push_back({values[i], values[i + 1]});
    top = std::max({top, values[i], values[i + 1]});
  }
  if (top < 2)
    throw Error(ErrorKind::kShape,
                where + ": expected a face mesh in pixels, found none beyond " + std::to_string(top) +
                    " (are these fractions of the picture? multiply x by its width and y by its height)");
  return landmarks_of_mesh(mesh);
}

// values: x and y of each point in turn.
inline Landmarks frame_of(std::span<const float> values, const std::string& where) {
  if (is_mesh(values.size() / 2)) return mesh_frame(values, where);
  if (values.size() != 2 * kPoints) wrong_count(where, values.size() / 2);
  Landmarks points;
  for (std::size_t i = 0; i < points.size(); ++i) points[i] = {values[2 * i], values[2 * i + 1]};
  return points;
}

}  // namespace detail

}  // namespace facellava::faces

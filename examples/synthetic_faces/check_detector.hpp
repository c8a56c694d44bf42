// Whether the library's own nets find rendered faces, and how their 68 points differ from the exact ones.
#pragma once
#include <string>

#include "generator.hpp"

namespace synthetic_faces {

struct DetectorCheck {
  int faces = 0, found = 0;
  float mean_error = 0;                // over faces and points, of the distance between the outer eye corners
  std::array<Vec2, kPoints> offset{};  // mean of detector − exact, in the face's frame (x along the eyes), same unit
};

// Of `count` samples of a seed.   nets: the folder that FaceFinder takes.   Errors: as FaceFinder.
DetectorCheck check_detector(const Generator& faces, std::uint64_t seed, int count, const std::string& nets);

}  // namespace synthetic_faces

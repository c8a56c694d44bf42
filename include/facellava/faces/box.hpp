// Where a face is in a picture.
#pragma once
#include <cmath>
#include <string>

#include "facellava/core/error.hpp"

namespace facellava::faces {

struct Box {
  float x = 0, y = 0, width = 0, height = 0;  // pixels of the picture; x, y: the upper left corner
};

// Throws kNonFinite unless the box is of numbers that a picture can have.
inline void check_box(const Box& b, const char* what) {
  for (const float v : {b.x, b.y, b.width, b.height})
    if (!(std::abs(v) < 1e9f))
      throw Error(ErrorKind::kNonFinite, std::string(what) + ": expected a box in pixels, found " +
                                             std::to_string(b.x) + ", " + std::to_string(b.y) + ", " +
                                             std::to_string(b.width) + " x " + std::to_string(b.height));
}

}  // namespace facellava::faces

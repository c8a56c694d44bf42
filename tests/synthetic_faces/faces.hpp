// What the tests of the renderer share.
#pragma once
#include <doctest/doctest.h>

#include "synthetic_faces/generator.hpp"

namespace synthetic_faces::test {

// Small pictures: the tests look at numbers.
inline const Generator& small_faces() {
  static const Generator faces(SYNTHETIC_FACES_RIG, {.side = 40});
  return faces;
}

}  // namespace synthetic_faces::test

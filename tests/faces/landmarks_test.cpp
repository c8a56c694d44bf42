#include "facellava/faces/landmarks.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;

namespace {
Landmarks diagonal() {
  Landmarks points;
  for (int i = 0; i < kPoints; ++i) points[std::size_t(i)] = {float(2 * i), float(300 - i)};
  return points;
}
}  // namespace

TEST_CASE("the two normalisations") {
  const auto points = diagonal();
  const auto by_256 = normalise(points, LandmarkNormalisation::kBy256, 640, 480);
  REQUIRE(by_256.size() == 136);
  CHECK(by_256[2 * 64] == 0.5f);
  CHECK(by_256[1] == 300 / 256.f);  // nothing is clipped
  const auto by_picture = normalise(points, LandmarkNormalisation::kByPicture, 640, 480);
  CHECK(by_picture[2 * 32] == 0.1f);
  CHECK(by_picture[2 * 60 + 1] == 0.5f);
  CHECK_NOTHROW(normalise(points, LandmarkNormalisation::kBy256, 0, 0));
}

TEST_CASE("a point that is no number is named; wrong counts and sizes are refused") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const bool x : {false, true}) {
      auto points = diagonal();
      (x ? points[41].x : points[41].y) = bad;
      const auto [kind, what] = test::error_of([&] { normalise(points, LandmarkNormalisation::kBy256, 256, 256); });
      CHECK(kind == ErrorKind::kNonFinite);
      CHECK(test::has(what, "landmark 41"));
    }
  const auto points = diagonal();
  CHECK_THROWS_AS(normalise(std::span(points).first(67), LandmarkNormalisation::kBy256, 256, 256), Error);
  CHECK_THROWS_AS(normalise({}, LandmarkNormalisation::kBy256, 256, 256), Error);
  CHECK_THROWS_AS(normalise(points, LandmarkNormalisation::kByPicture, 0, 256), Error);
}

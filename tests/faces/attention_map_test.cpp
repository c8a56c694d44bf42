#include "facellava/faces/attention_map.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/media/write_png.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;

namespace {

// Weights of an n x n grid that fall off around each region's centre; they sum to 1 over the regions.
std::vector<float> near_regions(const Landmarks& points, int n, float side) {
  const auto centre =
      region_centroids<float>(normalise(points, LandmarkNormalisation::kByPicture, int(side), int(side)).data());
  std::vector<float> weights;
  for (int i = 0; i < n * n; ++i) {
    std::array<float, kRegionCount> w{};
    float sum = 0;
    for (std::size_t g = 0; g < w.size(); ++g) {
      const float dx = (float(i % n) + .5f) / float(n) - centre[2 * g],
                  dy = (float(i / n) + .5f) / float(n) - centre[2 * g + 1];
      sum += w[g] = std::exp(-8 * std::sqrt(dx * dx + dy * dy));
    }
    for (const float x : w) weights.push_back(x / sum);
  }
  return weights;
}

}  // namespace

TEST_CASE("a sheet shows the picture where no patch is hot, and heat where it is") {
  const auto picture = media::read_image(test::golden("preprocess/inputs/face_a_256.png"));
  const auto points = read_landmarks(test::golden("landmarks/image_face_a_256.npy")).at(0);
  const auto sheet = draw_attention(picture.view(), points, near_regions(points, 16, 256));
  CHECK(sheet.width() > 3 * 224);
  CHECK(sheet.height() > sheet.width());

  // One hot patch of one region: that panel has its hottest colour there, another panel is the picture under a flat
  // tint.
  std::vector<float> weights(4 * 4 * 9, 0.1f);
  weights[(1 * 4 + 2) * 9 + 4] = 0.9f;
  media::Image black(64, 64);
  const Landmarks far = [] {
    Landmarks p;
    p.fill({-1000, -1000});
    return p;
  }();
  const auto one = draw_attention(black.view(), far, weights, {.panel = 64, .opacity = 1});
  const int gap = 4, title = media::kTextHeight + 4, left = gap + (64 + gap), top = gap + title + (64 + title + gap);
  const auto* hot = one.pixel(left + 2 * 16 + 8, top + 16 + 8);
  const media::Colour hottest = heat_colour(1);
  CHECK(int(hot[0]) == hottest.r);
  CHECK(int(hot[1]) == hottest.g);
  CHECK(int(hot[2]) == hottest.b);
  const auto* cold = one.pixel(left + 8, top + 8);
  CHECK(int(cold[0]) == int(std::lround(heat_colour(0).r * 0.35)));
  CHECK(std::equal(cold, cold + 3, one.pixel(gap + 20, gap + title + 20)));
}

TEST_CASE("points land on the picture's features, also where the picture is not square") {
  media::Image wide(300, 100);
  for (int k = 0; k < 3; ++k) wide.pixel(170, 40)[k] = 255;
  const Point p = faces::detail::in_tower_view({170.5f, 40.5f}, wide.view(), 200);
  const auto seen = faces::detail::tower_view(wide.view(), 200);
  CHECK(seen.pixel(int(std::lround(p.x)), int(std::lround(p.y)))[0] > 150);
}

TEST_CASE("odd grids, sizes and extreme pictures") {
  Landmarks points;
  for (std::size_t i = 0; i < points.size(); ++i) points[i] = {float(i) * 1e30f, -float(i)};
  for (const int n : {1, 2, 3, 7, 100})
    for (const int panel : {64, 71, 225}) {
      const std::vector<float> weights(std::size_t(n * n * 9), 0.5f);
      CHECK_NOTHROW(draw_attention(test::noise(1, 1, 1).view(), points, weights, {.panel = panel}));
      CHECK_NOTHROW(draw_attention(test::noise(1, 999, 1).view(), points, weights, {.panel = panel}));
    }
}

TEST_CASE("wrong counts and values that are no numbers") {
  const auto picture = test::noise(8, 8, 1);
  Landmarks points{};
  std::vector<float> weights(4 * 9, 0.1f);
  CHECK_NOTHROW(draw_attention(picture.view(), points, weights));
  const auto kind = [&](std::span<const Point> p, std::span<const float> w, AttentionSheet how = {}) {
    return test::error_of([&] { draw_attention(picture.view(), p, w, how); }).first;
  };
  CHECK(kind(std::span(points).first(5), weights) == ErrorKind::kShape);
  CHECK(kind(points, std::span(weights).first(35)) == ErrorKind::kShape);
  CHECK(kind(points, std::span(weights).first(27)) == ErrorKind::kShape);
  CHECK(kind(points, {}) == ErrorKind::kShape);
  CHECK(kind(points, weights, {.panel = 63}) == ErrorKind::kArgument);
  CHECK(kind(points, weights, {.panel = 1 << 20}) == ErrorKind::kArgument);
  weights[20] = NAN;
  const auto [found, what] = test::error_of([&] { draw_attention(picture.view(), points, weights); });
  CHECK(found == ErrorKind::kNonFinite);
  CHECK(test::has(what, "patch 2 and region eyebrow2"));
  weights[20] = 0;
  points[3].x = std::numeric_limits<float>::infinity();
  CHECK(kind(points, weights) == ErrorKind::kNonFinite);
}

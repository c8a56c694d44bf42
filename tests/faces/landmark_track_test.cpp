#include "facellava/faces/landmark_track.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <numbers>
#include <random>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;
using facellava::test::error_of;
using facellava::test::has;

namespace {

using Frames = std::vector<std::optional<Landmarks>>;

// A face whose eyes' outer corners are 90 pixels apart, at (x, y).
Landmarks face(float x, float y = 0) {
  Landmarks points;
  for (std::size_t k = 0; k < points.size(); ++k) points[k] = {x + 10 * float(k), y + float(k % 7)};
  return points;
}
std::vector<double> even(std::size_t n, double step = 0.04) {
  std::vector<double> seconds(n);
  for (std::size_t i = 0; i < n; ++i) seconds[i] = double(i) * step;
  return seconds;
}
std::vector<float> places(const std::vector<Landmarks>& all) {
  std::vector<float> x;
  for (const Landmarks& l : all) x.push_back(l[0].x);
  return x;
}

}  // namespace

TEST_CASE("frames without a face: carried, interpolated by time, left out, at the start, in the middle, at the end") {
  const Frames frames{{}, face(10), {}, {}, face(40), {}};
  const std::vector<double> seconds{0, 1, 1.5, 3, 4, 9};  // uneven: a video of variable rate
  const auto carried = fill(frames, seconds, MissingFaces::kCarry);
  CHECK(places(carried.landmarks) == std::vector<float>{10, 10, 10, 10, 40, 40});
  CHECK(carried.frames == std::vector<std::size_t>{0, 1, 2, 3, 4, 5});
  const auto between = fill(frames, seconds, MissingFaces::kInterpolate);
  CHECK(places(between.landmarks) == std::vector<float>{10, 10, 15, 30, 40, 40});
  CHECK(between.landmarks[3][67].x == 30 + 670);
  const auto dropped = fill(frames, seconds, MissingFaces::kDrop);
  CHECK(places(dropped.landmarks) == std::vector<float>{10, 40});
  CHECK(dropped.frames == std::vector<std::size_t>{1, 4});
  for (const auto& filled : {carried, between, dropped}) {
    REQUIRE(filled.gaps.size() == 3);
    const std::size_t wanted[][2] = {{0, 1}, {2, 2}, {5, 1}};
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(filled.gaps[i].first == wanted[i][0]);
      CHECK(filled.gaps[i].length == wanted[i][1]);
    }
  }
  const auto [kind, what] = error_of([&] { fill(Frames{face(1), {}, {}}, even(3, 0.5), MissingFaces::kError); });
  CHECK(kind == ErrorKind::kArgument);
  CHECK(has(what, "found none in 2 from frame 1 on (0.5"));
  CHECK(places(fill(Frames{face(1), face(2)}, even(2), MissingFaces::kError).landmarks) == std::vector<float>{1, 2});
}

TEST_CASE("errors of every policy: no face at all, times that do not grow, points that are no numbers") {
  for (const auto policy :
       {MissingFaces::kError, MissingFaces::kCarry, MissingFaces::kInterpolate, MissingFaces::kDrop}) {
    const auto of = [&](const Frames& frames, const std::vector<double>& seconds) {
      const auto filled = error_of([&] { fill(frames, seconds, policy); });
      const auto smoothed = error_of([&] { (void)smooth(frames, seconds); });
      CHECK(filled.first == smoothed.first);
      return filled;
    };
    CHECK(has(of(Frames(3), even(3)).second, "expected a face in one frame at least, found none in 3"));
    CHECK(of({}, {}).first == ErrorKind::kArgument);
    CHECK(of({face(1), face(2)}, even(3)).first == ErrorKind::kShape);
    CHECK(has(of({face(1), face(2)}, {1, 1}).second, "for frame 1"));
    CHECK(of({face(1), face(2)}, {1, 0}).first == ErrorKind::kArgument);
    CHECK(of({face(1)}, {std::numeric_limits<double>::quiet_NaN()}).first == ErrorKind::kArgument);
    Frames broken{face(1), face(2)};
    (*broken[1])[30].y = std::numeric_limits<float>::quiet_NaN();
    CHECK(of(broken, even(2)).first == ErrorKind::kNonFinite);
    CHECK(has(of(broken, even(2)).second, "landmark 30 of frame 1"));
  }
  for (const double deviation : {0., -1., std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(smooth(Frames{face(1)}, even(1), {.deviation = deviation}), Error);
}

TEST_CASE("smoothing keeps steady motion and acceleration, to the very ends, whatever the times") {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> step(0.01, 0.08);
  Frames frames;
  std::vector<double> seconds;
  for (double t = 5; frames.size() < 60; t += step(random)) {
    seconds.push_back(t);
    frames.push_back(face(float(20 * t), float(3 * t * t - 40 * t)));
  }
  const auto smoothed = smooth(frames, seconds);
  for (std::size_t i = 0; i < frames.size(); ++i)
    for (std::size_t k = 0; k < 68; ++k) {
      // fp32 points of 800 pixels: a rounding of 3e-5 in each frame; at the ends weights add up to 3 in size
      CHECK(std::abs((*smoothed[i])[k].x - (*frames[i])[k].x) < 2e-4f);
      CHECK(std::abs((*smoothed[i])[k].y - (*frames[i])[k].y) < 2e-4f);
    }
}

TEST_CASE("smoothing takes jitter away, and nothing lags") {
  std::mt19937 random(4);
  std::normal_distribution<float> noise(0, 1);
  const auto seconds = even(200, 1 / 25.);
  Frames frames, still;
  for (const double t : seconds) {
    still.push_back(face(float(20 * std::sin(2 * std::numbers::pi * t))));  // once a second
    frames.push_back(still.back());
    for (Point& p : *frames.back()) p = {p.x + noise(random), p.y + noise(random)};
  }
  const auto smoothed = smooth(frames, seconds);
  double before = 0, after = 0, late = 0, early = 0;
  for (std::size_t i = 1; i + 1 < frames.size(); ++i)
    for (std::size_t k = 0; k < 68; ++k) {
      const float x = (*smoothed[i])[k].x;
      before += std::pow((*frames[i])[k].x - (*still[i])[k].x, 2);
      after += std::pow(x - (*still[i])[k].x, 2);
      late += std::pow(x - (*still[i - 1])[k].x, 2);
      early += std::pow(x - (*still[i + 1])[k].x, 2);
    }
  // The weights of 50 ms at 25 frames a second, squared, add up to 0.408 (more at the ends); of 13464 points' noise, 2
  // %.
  CHECK(after / before == doctest::Approx(0.41).epsilon(0.04));
  CHECK(late / early == doctest::Approx(1).epsilon(0.05));  // as near to the frame before as to the one behind
  const auto same = smooth(frames, seconds, {.kind = Smoothing::kNone});
  CHECK((*same[7])[7].x == (*frames[7])[7].x);
}

TEST_CASE("smoothing stops at gaps and cuts: each part is smoothed as if it were alone") {
  std::mt19937 random(5);
  std::normal_distribution<float> noise(0, 1);
  const auto seconds = even(60);
  Frames frames;
  for (std::size_t i = 0; i < 60; ++i) {
    frames.push_back(face(i < 40 ? 100 : 160));  // a jump of two thirds of the distance of the eyes
    for (Point& p : *frames.back()) p.x += noise(random);
  }
  frames[20] = frames[21] = std::nullopt;
  const auto smoothed = smooth(frames, seconds);
  CHECK(!smoothed[20]);
  CHECK(!smoothed[21]);
  for (const auto& [first, last] : {std::pair{0, 20}, {22, 40}, {40, 60}}) {
    const std::span part(frames.data() + first, frames.data() + last);
    const auto alone = smooth(part, std::span(seconds).subspan(std::size_t(first), part.size()));
    for (std::size_t i = 0; i < part.size(); ++i)
      for (std::size_t k = 0; k < 68; ++k)
        CHECK((*smoothed[std::size_t(first) + i])[k].x == doctest::Approx((*alone[i])[k].x).epsilon(1e-6));
  }
  CHECK((*smoothed[39])[0].x < 110);
  CHECK((*smoothed[40])[0].x > 150);
  const auto bridged = smooth(frames, seconds, {.max_jump = 2});
  CHECK((*bridged[39])[0].x > (*smoothed[39])[0].x + 5);
}

TEST_CASE("frames that are far apart, few or at nearly one time are kept or averaged, never worse") {
  const Frames three{face(0), face(9), face(3)};
  const auto kept = smooth(three, even(3));
  for (std::size_t i = 0; i < 3; ++i) CHECK((*kept[i])[0].x == (*three[i])[0].x);
  const Frames five{face(0), face(9), face(3), face(7), face(1)};
  const auto far = smooth(five, even(5, 1));  // a frame a second: no neighbour within reach
  for (std::size_t i = 0; i < 5; ++i) CHECK((*far[i])[0].x == (*five[i])[0].x);
  const auto near = smooth(five, even(5, 1e-12));
  for (std::size_t i = 0; i < 5; ++i) CHECK((*near[i])[0].x == doctest::Approx(4));  // the mean
}

TEST_CASE("filling and smoothing, in whatever order of gaps: frames that have a face are kept by fill") {
  std::mt19937 random(6);
  for (int turn = 0; turn < 200; ++turn) {
    const std::size_t n = 1 + random() % 30;
    Frames frames(n);
    std::vector<double> seconds;
    double t = 0;
    for (std::size_t i = 0; i < n; ++i) {
      seconds.push_back(t += 0.001 * double(1 + random() % 100));
      if (random() % 3) frames[i] = face(float(random() % 100), float(random() % 100));
    }
    if (!frames[n / 2]) frames[n / 2] = face(50);
    std::size_t missing = 0;
    for (const Gap& g : gaps(frames)) {
      missing += g.length;
      for (std::size_t i = g.first; i < g.first + g.length; ++i) CHECK(!frames[i]);
    }
    for (const auto policy : {MissingFaces::kCarry, MissingFaces::kInterpolate, MissingFaces::kDrop}) {
      const auto filled = fill(frames, seconds, policy);
      REQUIRE(filled.landmarks.size() == filled.frames.size());
      CHECK(filled.frames.size() == (policy == MissingFaces::kDrop ? n - missing : n));
      for (std::size_t i = 0; i < filled.frames.size(); ++i) {
        const float x = filled.landmarks[i][0].x;
        CHECK(x >= 0);
        CHECK(x <= 100);  // between what there is
        if (frames[filled.frames[i]]) CHECK(x == (*frames[filled.frames[i]])[0].x);
      }
    }
    const auto smoothed = smooth(frames, seconds);
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(smoothed[i].has_value() == frames[i].has_value());
      if (smoothed[i]) CHECK(std::isfinite((*smoothed[i])[67].y));
    }
  }
}

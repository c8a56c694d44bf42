#include "facellava/faces/face_tracker.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <random>

#include "facellava/faces/landmark_track.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;
using facellava::test::error_of;

namespace {

// `who` is kept in the score, where the tracker does not look.
Face face(float x, float y, float side, int who = 0) {
  Face f;
  f.detection.score = float(who);
  f.detection.box = {x, y, side, side};
  f.landmarks.fill({x + side / 2, y + side / 2});
  return f;
}
int who(const FaceTrack::Sighting& s) { return int(s.face.detection.score); }
bool of_one(const FaceTrack& t) {
  return std::all_of(t.sightings.begin(), t.sightings.end(),
                     [&](const auto& s) { return who(s) == who(t.sightings[0]); });
}

}  // namespace

TEST_CASE("two people, one that comes later; the main person first") {
  FaceTracker tracker;
  for (int i = 0; i < 20; ++i) {
    std::vector<Face> faces{face(100 + 3 * float(i), 50, 40, 1)};
    if (i >= 5) faces.insert(faces.begin(), face(300 - 2 * float(i), 60, 90, 2));
    tracker.add(faces, 0.04 * i);
  }
  const auto tracks = tracker.tracks();
  REQUIRE(tracks.size() == 2);
  CHECK(who(tracks[0].sightings[0]) == 2);  // 15 frames of 90 pixels before 20 of 40
  CHECK(tracks[0].sightings.size() == 15);
  CHECK(tracks[0].sightings[0].frame == 5);
  CHECK(tracks[1].sightings.size() == 20);
  CHECK(of_one(tracks[0]));
  CHECK(of_one(tracks[1]));
  CHECK(tracker.seconds().size() == 20);
  const auto landmarks = tracks[0].landmarks(20);
  CHECK(!landmarks[4]);
  CHECK((*landmarks[5])[0].x == 290 + 45);
  CHECK(fill(landmarks, tracker.seconds(), MissingFaces::kCarry).gaps[0].length == 5);
  CHECK_THROWS_AS(tracks[0].landmarks(19), Error);
}

TEST_CASE("two faces that cross keep their tracks, whatever the order in which they are found") {
  for (const float second : {60.f, 80.f}) {
    FaceTracker tracker;
    for (int i = 0; i <= 40; ++i) {
      std::vector<Face> faces{face(5 * float(i), 40, 60, 1), face(200 - 5 * float(i), 45, second, 2)};
      if (i % 2) std::swap(faces[0], faces[1]);
      tracker.add(faces, 0.04 * i);
    }
    const auto tracks = tracker.tracks();
    REQUIRE(tracks.size() == 2);
    CHECK(tracks[0].sightings.size() == 41);
    CHECK(of_one(tracks[0]));
    CHECK(of_one(tracks[1]));
  }
}

TEST_CASE("a face that is hidden while another passes: the one in front keeps its track, nobody is mixed up") {
  FaceTracker tracker;
  for (int i = 0; i <= 40; ++i) {
    std::vector<Face> faces{face(5 * float(i), 40, 60, 1)};
    if (i < 14 || i > 26) faces.push_back(face(200 - 5 * float(i), 40, 60, 2));
    tracker.add(faces, 0.04 * i);
  }
  for (const FaceTrack& t : tracker.tracks()) CHECK(of_one(t));
  CHECK(tracker.tracks()[0].sightings.size() == 41);
}

TEST_CASE("a face that is lost for a while goes on with its track; after a second it is a new one") {
  FaceTracker tracker;
  for (int i = 0; i < 100; ++i) {
    std::vector<Face> faces;
    const bool seen = i < 20 || (i >= 40 && i < 60) || i >= 90;  // lost for 0.84 s, then for 1.24 s
    if (seen) faces.push_back(face(100, 100, 50));
    tracker.add(faces, 0.04 * i);
  }
  const auto tracks = tracker.tracks();
  REQUIRE(tracks.size() == 2);
  CHECK(tracks[0].sightings.size() == 40);
  CHECK(tracks[1].sightings.size() == 10);
  CHECK(tracks[1].sightings[0].frame == 90);
}

TEST_CASE("a jump is another track; two faces at one place are two tracks") {
  FaceTracker tracker;
  tracker.add(std::vector{face(0, 0, 50)}, 0);
  tracker.add(std::vector{face(30, 0, 50)}, 1);  // overlaps a quarter
  CHECK(tracker.tracks().size() == 2);
  tracker.add(std::vector{face(30, 0, 50), face(30, 0, 50)}, 1.5);
  CHECK(tracker.tracks().size() == 3);
  tracker.add({}, 2);
  CHECK(tracker.seconds().size() == 4);
}

TEST_CASE("every face is in exactly one track, at most once a frame, in the order of the frames") {
  std::mt19937 random(9);
  for (int turn = 0; turn < 50; ++turn) {
    FaceTracker tracker({.min_overlap = 0.1f * float(turn % 8), .max_gap = 0.1 * (turn % 5)});
    std::size_t fed = 0;
    for (int i = 0; i < 40; ++i) {
      std::vector<Face> faces(random() % 5);
      for (Face& f : faces) f = face(float(random() % 100), float(random() % 100), float(random() % 60), int(fed++));
      tracker.add(faces, 0.05 * i);
    }
    std::vector<bool> seen(fed);
    for (const FaceTrack& t : tracker.tracks())
      for (std::size_t i = 0; i < t.sightings.size(); ++i) {
        CHECK(!seen[std::size_t(who(t.sightings[i]))]);
        seen[std::size_t(who(t.sightings[i]))] = true;
        if (i > 0) CHECK(t.sightings[i].frame > t.sightings[i - 1].frame);
      }
    CHECK(std::all_of(seen.begin(), seen.end(), [](bool b) { return b; }));
  }
}

TEST_CASE("bad times and boxes are errors that change nothing") {
  FaceTracker tracker;
  tracker.add(std::vector{face(0, 0, 50)}, 1);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double bad : {1., 0.5, double(nan), std::numeric_limits<double>::infinity()})
    CHECK(error_of([&] { tracker.add(std::vector{face(0, 0, 50)}, bad); }).first == ErrorKind::kArgument);
  CHECK(error_of([&] { tracker.add(std::vector{face(0, nan, 50)}, 2); }).first == ErrorKind::kNonFinite);
  CHECK(tracker.seconds().size() == 1);
  CHECK(tracker.tracks()[0].sightings.size() == 1);
}

TEST_CASE("one square for a clip: the median or what holds all") {
  FaceTrack track;
  for (int i = 0; i < 9; ++i) track.sightings.push_back({std::size_t(i), face(10 * float(i), 20, 40)});
  track.sightings[4].face.detection.box = {500, 20, 40, 60};  // strays
  const Box median = clip_box(track, ClipBox::kMedian), all = clip_box(track, ClipBox::kUnion);
  CHECK(median.width == 40);
  CHECK(median.height == 40);
  CHECK(median.x == 50);  // the middles are 20, 30, 40, 50, 70, 80, 90, 100 and 520: the fifth
  CHECK(median.y == 20);
  CHECK(all.width == 540);
  CHECK(all.height == 540);
  CHECK(all.x == 0);
  CHECK(all.y == 20 + 30 - 270);
  for (const auto& s : track.sightings) {
    const Box& b = s.face.detection.box;
    CHECK(b.x >= all.x);
    CHECK(b.y >= all.y);
    CHECK(b.x + b.width <= all.x + all.width);
    CHECK(b.y + b.height <= all.y + all.height);
  }
  CHECK_THROWS_AS(clip_box({}, ClipBox::kMedian), Error);
  track.sightings[0].face.detection.box.x = std::numeric_limits<float>::infinity();
  CHECK(error_of([&] { (void)clip_box(track, ClipBox::kUnion); }).first == ErrorKind::kNonFinite);
}

// Who is who over the frames of a video: a face continues the track whose last box it overlaps most.
// Positions alone decide: after a cut, a face at the place of another continues its track.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "facellava/faces/face_finder.hpp"

namespace facellava::faces {

struct TrackerOptions {
  float min_overlap = 0.3f;  // intersection over union of a face and the last box of its track
  double max_gap = 1;        // seconds without a face behind which a track has ended
};

// The faces of one person.
struct FaceTrack {
  struct Sighting {
    std::size_t frame;
    Face face;
  };
  std::vector<Sighting> sightings;  // in the order of the frames, of which some may be missing

  // One for each frame of the video (landmark_track.hpp fills the gaps).
  std::vector<std::optional<Landmarks>> landmarks(std::size_t frames) const {
    std::vector<std::optional<Landmarks>> all(frames);
    for (const Sighting& s : sightings) {
      check_index(s.frame, frames, "FaceTrack: frame");
      all[s.frame] = s.face.landmarks;
    }
    return all;
  }
};

// Fed with the faces of one frame after another.
class FaceTracker {
 public:
  explicit FaceTracker(const TrackerOptions& o = {}) : options_(o) {}

  // Errors, which leave the tracker as it was: kArgument (a time not behind that of the frame before), as check_box.
  void add(std::span<const Face> faces, double seconds) {
    if (!std::isfinite(seconds) || (!seconds_.empty() && !(seconds > seconds_.back())))
      throw Error(
          ErrorKind::kArgument,
          "FaceTracker: expected a time in seconds behind that of the frame before, found " + std::to_string(seconds));
    for (const Face& f : faces) check_box(f.detection.box, "FaceTracker");
    const std::size_t frame = seconds_.size();
    seconds_.push_back(seconds);
    std::erase_if(open_, [&](std::size_t t) { return seconds - seconds_[last(t).frame] > options_.max_gap; });
    std::vector<bool> placed(faces.size());
    for (const Pair& p : pairs(faces)) {
      if (placed[p.face] || last(p.track).frame == frame) continue;
      tracks_[p.track].sightings.push_back({frame, faces[p.face]});
      placed[p.face] = true;
    }
    for (std::size_t i = 0; i < faces.size(); ++i) {
      if (placed[i]) continue;
      open_.push_back(tracks_.size());
      tracks_.push_back({{{frame, faces[i]}}});
    }
  }

  // Of all frames so far.
  std::span<const double> seconds() const { return seconds_; }

  // The main person first: by the sides of the boxes, summed over the frames.
  std::vector<FaceTrack> tracks() const {
    std::vector<FaceTrack> sorted = tracks_;
    const auto weight = [](const FaceTrack& t) {
      double sum = 0;
      for (const auto& s : t.sightings)
        sum += double(std::max(s.face.detection.box.width, s.face.detection.box.height));
      return sum;
    };
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](const FaceTrack& a, const FaceTrack& b) { return weight(a) > weight(b); });
    return sorted;
  }

 private:
  struct Pair {
    float overlap;
    std::size_t track, face;
  };
  const FaceTrack::Sighting& last(std::size_t track) const { return tracks_[track].sightings.back(); }
  // Tracks and faces that fit together, the best first. Whoever was seen last goes before those who were lost: their
  // old boxes lie where others walk.
  std::vector<Pair> pairs(std::span<const Face> faces) const {
    std::vector<Pair> all;
    for (const std::size_t t : open_)
      for (std::size_t i = 0; i < faces.size(); ++i) {
        const float overlap = detail::overlap(last(t).face.detection.box, faces[i].detection.box);
        if (overlap >= options_.min_overlap && overlap > 0) all.push_back({overlap, t, i});
      }
    std::stable_sort(all.begin(), all.end(), [&](const Pair& a, const Pair& b) {
      const std::size_t seen_a = last(a.track).frame, seen_b = last(b.track).frame;
      return seen_a != seen_b ? seen_a > seen_b : a.overlap > b.overlap;
    });
    return all;
  }

  TrackerOptions options_;
  std::vector<double> seconds_;
  std::vector<FaceTrack> tracks_;
  std::vector<std::size_t> open_;  // tracks that may go on
};

enum class ClipBox {
  kMedian,  // of the middles and of the sides: a box that strays does no harm, a face that walks leaves it
  kUnion,   // holds every box
};

// One square for all frames of a track, so that one crop, and one affine, fits the whole clip (centred_cut moves it
// into the picture). For a square of each frame, crop each by itself. Errors: kArgument (an empty track); as check_box.
inline Box clip_box(const FaceTrack& track, ClipBox policy) {
  if (track.sightings.empty()) throw Error(ErrorKind::kArgument, "clip_box: expected a track with faces, found none");
  std::vector<float> x, y, side;  // middles and longer sides
  float left = 1e9f, top = 1e9f, right = -1e9f, bottom = -1e9f;
  for (const auto& s : track.sightings) {
    const Box& b = s.face.detection.box;
    check_box(b, "clip_box");
    x.push_back(b.x + b.width / 2);
    y.push_back(b.y + b.height / 2);
    side.push_back(std::max(b.width, b.height));
    left = std::min(left, b.x);
    top = std::min(top, b.y);
    right = std::max(right, b.x + b.width);
    bottom = std::max(bottom, b.y + b.height);
  }
  const auto square = [](float middle_x, float middle_y, float n) {
    return Box{middle_x - n / 2, middle_y - n / 2, n, n};
  };
  if (policy == ClipBox::kUnion)
    return square((left + right) / 2, (top + bottom) / 2, std::max(right - left, bottom - top));
  const auto median = [](std::vector<float>& v) {
    const auto middle = v.begin() + std::ptrdiff_t(v.size() / 2);
    std::nth_element(v.begin(), middle, v.end());
    return *middle;
  };
  return square(median(x), median(y), median(side));
}

}  // namespace facellava::faces

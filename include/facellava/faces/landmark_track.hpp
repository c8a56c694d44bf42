// Landmarks of one person over the frames of a video: frames without a face are filled or left out by a stated policy,
// and the jitter of a landmark net is smoothed. Smooth before frames are picked for the model, over all that there are.
//
// smooth: around each frame, a parabola over time is fitted to every coordinate by least squares with Gaussian weights
// (Savitzky-Golay for uneven times), and its value at the frame is taken. It looks both ways, so nothing lags; steady
// motion and acceleration stay as they are, to the very ends. On a clip of changing expressions (24 frames a second,
// 472 frames), at the deviation of 50 ms:
//   mean second difference of points   0.0113 -> 0.0047 of the distance of the eyes; where the face rests 0.0069 ->
//   0.0027 height of short changes (mouth, eyelids, brows, smile)   85 to 90 % of the raw ones, 10 ms from them at most
// A Gaussian mean of that jitter keeps up to 5 % less of the height and bends the ends; a one-euro filter, which
// streams would need, keeps 84 to 92 % at a jitter of 0.0034 where the face rests, and lags by 10 to 30 ms.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "facellava/faces/landmarks.hpp"

namespace facellava::faces {

// One for each frame; nothing where no face was found.
using TrackFrames = std::span<const std::optional<Landmarks>>;

enum class MissingFaces {
  kError,
  kCarry,        // the frame before; at the beginning the first one there is
  kInterpolate,  // between the neighbours, by time; at both ends the nearest
  kDrop,         // the frames are left out
};

// Frames without a face, one after another.
struct Gap {
  std::size_t first = 0, length = 0;
};

struct FilledTrack {
  std::vector<Landmarks> landmarks;
  std::vector<std::size_t> frames;  // whose they are: all of the video, or those that kDrop left
  std::vector<Gap> gaps;            // as they were
};

enum class Smoothing { kNone, kLocalParabola };

struct SmoothingOptions {
  Smoothing kind = Smoothing::kLocalParabola;
  double deviation = 0.05;  // seconds, of the Gaussian weights
  // A larger mean step of the points from frame to frame, in distances of the outer corners of the eyes, is a cut
  // (talking heads take 0.06 at most at 24 frames a second).
  float max_jump = 0.5f;
};

inline std::vector<Gap> gaps(TrackFrames frames) {
  std::vector<Gap> found;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (frames[i]) continue;
    if (found.empty() || found.back().first + found.back().length != i) found.push_back({i, 0});
    ++found.back().length;
  }
  return found;
}

namespace detail {

// Throws unless there is a time for each frame, later than the one before, all points are numbers, and one frame at
// least has a face.
inline void check_track(TrackFrames frames, std::span<const double> seconds, const char* what) {
  const std::string where = std::string(what) + ": ";
  check_equal(frames.size(), seconds.size(), where + "times of the frames");
  for (std::size_t i = 0; i < seconds.size(); ++i)
    if (!std::isfinite(seconds[i]) || (i > 0 && !(seconds[i] > seconds[i - 1])))
      throw Error(ErrorKind::kArgument, where + "expected a time in seconds behind that of the frame before, found " +
                                            std::to_string(seconds[i]) + " for frame " + std::to_string(i));
  for (std::size_t i = 0; i < frames.size(); ++i)
    for (std::size_t k = 0; frames[i] && k < kPoints; ++k) {
      const Point p = (*frames[i])[k];
      if (!std::isfinite(p.x) || !std::isfinite(p.y))
        throw Error(ErrorKind::kNonFinite, where + "landmark " + std::to_string(k) + " of frame " + std::to_string(i) +
                                               " is (" + std::to_string(p.x) + ", " + std::to_string(p.y) + ")");
    }
  if (std::none_of(frames.begin(), frames.end(), [](const auto& f) { return f.has_value(); }))
    throw Error(ErrorKind::kArgument,
                where + "expected a face in one frame at least, found none in " + std::to_string(frames.size()));
}

inline Landmarks between(const Landmarks& a, const Landmarks& b, float share) {
  Landmarks out;
  for (std::size_t k = 0; k < out.size(); ++k)
    out[k] = {a[k].x + share * (b[k].x - a[k].x), a[k].y + share * (b[k].y - a[k].y)};
  return out;
}

// Whether b is too far from a to be the next frame of the same shot.
inline bool is_cut(const Landmarks& a, const Landmarks& b, float max_jump) {
  constexpr std::size_t kRightEye = 36, kLeftEye = 45;  // outer corners
  float sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += std::hypot(b[k].x - a[k].x, b[k].y - a[k].y);
  return sum / kPoints > max_jump * std::hypot(a[kLeftEye].x - a[kRightEye].x, a[kLeftEye].y - a[kRightEye].y);
}

// What each frame of a run adds to frame i's value of the local parabola; the sum is 1. seconds: of the run.
inline std::vector<double> parabola_weights(std::span<const double> seconds, std::size_t i, double deviation) {
  std::vector<double> weights(seconds.size()), at(seconds.size());
  std::array<double, 5> moment{};
  for (std::size_t j = 0; j < seconds.size(); ++j) {
    at[j] = (seconds[j] - seconds[i]) / deviation;
    weights[j] = std::exp(-at[j] * at[j] / 2);
    double power = weights[j];
    for (double& m : moment) {
      m += power;
      power *= at[j];
    }
  }
  // the first row of the inverse of the moments' matrix, by cofactors
  const auto [m0, m1, m2, m3, m4] = moment;
  const double a = m2 * m4 - m3 * m3, b = m2 * m3 - m1 * m4, c = m1 * m3 - m2 * m2;
  const double determinant = m0 * a + m1 * b + m2 * c;
  const bool sound = determinant > 1e-9 * m0 * m0 * m0;  // else all frames are as good as at one time: their mean
  for (std::size_t j = 0; j < weights.size(); ++j)
    weights[j] *= sound ? (a + b * at[j] + c * at[j] * at[j]) / determinant : 1 / m0;
  return weights;
}

// The frames [first, last) of one shot, without gaps.
inline void smooth_run(TrackFrames frames, std::span<const double> seconds, std::size_t first, std::size_t last,
                       double deviation, std::vector<std::optional<Landmarks>>& out) {
  constexpr std::size_t kMostReach = 128;  // frames on each side
  const double reach = 3 * deviation;
  std::size_t low = first, high = first;
  for (std::size_t i = first; i < last; ++i) {
    while (seconds[i] - seconds[low] > reach || i - low > kMostReach) ++low;
    while (high < last && seconds[high] - seconds[i] <= reach && high - i <= kMostReach) ++high;
    if (high - low < 4) continue;  // a parabola runs through three of them anyway
    const auto weights = parabola_weights(seconds.subspan(low, high - low), i - low, deviation);
    for (std::size_t k = 0; k < kPoints; ++k) {
      double x = 0, y = 0;
      for (std::size_t j = low; j < high; ++j) {
        x += weights[j - low] * double((*frames[j])[k].x);
        y += weights[j - low] * double((*frames[j])[k].y);
      }
      (*out[i])[k] = {float(x), float(y)};
    }
  }
}

}  // namespace detail

// seconds: the time of each frame. Errors: kArgument (no face in any frame; with kError in some; times that do not
// grow), kShape (a time for each frame), kNonFinite (a point, naming it and its frame).
inline FilledTrack fill(TrackFrames frames, std::span<const double> seconds, MissingFaces policy) {
  detail::check_track(frames, seconds, "fill");
  FilledTrack out{{}, {}, gaps(frames)};
  if (policy == MissingFaces::kError && !out.gaps.empty())
    throw Error(ErrorKind::kArgument, "fill: expected a face in every frame, found none in " +
                                          std::to_string(out.gaps[0].length) + " from frame " +
                                          std::to_string(out.gaps[0].first) + " on (" +
                                          std::to_string(seconds[out.gaps[0].first]) + " s)");
  std::optional<std::size_t> before;
  std::size_t after = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (frames[i]) before = i;
    if (!frames[i] && policy == MissingFaces::kDrop) continue;
    out.frames.push_back(i);
    if (before == i) {
      out.landmarks.push_back(*frames[i]);
      continue;
    }
    after = std::max(after, i);
    while (after < frames.size() && !frames[after]) ++after;
    if (!before) {
      out.landmarks.push_back(*frames[after]);
    } else if (policy == MissingFaces::kCarry || after == frames.size()) {
      out.landmarks.push_back(*frames[*before]);
    } else {
      const double share = (seconds[i] - seconds[*before]) / (seconds[after] - seconds[*before]);
      out.landmarks.push_back(detail::between(*frames[*before], *frames[after], float(share)));
    }
  }
  return out;
}

// Of the same frames; never across a gap or a cut. Errors: as fill; kArgument (a deviation that is not above 0).
inline std::vector<std::optional<Landmarks>> smooth(TrackFrames frames, std::span<const double> seconds,
                                                    const SmoothingOptions& o = {}) {
  detail::check_track(frames, seconds, "smooth");
  if (!(o.deviation > 0) || !std::isfinite(o.deviation))
    throw Error(ErrorKind::kArgument,
                "smooth: expected a deviation above 0 seconds, found " + std::to_string(o.deviation));
  std::vector<std::optional<Landmarks>> out(frames.begin(), frames.end());
  if (o.kind == Smoothing::kNone) return out;
  for (std::size_t first = 0, last = 0; first < frames.size(); first = last) {
    last = first + 1;
    if (!frames[first]) continue;
    while (last < frames.size() && frames[last] && !detail::is_cut(*frames[last - 1], *frames[last], o.max_jump))
      ++last;
    detail::smooth_run(frames, seconds, first, last, o.deviation, out);
  }
  return out;
}

}  // namespace facellava::faces

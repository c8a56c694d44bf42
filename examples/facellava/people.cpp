#include "people.hpp"

namespace tool {

using namespace facellava;

faces::FilledTrack People::landmarks(std::size_t person, faces::MissingFaces missing,
                                     faces::Smoothing smoothing) const {
  const auto raw = tracks[person].landmarks(frames.size());
  return faces::fill(faces::smooth(raw, seconds, {.kind = smoothing}), seconds, missing);
}

faces::Detection People::clip(std::size_t person) const {
  const auto& sightings = tracks[person].sightings;
  faces::Detection d;
  d.box = faces::clip_box(tracks[person], faces::ClipBox::kMedian);
  for (const auto& s : sightings) d.score += s.face.detection.score / float(sightings.size());
  return d;
}

People find_people(const std::string& path, const ChooseFrames& choose, const FinderOptions& options, cpu::Device& dev,
                   Turn turn) {
  People people;
  faces::FaceFinder finder = options.open();
  faces::FaceTracker tracker;
  people.video = read_frames(
      path, [&](const VideoInfo& v) { return people.frames = choose(v); },
      [&](std::size_t, double seconds, const media::PixelView& frame) {
        if (!tracker.seconds().empty())  // some files repeat a time
          seconds = std::max(seconds, tracker.seconds().back() + 1e-6);
        tracker.add(finder.find(dev, frame), seconds);
      },
      turn);
  people.seconds.assign(tracker.seconds().begin(), tracker.seconds().end());
  people.tracks = tracker.tracks();
  return people;
}

faces::MissingFaces missing_from_name(const std::string& name) {
  using faces::MissingFaces;
  if (name == "error") return MissingFaces::kError;
  if (name == "carry") return MissingFaces::kCarry;
  if (name == "drop") return MissingFaces::kDrop;
  return MissingFaces::kInterpolate;
}

}  // namespace tool

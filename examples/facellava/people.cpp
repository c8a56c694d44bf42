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

faces::Crop PersonCut::of(const media::PixelView& frame) const {
  return aligned ? faces::warped_crop(frame, *aligned) : faces::centred_crop(frame, face);
}

PersonCut People::cut(std::size_t person, faces::MissingFaces missing, faces::CropKind kind) const {
  PersonCut c{clip(person), landmarks(person, missing, faces::Smoothing::kLocalParabola), {}};
  if (kind == faces::CropKind::kAligned) c.aligned = faces::alignment(c.track.landmarks);
  return c;
}

std::size_t People::position(int frame) const {
  return std::size_t(std::lower_bound(frames.begin(), frames.end(), frame) - frames.begin());
}

People find_people(const FrameSource& source, const ChooseFrames& choose, const FindFaces& find) {
  People people;
  faces::FaceTracker tracker;
  people.video = source([&](const VideoInfo& v) { return people.frames = choose(v); },
                        [&](std::size_t, double seconds, const media::PixelView& frame) {
                          if (!tracker.seconds().empty())  // some files repeat a time
                            seconds = std::max(seconds, tracker.seconds().back() + 1e-6);
                          tracker.add(find(frame), seconds);
                        });
  people.seconds.assign(tracker.seconds().begin(), tracker.seconds().end());
  people.tracks = tracker.tracks();
  return people;
}

std::vector<int> often(const VideoInfo& v, std::span<const int> seen) {
  std::vector<int> all(seen.begin(), seen.end());
  for (int i = 0, step = std::max(1, int(v.rate / 10)); i < v.frames; i += step) all.push_back(i);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

faces::MissingFaces missing_from_name(const std::string& name) {
  using faces::MissingFaces;
  if (name == "error") return MissingFaces::kError;
  if (name == "carry") return MissingFaces::kCarry;
  if (name == "drop") return MissingFaces::kDrop;
  return MissingFaces::kInterpolate;
}

}  // namespace tool

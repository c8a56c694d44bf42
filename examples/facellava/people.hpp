// The people of a video: the faces of the frames that are looked at, and who is who.
#pragma once
#include <optional>
#include <span>

#include "facellava/faces/aligned_crop.hpp"
#include "facellava/faces/face_tracker.hpp"
#include "facellava/faces/landmark_track.hpp"
#include "video_file.hpp"

namespace tool {

// One person of a video as a model wants to see it: cut out of every frame by one square.
struct PersonCut {
  facellava::faces::Detection face;                 // with the mean score
  facellava::faces::FilledTrack track;              // landmarks at every frame looked at, smoothed; gaps are filled
  std::optional<facellava::faces::Affine> aligned;  // the square stands upright without it

  facellava::faces::Crop of(const facellava::media::PixelView& frame) const;
};

struct People {
  VideoInfo video;
  std::vector<int> frames;                          // that were looked at, ascending
  std::vector<double> seconds;                      // their times
  std::vector<facellava::faces::FaceTrack> tracks;  // the main person first; their frames count in `frames`

  // The landmarks of a person at every frame looked at, smoothed; gaps are filled.
  facellava::faces::FilledTrack landmarks(std::size_t person, facellava::faces::MissingFaces missing,
                                          facellava::faces::Smoothing smoothing) const;
  // One square for the whole clip, with the mean score.
  facellava::faces::Detection clip(std::size_t person) const;
  PersonCut cut(std::size_t person, facellava::faces::MissingFaces missing, facellava::faces::CropKind kind) const;
  // Passers-by are in less than half of the frames, and not asked about.
  bool passes_by(std::size_t person) const { return person > 0 && 2 * tracks[person].sightings.size() < frames.size(); }
  // Where a frame of the video stands among those looked at; it must be one of them.
  std::size_t position(int frame) const;
};

using FindFaces = std::function<std::vector<facellava::faces::Face>(const facellava::media::PixelView&)>;
People find_people(const FrameSource&, const ChooseFrames&, const FindFaces&);

// Ten frames a second, and those that the model sees: enough to follow a face.
std::vector<int> often(const VideoInfo&, std::span<const int> seen);

facellava::faces::MissingFaces missing_from_name(const std::string&);  // error, carry, interpolate, drop

}  // namespace tool

// The people of a video: the faces of the frames that are looked at, and who is who.
#pragma once
#include "facellava/faces/face_tracker.hpp"
#include "facellava/faces/landmark_track.hpp"
#include "finder_options.hpp"
#include "video_file.hpp"

namespace tool {

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
};
People find_people(const std::string& path, const ChooseFrames&, const FinderOptions&, facellava::cpu::Device&, Turn);

facellava::faces::MissingFaces missing_from_name(const std::string&);  // error, carry, interpolate, drop

}  // namespace tool

#include "subject.hpp"

#include <algorithm>
#include <map>

#include "facellava/media/preprocess_video.hpp"

namespace demo {

using namespace facellava;

namespace {

faces::Landmarks moved(const faces::Landmarks& points, const faces::Affine& by) {
  faces::Landmarks out;
  std::transform(points.begin(), points.end(), out.begin(), by);
  return out;
}

void add_crop(Person& person, faces::Crop crop, const faces::Landmarks& points) {
  person.points.push_back(moved(points, crop.affine));
  person.crops.push_back(std::move(crop.image));
}

}  // namespace

std::vector<faces::Face> FaceSeeker::find(const media::PixelView& picture) {
  std::vector<faces::Detection> found;
  {
    const auto stage = stages_.in("finding faces");
    found = finder_.detect(dev_, picture);
  }
  const auto stage = stages_.in("68 points");
  return finder_.with_landmarks(dev_, picture, found);
}

Subject FaceSeeker::in_picture(std::string name, std::string origin, media::Image picture) {
  Subject s{std::move(name), std::move(origin), {}, {{}}, 0, {}};
  const auto found = find(picture.view());
  s.found = found.size();
  const auto stage = stages_.in("cutting out");
  for (const faces::Face& face : found) {
    s.sightings[0].push_back({face, s.sightings[0].size()});
    if (s.people.size() == kMostPeople) continue;
    add_crop(s.people.emplace_back(), faces::cut_out(picture.view(), face.detection, face.landmarks, crop_),
             face.landmarks);
  }
  s.frames.push_back(std::move(picture));
  return s;
}

Subject FaceSeeker::in_clip(std::string name, std::string origin, const tool::FrameSource& source, int count) {
  Subject s{std::move(name), std::move(origin), {}, {}, 0, {}};
  std::vector<int> seen, looked;
  std::map<int, media::Image> kept;
  const tool::FrameSource keeping = [&](const tool::ChooseFrames& choose, const tool::OnFrame& f) {
    return source(choose, [&](std::size_t i, double seconds, const media::PixelView& frame) {
      if (std::find(seen.begin(), seen.end(), looked[i]) != seen.end()) kept.emplace(looked[i], media::to_rgb(frame));
      f(i, seconds, frame);
    });
  };
  const auto choose = [&](const tool::VideoInfo& v) {
    seen = media::linspace_indices(v.frames, count);
    return looked = tool::often(v, seen);
  };
  const auto decoding = stages_.in("decoding");
  const tool::People people =
      tool::find_people(keeping, choose, [&](const media::PixelView& frame) { return find(frame); });

  const auto stage = stages_.in("cutting out");
  for (const int frame : seen) s.frames.push_back(kept.at(frame));
  s.sightings.resize(seen.size());
  for (std::size_t person = 0; person < people.tracks.size(); ++person) {
    if (people.passes_by(person)) continue;
    for (std::size_t i = 0; i < seen.size(); ++i)
      for (const auto& sighting : people.tracks[person].sightings)
        if (sighting.frame == people.position(seen[i])) s.sightings[i].push_back({sighting.face, s.found});
    if (s.found++ >= kMostPeople) continue;
    const tool::PersonCut cut = people.cut(person, faces::MissingFaces::kInterpolate, crop_);
    Person& one = s.people.emplace_back();
    for (std::size_t i = 0; i < seen.size(); ++i)
      add_crop(one, cut.of(s.frames[i].view()), cut.track.landmarks[people.position(seen[i])]);
  }
  return s;
}

}  // namespace demo

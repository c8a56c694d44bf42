// Questions about faces that are found in a picture or a video.
#include "facellava/faces/aligned_crop.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "picture_file.hpp"
#include "requests.hpp"

namespace tool {

using namespace facellava;

nlohmann::json described(const faces::Detection& d) {
  return {{"score", d.score}, {"box", {d.box.x, d.box.y, d.box.width, d.box.height}}};
}

nlohmann::json described(std::span<const faces::Gap> gaps) {
  auto list = nlohmann::json::array();
  for (const faces::Gap& g : gaps) list.push_back({g.first, g.length});
  return list;
}

std::string place_of(const faces::Detection& d) {
  const auto whole = [](float v) { return std::to_string(std::lround(v)); };
  return "face at " + whole(d.box.x) + ", " + whole(d.box.y) + ", " + whole(d.box.width) + " x " + whole(d.box.height);
}

namespace {

// The face's 68 points in the crop, as the model gets them; none where it has no use for them.
std::vector<float> points_in(const faces::Affine& crop, const faces::Landmarks& landmarks, const Loaded& model) {
  if (model.model->landmark_modules() != run::LandmarkModules::kLoaded) return {};
  faces::Landmarks points;
  std::transform(landmarks.begin(), landmarks.end(), points.begin(), crop);
  return faces::normalise(points, model.folder.settings().landmarks, faces::kCropSide, faces::kCropSide);
}

Prepared finished(const faces::Detection& face, run::MediumInput medium, const Question& q, const Loaded& model) {
  Prepared one;
  one.face = face;
  one.landmarks_used = !medium.points.empty();
  const text::Medium kind = medium.kind;
  one.request.media.push_back(std::move(medium));
  finish(one, q, std::span(&kind, 1), model);
  return one;
}

Error no_face(const std::string& path) {
  return {ErrorKind::kArgument,
          path + ": found no face; --landmarks none asks about the whole of it, without landmarks"};
}

}  // namespace

std::vector<Prepared> prepare_faces(const Question& q, const Loaded& model) {
  const TowerConfig& tower = model.model->config().image;
  if (tower.layers == 0) throw Error(ErrorKind::kArgument, "the model has no tower for images");
  const media::Image image = read_picture_file(q.images[0]);
  cpu::Device dev(model.cpu);
  const auto found = q.finder.open().find(dev, image.view());
  if (found.empty()) throw no_face(q.images[0]);
  std::vector<Prepared> out;
  for (const faces::Face& face : found) {
    const faces::Crop crop = faces::cut_out(image.view(), face.detection, face.landmarks, model.folder.settings().crop);
    media::Preprocess p;
    p.side = tower.side;
    run::MediumInput m{text::Medium::kImage, media::preprocess_image(crop.image.view(), p), {}};
    m.points = points_in(crop.affine, face.landmarks, model);
    out.push_back(finished(face.detection, std::move(m), q, model));
    if (!out.back().landmarks_used) continue;
    Seen& seen = out.back().seen.emplace(Seen{crop.image});
    std::transform(face.landmarks.begin(), face.landmarks.end(), seen.points.begin(), crop.affine);
  }
  return out;
}

std::vector<Prepared> prepare_people(const Question& q, const Loaded& model) {
  const TowerConfig& tower = model.model->config().video;
  if (tower.layers == 0) throw Error(ErrorKind::kArgument, "the model has no tower for videos");
  std::vector<int> seen;
  const auto choose = [&](const VideoInfo& v) {
    seen = media::linspace_indices(v.frames, tower.block.frames);
    return often(v, seen);
  };
  cpu::Device dev(model.cpu);
  faces::FaceFinder finder = q.finder.open();
  const People people =
      find_people(frames_of(q.video), choose, [&](const media::PixelView& frame) { return finder.find(dev, frame); });
  if (people.tracks.empty()) throw no_face(q.video);

  media::Preprocess p;
  p.side = tower.side;
  const std::size_t plane = std::size_t(3) * std::size_t(p.side) * std::size_t(p.side);
  std::vector<Prepared> out;
  for (std::size_t person = 0; person < people.tracks.size(); ++person) {
    if (people.passes_by(person)) continue;
    const PersonCut cut = people.cut(person, missing_from_name(q.missing_faces), model.folder.settings().crop);
    run::MediumInput m{text::Medium::kVideo, std::vector<float>(seen.size() * plane), {}};
    std::vector<std::vector<float>> points(seen.size());
    read_frames(
        q.video, [&](const VideoInfo&) { return seen; },
        [&](std::size_t i, double, const media::PixelView& frame) {
          const faces::Crop crop = cut.of(frame);
          media::preprocess_video_frame(m.pixels.data() + i * plane, crop.image.view(), p);
          points[i] = points_in(crop.affine, cut.track.landmarks[people.position(seen[i])], model);
        });
    for (const auto& frame : points) m.points.insert(m.points.end(), frame.begin(), frame.end());
    out.push_back(finished(cut.face, std::move(m), q, model));
    out.back().gaps = cut.track.gaps;
  }
  return out;
}

}  // namespace tool

// facellava faces: every face of a picture, or of every frame of a video, with its box, score, keypoints, 68 landmarks
// and crop.
#include <filesystem>
#include <iostream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/aligned_crop.hpp"
#include "facellava/faces/draw_faces.hpp"
#include "facellava/io/npy.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "facellava/media/write_png.hpp"
#include "people.hpp"
#include "picture_file.hpp"
#include "requests.hpp"

namespace tool {
namespace {

using namespace facellava;

struct FacesOptions {
  std::string image, video, crops, draw, landmarks, crop = "corrected", orientation = "reference";
  std::string missing = "interpolate", smoothing = "parabola";
  double margin = 0;
  FinderOptions finder;
  int threads = 0;
  bool json = false;
};

nlohmann::json numbers(std::span<const faces::Point> points) {
  auto list = nlohmann::json::array();
  for (const faces::Point& p : points) list.push_back({p.x, p.y});
  return list;
}
nlohmann::json with_points(const faces::Face& f, const faces::Affine& crop) {
  nlohmann::json face = described(f.detection);
  face["keypoints"] = numbers(f.detection.keypoints);
  face["landmarks"] = numbers(f.landmarks);
  face["crop"] = crop.m;
  return face;
}
void write_landmarks(const std::string& file, std::span<const faces::Landmarks> all, std::vector<Index> shape) {
  std::vector<float> values;
  for (const faces::Landmarks& l : all)
    for (const faces::Point& p : l) values.insert(values.end(), {p.x, p.y});
  io::write_npy(file, shape, values);
}
std::string line_of(const faces::Detection& d) {
  std::ostringstream s;
  s << "score " << d.score << ", box " << d.box.x << ", " << d.box.y << ", " << d.box.width << " x " << d.box.height;
  return s.str();
}
// crops/stem_which.png
std::string crop_file(const FacesOptions& o, const std::string& of, const std::string& which) {
  return (std::filesystem::path(o.crops) / (std::filesystem::path(of).stem().string() + "_" + which + ".png")).string();
}

void of_picture(const FacesOptions& o) {
  media::Image image =
      read_picture_file(o.image, o.orientation == "exif" ? media::Orientation::kExif : media::Orientation::kReference);
  cpu::Device dev({.threads = o.threads});
  const auto found = o.finder.open().find(dev, image.view());
  if (o.crop == "reference" && found.size() != 1)
    throw Error(ErrorKind::kArgument, o.image + ": the released tool crops pictures of exactly one face, found " +
                                          std::to_string(found.size()));
  if (!o.landmarks.empty() && found.size() != 1)
    throw Error(ErrorKind::kArgument,
                o.image + ": --landmarks: expected one face, found " + std::to_string(found.size()));
  auto list = nlohmann::json::array();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& d = found[i].detection;
    const faces::Crop crop = o.crop == "reference" ? faces::reference_crop(image.view(), d, o.margin)
                             : o.crop == "aligned" ? faces::aligned_crop(image.view(), found[i].landmarks)
                                                   : faces::centred_crop(image.view(), d, o.margin);
    list.push_back(with_points(found[i], crop.affine));
    if (!o.crops.empty()) media::write_png(crop_file(o, o.image, std::to_string(i)), crop.image);
  }
  if (!o.landmarks.empty()) write_landmarks(o.landmarks, std::span(&found[0].landmarks, 1), {kPoints, 2});
  const int width = image.width(), height = image.height();
  if (!o.draw.empty()) {
    faces::draw_faces(image, found);
    media::write_png(o.draw, image);
  }
  if (o.json) {
    std::cout << nlohmann::json{{"image", {{"width", width}, {"height", height}}}, {"faces", list}}.dump(1) << "\n";
    return;
  }
  std::cout << o.image << ": " << found.size() << (found.size() == 1 ? " face\n" : " faces\n");
  for (const faces::Face& f : found) std::cout << "  " << line_of(f.detection) << "\n";
}

// ---- videos

Turn turn_of(const FacesOptions& o) { return o.orientation == "exif" ? Turn::kDisplayMatrix : Turn::kReference; }

// The faces of each frame, with the number of the person.
using FrameFaces = std::vector<std::vector<std::pair<std::size_t, const faces::Face*>>>;
FrameFaces by_frame(const People& p) {
  FrameFaces all(p.frames.size());
  for (std::size_t person = 0; person < p.tracks.size(); ++person)
    for (const auto& s : p.tracks[person].sightings) all[s.frame].emplace_back(person, &s.face);
  return all;
}

// Eight frames, evenly spread: each person cut out by one square for the whole clip, and all frames on one sheet.
void write_pictures(const FacesOptions& o, const People& people, const FrameFaces& all) {
  constexpr int kAcross = 4, kFrames = 8;
  const auto indices = media::linspace_indices(people.video.frames, kFrames);
  const int width = people.video.width, height = people.video.height;
  media::Image sheet(o.draw.empty() ? 1 : kAcross * width, o.draw.empty() ? 1 : kFrames / kAcross * height);
  const auto each = [&](std::size_t i, double, const media::PixelView& frame) {
    if (!o.crops.empty())
      for (std::size_t person = 0; person < people.tracks.size(); ++person)
        media::write_png(crop_file(o, o.video, std::to_string(person) + "_" + std::to_string(indices[i])),
                         faces::centred_crop(frame, people.clip(person), o.margin).image);
    if (o.draw.empty()) return;
    media::Image image(width, height);
    for (int y = 0; y < height; ++y) std::copy_n(frame.row(y), image.stride(), image.row(y));
    std::vector<faces::Face> here;
    for (const auto& [person, face] : all[std::size_t(indices[i])]) here.push_back(*face);
    faces::draw_faces(image, here);
    for (int y = 0; y < height; ++y)
      std::copy_n(image.row(y), image.stride(), sheet.pixel(int(i) % kAcross * width, int(i) / kAcross * height + y));
  };
  read_frames(
      o.video, [&](const VideoInfo&) { return indices; }, each, turn_of(o));
  if (!o.draw.empty()) media::write_png(o.draw, sheet);
}

nlohmann::json video_json(const People& people, const FrameFaces& all, double margin) {
  const VideoInfo& v = people.video;
  std::vector<faces::Affine> crops;
  auto tracks = nlohmann::json::array(), frames = nlohmann::json::array();
  for (std::size_t person = 0; person < people.tracks.size(); ++person) {
    const faces::Cut cut = faces::centred_cut(v.width, v.height, people.clip(person).box, margin);
    crops.push_back(faces::affine_of(cut, faces::kCropSide));
    nlohmann::json track = described(people.clip(person));
    track["frames"] = people.tracks[person].sightings.size();
    track["gaps"] = described(faces::gaps(people.tracks[person].landmarks(people.frames.size())));
    tracks.push_back(track);
  }
  for (std::size_t f = 0; f < all.size(); ++f) {
    auto list = nlohmann::json::array();
    for (const auto& [person, face] : all[f]) {
      list.push_back(with_points(*face, crops[person]));
      list.back()["track"] = person;
    }
    frames.push_back({{"index", people.frames[f]},
                      {"seconds", people.seconds[f]},
                      {"image", {{"width", v.width}, {"height", v.height}}},
                      {"faces", list}});
  }
  return {{"video", {{"frames", v.frames}, {"width", v.width}, {"height", v.height}, {"rate", v.rate}}},
          {"tracks", tracks},
          {"frames", frames}};
}

void of_video(const FacesOptions& o) {
  if (o.crop != "corrected")
    throw Error(ErrorKind::kArgument, "--crop " + o.crop + " is of pictures: of a clip, one square cuts out a person");
  cpu::Device dev({.threads = o.threads});
  const auto every = [](const VideoInfo& v) {
    std::vector<int> all(std::size_t(v.frames));
    std::iota(all.begin(), all.end(), 0);
    return all;
  };
  faces::FaceFinder finder = o.finder.open();
  const People people = find_people(frames_of(o.video, turn_of(o)), every,
                                    [&](const media::PixelView& frame) { return finder.find(dev, frame); });
  if (!o.landmarks.empty()) {
    if (people.tracks.empty()) throw Error(ErrorKind::kArgument, o.video + ": --landmarks: found no face");
    const auto filled =
        people.landmarks(0, missing_from_name(o.missing),
                         o.smoothing == "none" ? faces::Smoothing::kNone : faces::Smoothing::kLocalParabola);
    write_landmarks(o.landmarks, filled.landmarks, {Index(filled.landmarks.size()), kPoints, 2});
  }
  const FrameFaces all = by_frame(people);
  if (!o.crops.empty() || !o.draw.empty()) write_pictures(o, people, all);
  if (o.json) {
    std::cout << video_json(people, all, o.margin).dump(1) << "\n";
    return;
  }
  std::cout << o.video << ": " << people.video.frames << " frames of " << people.video.width << " x "
            << people.video.height << ", " << people.tracks.size()
            << (people.tracks.size() == 1 ? " person\n" : " people\n");
  for (std::size_t person = 0; person < people.tracks.size(); ++person) {
    const auto missing = faces::gaps(people.tracks[person].landmarks(people.frames.size()));
    std::cout << "  in " << people.tracks[person].sightings.size() << " frames, " << missing.size() << " gaps, "
              << line_of(people.clip(person)) << "\n";
  }
}

void find(FacesOptions o) {
  if (o.image.empty() == o.video.empty()) throw Error(ErrorKind::kArgument, "give either --image or --video");
  if (o.crop == "reference") o.finder.options.range = faces::DetectionRange::kShort;
  if (!o.crops.empty()) std::filesystem::create_directories(o.crops);
  o.image.empty() ? of_video(o) : of_picture(o);
}

}  // namespace

void add_faces(CLI::App& app) {
  auto o = std::make_shared<FacesOptions>();
  CLI::App* command = app.add_subcommand("faces", "Every face of a picture or a video: box, score, 68 landmarks, crop");
  auto* image = command->add_option("--image", o->image, "JPEG, PNG, BMP or PPM");
  auto* video = command->add_option("--video", o->video, "Video file: every frame is looked at")->excludes(image);
  command->add_flag("--json", o->json, "Print JSON");
  command->add_option("--crops", o->crops,
                      "Folder for a crop of 256 x 256 of each face; of a video, of each person in eight frames");
  command
      ->add_option("--crop", o->crop,
                   "corrected: a square around the box; reference: the released tool's, of exactly one face, found by "
                   "the short-range detector; aligned: turned and scaled until eyes and mouth stand at their places")
      ->check(CLI::IsMember({"corrected", "reference", "aligned"}))
      ->capture_default_str();
  command->add_option("--margin", o->margin, "Per cent of the box that a crop adds on each side")
      ->check(CLI::Range(0., 500.))
      ->capture_default_str();
  command->add_option("--draw", o->draw, "PNG with boxes, regions and points; of a video, eight frames on a sheet");
  command->add_option("--landmarks", o->landmarks,
                      "Write the 68 points of the face [68, 2], or of the main person [frames, 68, 2], to this .npy");
  command->add_option("--smoothing", o->smoothing, "Of the written landmarks of a video, over time: none, parabola")
      ->check(CLI::IsMember({"none", "parabola"}))
      ->needs(video)
      ->capture_default_str();
  command
      ->add_option("--missing-faces", o->missing,
                   "What is written for frames without a face: error, carry (the frame before), interpolate, drop")
      ->check(CLI::IsMember({"error", "carry", "interpolate", "drop"}))
      ->needs(video)
      ->capture_default_str();
  o->finder.add_to(*command);
  command
      ->add_option("--orientation", o->orientation,
                   "reference: as released (EXIF of a picture ignored, quarter turns of a video made); exif: of a "
                   "picture applied, of a video mirrors too")
      ->check(CLI::IsMember({"reference", "exif"}))
      ->capture_default_str();
  command->add_option("--threads", o->threads, "0: one a core")->capture_default_str();
  command->callback([o] { find(*o); });
}

}  // namespace tool

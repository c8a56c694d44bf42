// facellava faces: every face of a picture, with its box, score, keypoints, 68 landmarks and crop.
#include <filesystem>
#include <iostream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/draw_faces.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/media/write_png.hpp"
#include "requests.hpp"

namespace tool {
namespace {

using namespace facellava;

struct Options {
  std::string image, crops, draw, crop = "corrected", orientation = "reference";
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

void find(Options o) {
  media::DecodeOptions decode;
  if (o.orientation == "exif") decode.orientation = media::Orientation::kExif;
  media::Image image = media::read_image(o.image, decode);
  if (o.crop == "reference") o.finder.options.range = faces::DetectionRange::kShort;
  faces::FaceFinder finder = o.finder.open();
  cpu::Device dev({.threads = o.threads});
  const auto found = finder.find(dev, image.view());
  if (o.crop == "reference" && found.size() != 1)
    throw Error(ErrorKind::kArgument, o.image + ": the released tool crops pictures of exactly one face, found " +
                                          std::to_string(found.size()));
  if (!o.crops.empty()) std::filesystem::create_directories(o.crops);
  auto list = nlohmann::json::array();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto& d = found[i].detection;
    const faces::Crop crop = o.crop == "reference" ? faces::reference_crop(image.view(), d, o.margin)
                                                   : faces::centred_crop(image.view(), d, o.margin);
    list.push_back(with_points(found[i], crop.affine));
    if (!o.crops.empty())
      media::write_png((std::filesystem::path(o.crops) /
                        (std::filesystem::path(o.image).stem().string() + "_" + std::to_string(i) + ".png"))
                           .string(),
                       crop.image);
  }
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
  for (const faces::Face& f : found) {
    const faces::Detection& d = f.detection;
    std::cout << "  score " << d.score << ", box " << d.box.x << ", " << d.box.y << ", " << d.box.width << " x "
              << d.box.height << "\n";
  }
}

}  // namespace

void add_faces(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("faces", "Every face of a picture: box, score, 68 landmarks, crop");
  command->add_option("--image", o->image, "JPEG, PNG, BMP or PPM")->required();
  command->add_flag("--json", o->json, "Print JSON");
  command->add_option("--crops", o->crops, "Folder for a crop of 256 x 256 of each face");
  command
      ->add_option(
          "--crop", o->crop,
          "corrected: a square around the box; reference: the released tool's, of exactly one face (found by the "
          "short-range detector)")
      ->check(CLI::IsMember({"corrected", "reference"}))
      ->capture_default_str();
  command->add_option("--margin", o->margin, "Per cent of the box that a crop adds on each side")
      ->check(CLI::Range(0., 500.))
      ->capture_default_str();
  command->add_option("--draw", o->draw, "PNG of the picture with boxes, regions and points");
  o->finder.add_to(*command);
  command->add_option("--orientation", o->orientation, "reference: EXIF ignored, as released; exif: applied")
      ->check(CLI::IsMember({"reference", "exif"}))
      ->capture_default_str();
  command->add_option("--threads", o->threads, "0: one a core")->capture_default_str();
  command->callback([o] { find(*o); });
}

}  // namespace tool

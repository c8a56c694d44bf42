// Asks a model about every face of a photograph.   usage: ask_a_photo MODEL_FOLDER NETS_FOLDER PHOTO QUESTION
#include <algorithm>
#include <iostream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/aligned_crop.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"

int main(int argc, char** argv) try {
  using namespace facellava;
  if (argc != 5) return std::cerr << "usage: ask_a_photo MODEL_FOLDER NETS_FOLDER PHOTO QUESTION\n", 2;
  const run::ModelFolder folder({argv[1]});
  const auto pipeline = run::open_pipeline<configs::kFaceLlavaMini, cpu::Device>(folder, {}, cpu::Options{});
  const media::Image photo = media::read_image(argv[3]);
  faces::FaceFinder finder(argv[2]);
  cpu::Device dev;
  for (const faces::Face& face : finder.find(dev, photo.view())) {
    const faces::Crop crop = faces::cut_out(photo.view(), face.detection, face.landmarks, folder.settings().crop);
    faces::Landmarks points;  // in pixels of the crop
    std::transform(face.landmarks.begin(), face.landmarks.end(), points.begin(), crop.affine);
    const faces::Box& box = face.detection.box;
    std::cout << int(box.x) << ", " << int(box.y) << ": " << pipeline.look(crop.image.view(), points).ask(argv[4])
              << "\n";
  }
} catch (const facellava::Error& e) {
  std::cerr << e.what() << "\n";
  return 1;
}

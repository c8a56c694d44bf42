// Asks a model about one face.   usage: ask_a_face MODEL_FOLDER PICTURE LANDMARKS QUESTION
#include <iostream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"

int main(int argc, char** argv) try {
  using namespace facellava;
  if (argc != 5) return std::cerr << "usage: ask_a_face MODEL_FOLDER PICTURE LANDMARKS QUESTION\n", 2;
  const run::ModelFolder folder({argv[1]});
  const auto pipeline = run::open_pipeline<configs::kFaceLlavaMini, cpu::Device>(folder, {}, cpu::Options{});
  const media::Image picture = media::read_image(argv[2]);
  const auto landmarks = faces::read_landmarks(argv[3]);
  auto face = pipeline.look(picture.view(), landmarks.at(0));
  face.ask(argv[4], {}, [](std::string_view words) { std::cout << words << std::flush; });
  std::cout << "\n";
} catch (const facellava::Error& e) {
  std::cerr << e.what() << "\n";
  return 1;
}

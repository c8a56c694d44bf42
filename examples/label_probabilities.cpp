// How probable each of seven expressions is for a face.   usage: label_probabilities MODEL_FOLDER PICTURE LANDMARKS
#include <cstdio>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"

int main(int argc, char** argv) try {
  using namespace facellava;
  if (argc != 4) return std::fprintf(stderr, "usage: label_probabilities MODEL_FOLDER PICTURE LANDMARKS\n"), 2;
  const run::ModelFolder folder({argv[1]});
  const auto pipeline = run::open_pipeline<configs::kFaceLlavaMini, cpu::Device>(folder, {}, cpu::Options{});
  const media::Image picture = media::read_image(argv[2]);
  auto face = pipeline.look(picture.view(), faces::read_landmarks(argv[3]).at(0));
  const std::vector<std::string> labels{"happy", "sad", "surprised", "fearful", "angry", "disgusted", "neutral"};
  const auto scores = face.score("What emotion does this face show?", labels, "The expression is");
  for (std::size_t i = 0; i < labels.size(); ++i)
    std::printf("%-10s %6.2f %%\n", labels[i].c_str(), 100 * double(scores[i].probability));
} catch (const facellava::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

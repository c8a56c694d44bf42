// bench_faces: from a picture to crops and 68 landmarks, stage by stage; best of many runs, in milliseconds.
//   bench_faces --image photo.jpg --nets examples/facellava/nets --threads 1
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"
#ifdef FACELLAVA_BENCH_TURBOJPEG
#include "facellava/media/turbojpeg.hpp"
#else
#include "facellava/media/decode.hpp"
#endif

using namespace facellava;

namespace {

#ifdef FACELLAVA_BENCH_TURBOJPEG
constexpr media::DecodeOptions kDecode{.jpeg = media::decode_turbojpeg};
#else
constexpr media::DecodeOptions kDecode{};
#endif

// Of at least `rounds` runs.
template <class F>
double best_milliseconds(int rounds, F run) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    run();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

nlohmann::json measure(const std::string& file, const std::string& nets, int threads, const std::string& isa,
                       int rounds) {
  cpu::Device dev({.threads = threads, .isa = cpu::isa_from_name(isa)});
  const media::Image image = media::read_image(file, kDecode);
  faces::FaceFinder finder(nets);
  faces::FaceFinder near(nets, {.range = faces::DetectionRange::kShort});
  faces::Detector detector(nets + "/face_detector.tflite"), far(nets + "/face_detector_full_range.tflite");
  faces::Landmarker mesh(nets + "/face_landmarks_detector.tflite");
  faces::Landmarker face_api(nets + "/face_landmark_68_model-weights_manifest.json");
  const auto found = detector.detect(dev, image.view());
  if (found.empty()) throw Error(ErrorKind::kArgument, file + ": found no face to measure with");
  const std::span one(found.data(), 1);
  nlohmann::json ms;
  ms["decode"] = best_milliseconds(std::max(1, rounds / 10), [&] { media::read_image(file); });
#ifdef FACELLAVA_BENCH_TURBOJPEG
  ms["decode, libjpeg-turbo"] = best_milliseconds(std::max(1, rounds / 10), [&] { media::read_image(file, kDecode); });
#endif
  ms["detector, short range"] = best_milliseconds(rounds, [&] { detector.detect(dev, image.view()); });
  ms["detector, full range"] = best_milliseconds(rounds, [&] { far.detect(dev, image.view()); });
  ms["mesh"] = best_milliseconds(rounds, [&] { mesh.landmarks(dev, image.view(), one); });
  ms["face-api"] = best_milliseconds(rounds, [&] { face_api.landmarks(dev, image.view(), one); });
  const std::vector<faces::Detection> eight(8, found[0]);
  ms["face-api, 8 faces"] = best_milliseconds(rounds, [&] { face_api.landmarks(dev, image.view(), eight); });
  ms["crop"] = best_milliseconds(rounds, [&] { faces::centred_crop(image.view(), found[0]); });
  const auto whole = [&](faces::FaceFinder& by) {
    return best_milliseconds(std::max(1, rounds / 10), [&] {
      const media::Image picture = media::read_image(file, kDecode);
      for (const faces::Face& f : by.find(dev, picture.view())) faces::centred_crop(picture.view(), f.detection);
    });
  };
  ms["file to crops and landmarks, short range"] = whole(near);
  ms["file to crops and landmarks, both"] = whole(finder);
  return {{"width", image.width()},   {"height", image.height()},        {"faces", found.size()},
          {"threads", dev.threads()}, {"isa", cpu::isa_name(dev.isa())}, {"milliseconds", ms}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"From a picture to crops and 68 landmarks, stage by stage, in milliseconds"};
  std::string image, nets, isa = "auto";
  int threads = 1, rounds = 100;
  app.add_option("--image", image, "a photograph of a face")->required();
  app.add_option("--nets", nets, "folder of the nets: examples/facellava/nets")->required();
  app.add_option("--threads", threads, "0: one a core")->capture_default_str();
  app.add_option("--isa", isa, "portable, avx2, avx512, avx512bf16, amx, auto")->capture_default_str();
  app.add_option("--rounds", rounds)->check(CLI::Range(1, 100000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    std::printf("%s\n", measure(image, nets, threads, isa, rounds).dump(1).c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

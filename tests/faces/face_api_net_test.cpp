// face-api's net of 68 landmarks: its numbers against numpy's (data/make_face_api_expected.py), its points against
// annotated faces, and manifests that are not what they claim.
#include "facellava/faces/face_api_net.hpp"

#include <doctest/doctest.h>

#include <filesystem>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/ref/device.hpp"
#include "faces/nets.hpp"
#include "io/scratch.hpp"

using namespace facellava;
using test::kNets;
using test::Scratch;

namespace {

const std::string kManifest = "face_landmark_68_model-weights_manifest.json";

void check_expected(auto& dev) {
  const faces::ConvNet net = faces::face_api_net(kNets + kManifest);
  std::vector<float> picture;
  const float mean[] = {122.782f, 117.001f, 104.298f};
  for (int i = 0; i < 112; ++i)
    for (int j = 0; j < 112; ++j)
      for (int c = 0; c < 3; ++c) picture.push_back((float((i * 7 + j * 3 + 40 * c) % 256) - mean[c]) / 255);
  const auto want = io::read_json(std::string(FACELLAVA_TEST_DATA) + "/faces/data/face_api_expected.json");
  faces::ConvNet::Workspace work;
  const auto result = net.run(dev, picture, 1, work);
  REQUIRE(result[0].size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i)  // of 0 to 1; 17 layers in fp32 beside double
    CHECK(result[0][i] == doctest::Approx(want[i].get<double>()).epsilon(1e-5).scale(1));
}

}  // namespace

TEST_CASE("face-api's net equals numpy's numbers") {
  for (const cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    cpu::Device dev({.threads = 2, .isa = isa});
    check_expected(dev);
  }
}

TEST_CASE("several faces at once give the bits of one at a time, whichever net") {
  const media::Image image = media::read_image(test::photo("astronaut.png"));
  cpu::Device dev({.threads = 2});
  faces::Detector detector(kNets + "face_detector.tflite");
  const auto found = detector.detect(dev, image.view());
  REQUIRE(found.size() == 1);
  std::vector<faces::Detection> three(3, found[0]);
  three[1].box.x += 5;
  three[2].box.width *= 1.2f;
  for (const std::string& file : {kManifest, std::string("face_landmarks_detector.tflite")}) {
    CAPTURE(file);
    faces::Landmarker net(kNets + file);
    const auto together = net.landmarks(dev, image.view(), three);
    REQUIRE(together.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto alone = net.landmarks(dev, image.view(), std::span(&three[i], 1));
      for (std::size_t k = 0; k < kPoints; ++k) {
        CHECK(together[i][k].x == alone[0][k].x);
        CHECK(together[i][k].y == alone[0][k].y);
      }
    }
    CHECK(net.landmarks(dev, image.view(), {}).empty());
  }
}

TEST_CASE("manifests that are not what they claim are errors") {
  const Scratch scratch;
  const auto whole = io::read_json(kNets + kManifest);
  const std::string path = scratch.at("manifest.json");
  std::filesystem::copy_file(kNets + "face_landmark_68_model-shard1", scratch.at("face_landmark_68_model-shard1"));
  const auto refused = [&](const std::string& words, auto change) {
    auto json = whole;
    change(json);
    std::ofstream(path) << json.dump();
    CHECK_THROWS_WITH_AS(faces::face_api_net(path), doctest::Contains(words.c_str()), Error);
  };
  std::ofstream(path) << whole.dump();
  CHECK(faces::face_api_net(path).output_size(0) == 136);
  refused("own folder", [](auto& j) { j[0]["paths"][0] = "../face_landmark_68_model-shard1"; });
  refused("own folder", [](auto& j) { j[0]["paths"][0] = "/etc/passwd"; });
  refused("cannot open", [](auto& j) { j[0]["paths"][0] = "another"; });
  refused("does not fit", [](auto& j) { j[0]["weights"][0]["shape"] = {3, 3, 3, 1 << 30}; });
  refused("bytes more", [](auto& j) { j[0]["weights"].erase(j[0]["weights"].size() - 1); });
  refused("codes of uint8", [](auto& j) { j[0]["weights"][0]["quantization"]["dtype"] = "uint16"; });
  refused("\"scale\" is missing", [](auto& j) { j[0]["weights"][0]["quantization"].erase("scale"); });
  refused("fc/weights", [](auto& j) { j[0]["weights"][j[0]["weights"].size() - 2]["name"] = "other"; });
  refused("dimensions", [](auto& j) { j[0]["weights"][0]["shape"] = {27, 32}; });
  refused("channels", [](auto& j) { j[0]["weights"][0]["shape"] = {3, 3, 32, 3}; });
  refused("an array", [](auto& j) { j = nlohmann::json::object(); });
}

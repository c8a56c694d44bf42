// The face mesh against MediaPipe's own vectors.
#include "facellava/faces/landmarker.hpp"

#include <doctest/doctest.h>

#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"

using namespace facellava;
using test::detector;
using test::device;
using test::kNets;
using test::photo;

namespace {

std::vector<float> read_floats(const std::string& name) {
  std::ifstream file(std::string(FACELLAVA_TEST_DATA) + "/assets/mediapipe_vectors/" + name, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> v(bytes.size() / sizeof(float));
  std::memcpy(v.data(), bytes.data(), v.size() * sizeof(float));
  return v;
}

}  // namespace

TEST_CASE("the face mesh equals MediaPipe's published vectors") {
  // They were computed in half precision on a GPU: 1.5 of 256 pixels at most, 0.25 in the mean.
  const faces::ConvNet net(kNets + "face_landmarks_detector.tflite");
  faces::ConvNet::Workspace work;
  const auto result = net.run(device(), read_floats("face_landmark_tflite_input_tensor0.bin"), 1, work);
  const auto want = read_floats("face_landmark_tflite_mldrift_opengl_output_tensor0.bin");
  REQUIRE(want.size() == 3 * 478);
  REQUIRE(result[0].size() == want.size());
  double worst = 0, sum = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    worst = std::max(worst, double(std::abs(result[0][i] - want[i])));
    sum += double(std::abs(result[0][i] - want[i]));
  }
  CHECK(worst < 1.5);
  CHECK(sum / double(want.size()) < 0.25);
  CHECK(result[1][0] ==
        doctest::Approx(read_floats("face_landmark_tflite_mldrift_opengl_output_tensor1.bin")[0]).epsilon(0.03));
}

TEST_CASE("a crowd is run in batches: each face gets the points that it gets alone") {
  faces::Landmarker landmarker(kNets + "face_landmarks_detector.tflite");
  const media::Image image = media::read_image(photo("astronaut.png"));
  const auto found = detector().detect(device(), image.view());
  REQUIRE(found.size() == 1);
  std::vector<faces::Detection> crowd;
  for (int i = 0; i < 19; ++i) {  // no multiple of a batch
    crowd.push_back(found[0]);
    crowd.back().box.x += float(i);
  }
  const auto together = landmarker.landmarks(device(), image.view(), crowd);
  REQUIRE(together.size() == crowd.size());
  for (std::size_t i = 0; i < crowd.size(); i += 6) {
    const auto alone = landmarker.landmarks(device(), image.view(), std::span(&crowd[i], 1));
    for (std::size_t k = 0; k < 68; ++k) {
      CHECK(together[i][k].x == alone[0][k].x);
      CHECK(together[i][k].y == alone[0][k].y);
    }
  }
}

TEST_CASE("a mesh that is too short, and a net of another kind, are errors") {
  CHECK(faces::landmarks_of_mesh(std::vector<faces::Point>(468)).size() == 68);
  CHECK_THROWS_AS(faces::landmarks_of_mesh(std::vector<faces::Point>(467)), Error);
  CHECK_THROWS_AS(faces::Landmarker(kNets + "face_detector.tflite"), Error);
}

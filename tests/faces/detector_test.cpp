// The detector, the released crop and the face mesh against what MediaPipe and OpenCV gave: detections of the released
// tool on real photographs, its crop arithmetic, cv2.resize, and MediaPipe's own vectors of the mesh.
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "support/golden.hpp"

using namespace facellava;
using test::Golden;
using test::golden_path;
using test::Random;

namespace {

const std::string kNets = std::string(FACELLAVA_TEST_DATA) + "/../examples/facellava/nets/";

nlohmann::json table() {
  return nlohmann::json::parse(std::ifstream(golden_path("preprocess/crop_face/crop_face.json")));
}
// A photograph of the goldens: in tests/assets, or beside the full set of goldens; empty: not here.
std::string photo(const std::string& name) {
  const std::string own =
      std::string(FACELLAVA_TEST_DATA) + "/assets/" + std::filesystem::path(name).filename().string();
  if (std::filesystem::exists(own)) return own;
  const std::string full = std::string(FACELLAVA_GOLDENS) + "/../../" + name;
  return std::filesystem::exists(full) ? full : "";
}
faces::Detector& detector() {
  static faces::Detector d(kNets + "face_detector.tflite");
  return d;
}
cpu::Device& device() {
  static cpu::Device dev({.threads = 2});
  return dev;
}
std::vector<float> read_floats(const std::string& name) {
  std::ifstream file(std::string(FACELLAVA_TEST_DATA) + "/assets/mediapipe_vectors/" + name, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> v(bytes.size() / sizeof(float));
  std::memcpy(v.data(), bytes.data(), v.size() * sizeof(float));
  return v;
}

}  // namespace

TEST_CASE("detections equal MediaPipe's on real photographs") {
  // Boxes within a pixel (theirs are cut to whole ones), scores and keypoints within 0.002: JPEG decoders differ.
  int seen = 0;
  const auto golden = table();
  for (const auto& entry : golden["images"]) {
    const std::string file = entry["file"];
    CAPTURE(file);
    if (photo(file).empty()) continue;
    ++seen;
    const media::Image image = media::read_image(photo(file));
    const auto found = detector().detect(device(), image.view());
    REQUIRE(found.size() == entry["detections"].size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto& want = entry["detections"][i];
      CHECK(found[i].score == doctest::Approx(want["score"].get<float>()).epsilon(0.002));
      const float box[] = {found[i].box.x, found[i].box.y, found[i].box.width, found[i].box.height};
      for (std::size_t k = 0; k < 4; ++k) CHECK(std::abs(std::floor(box[k]) - want["bbox"][k].get<float>()) <= 1);
      for (std::size_t k = 0; k < faces::kKeypoints; ++k) {
        CHECK(std::abs(found[i].keypoints[k].x / float(image.width()) - want["keypoints"][k][0].get<float>()) < 0.002);
        CHECK(std::abs(found[i].keypoints[k].y / float(image.height()) - want["keypoints"][k][1].get<float>()) < 0.002);
      }
    }
  }
  CHECK(seen >= 2);
}

TEST_CASE("pictures of a batch get the bits that they get alone; a picture without a face has none") {
  const media::Image a = media::read_image(photo("astronaut.png")), b = media::read_image(photo("obama_small.jpg"));
  media::Image grey(300, 200);
  const std::array views{a.view(), grey.view(), b.view()};
  const auto together = detector().detect(device(), views);
  REQUIRE(together.size() == 3);
  CHECK(together[1].empty());
  for (std::size_t i : {0, 2}) {
    const auto alone = detector().detect(device(), views[i]);
    REQUIRE(alone.size() == together[i].size());
    CHECK(alone[0].score == together[i][0].score);
    CHECK(alone[0].box.x == together[i][0].box.x);
  }
  CHECK(detector().detect(device(), std::span<const media::PixelView>{}).empty());
  CHECK_NOTHROW(detector().detect(device(), media::Image(1, 1).view()));
  CHECK_THROWS_AS(detector().detect(device(), media::PixelView{}), Error);
}

TEST_CASE("the released crop: its arithmetic, on boxes that leave the picture too") {
  const auto golden = table();
  REQUIRE(golden["crop_arithmetic"].size() >= 50);
  for (const auto& c : golden["crop_arithmetic"]) {
    CAPTURE(c.dump());
    const auto size = c["image_wh"].get<std::array<int, 2>>();
    const auto cut =
        faces::reference_cut(size[0], size[1], c["bbox_xywh"].get<std::array<int, 4>>(), c["margin_pct"].get<double>());
    const bool fails = cut.left >= cut.right || cut.top >= cut.bottom || cut.left < 0 || cut.top < 0;
    CHECK(fails == !c["error"].is_null());
    if (c["crop"].is_null()) continue;
    CHECK(cut.left == c["crop"]["start_x"].get<int>());
    CHECK(cut.top == c["crop"]["start_y"].get<int>());
    CHECK(cut.right == c["crop"]["end_x"].get<int>());
    CHECK(cut.bottom == c["crop"]["end_y"].get<int>());
  }
}

TEST_CASE("resize_cut equals cv2.resize, bit by bit") {
  const Golden golden("preprocess/crop_face/cv2_resize.safetensors");
  for (const std::string name : {"r_300x200", "r_97x131", "r_9x7"}) {
    CAPTURE(name);
    const auto& in = golden.file().at(name + ".in");
    const int height = int(in.shape[0]), width = int(in.shape[1]);
    const media::PixelView view{reinterpret_cast<const std::uint8_t*>(in.bytes.data()), width, height, 3 * width};
    const media::Image out = faces::resize_cut(view, {0, 0, width, height});
    const auto sub = golden.integers(name + ".out_sub4"), row = golden.integers(name + ".out_row100");
    for (int y = 0; y < 64; ++y)
      for (int x = 0; x < 64; ++x)
        for (int c = 0; c < 3; ++c) REQUIRE(out.pixel(4 * x, 4 * y)[c] == sub[std::size_t((y * 64 + x) * 3 + c)]);
    for (int x = 0; x < 256; ++x)
      for (int c = 0; c < 3; ++c) REQUIRE(out.pixel(x, 100)[c] == row[std::size_t(x * 3 + c)]);
  }
}

TEST_CASE("the whole released crop of a photograph") {
  const media::Image image = media::read_image(photo("astronaut.png"));
  const auto found = detector().detect(device(), image.view());
  REQUIRE(found.size() == 1);
  const faces::Crop crop = faces::reference_crop(image.view(), found[0]);
  const auto golden = table();
  const auto& want = golden["images"][0]["crop_sub32_rgb"];
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      for (int c = 0; c < 3; ++c)
        CHECK(crop.image.pixel(32 * x, 32 * y)[c] == want[std::size_t(y)][std::size_t(x)][std::size_t(c)].get<int>());
}

TEST_CASE("a centred crop stays in the picture, whatever the box") {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> place(-80, 400), size(0, 300);
  for (int i = 0; i < 2000; ++i) {
    const faces::Box box{place(engine), place(engine), size(engine), size(engine)};
    const auto cut = faces::centred_cut(320, 240, box, i % 3 * 20);
    CHECK(cut.left >= 0);
    CHECK(cut.top >= 0);
    CHECK(cut.right <= 320);
    CHECK(cut.bottom <= 240);
    CHECK(cut.right - cut.left == cut.bottom - cut.top);
    CHECK(cut.right > cut.left);
    const auto affine = faces::affine_of(cut);
    const faces::Point corner = affine({float(cut.right), float(cut.top)});
    CHECK(corner.x == doctest::Approx(faces::kCropSide));
    CHECK(corner.y == doctest::Approx(0).epsilon(1e-3));
  }
}

TEST_CASE("boxes that are no numbers, and nets of another kind, are errors") {
  const media::Image image(64, 48);
  faces::Detection d;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
    d.box = {10, bad, 20, 20};
    CHECK_THROWS_AS(faces::reference_crop(image.view(), d), Error);
    CHECK_THROWS_AS(faces::centred_crop(image.view(), d), Error);
  }
  d.box = {500, 400, 20, 20};  // beyond the picture: the released tool has nothing to cut, a centred crop moves in
  CHECK_THROWS_AS(faces::reference_crop(image.view(), d), Error);
  CHECK(faces::centred_crop(image.view(), d).image.width() == faces::kCropSide);
  CHECK_THROWS_AS(faces::Detector(kNets + "face_landmarks_detector.tflite"), Error);
  CHECK_THROWS_AS(faces::Landmarker(kNets + "face_detector.tflite"), Error);
}

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

TEST_CASE("landmarks of a photograph lie where the face is") {
  faces::FaceFinder finder(kNets);
  const media::Image image = media::read_image(photo("astronaut.png"));
  const auto found = finder.find(device(), image.view());
  REQUIRE(found.size() == 1);
  const auto& d = found[0].detection;
  const auto& points = found[0].landmarks;
  const auto centre = [&](int first, int n) {
    faces::Point c;
    for (int i = first; i < first + n; ++i) {
      c.x += points[std::size_t(i)].x / float(n);
      c.y += points[std::size_t(i)].y / float(n);
    }
    return c;
  };
  // the two nets agree on the eyes and the mouth; a keypoint is no exact centre: to a twelfth of the face
  const faces::Point own[] = {centre(36, 6), centre(42, 6), centre(60, 8)};
  const faces::Point theirs[] = {d.keypoints[0], d.keypoints[1], d.keypoints[3]};
  for (int i = 0; i < 3; ++i) CHECK(std::hypot(own[i].x - theirs[i].x, own[i].y - theirs[i].y) < d.box.width / 12);
  CHECK(faces::landmarks_of_mesh(std::vector<faces::Point>(468)).size() == 68);
  CHECK_THROWS_AS(faces::landmarks_of_mesh(std::vector<faces::Point>(467)), Error);
}

// Crops against the released tool's arithmetic and cv2.resize, and the way that points take along with pixels.
#include "facellava/faces/crop.hpp"

#include <doctest/doctest.h>

#include <numbers>
#include <random>

#include "facellava/media/decode.hpp"
#include "faces/nets.hpp"
#include "media/pictures.hpp"

using namespace facellava;
using test::crop_goldens;
using test::detector;
using test::device;
using test::Golden;
using test::photo;

namespace {

// Rotation, scale and shift.
struct Similarity {
  double c = 1, s = 0, x = 0, y = 0;
  faces::Point operator()(faces::Point p) const {
    return {float(c * double(p.x) - s * double(p.y) + x), float(s * double(p.x) + c * double(p.y) + y)};
  }
  Similarity inverse() const {
    const double n = c * c + s * s;
    return {c / n, -s / n, -(c * x + s * y) / n, (s * x - c * y) / n};
  }
};

faces::Crop crop_of(int policy, const media::PixelView& v, const faces::Box& box) {
  const faces::Detection d{1, box, {}};
  return policy == 0 ? faces::reference_crop(v, d) : faces::centred_crop(v, d, 10 * (policy - 1));
}

// A box of a face of points, in a picture of width x height; touching an edge of it now and then.
faces::Box random_box(std::mt19937& random, int width, int height, int turn) {
  std::uniform_real_distribution<float> share(0, 1);
  const float side = 20 + share(random) * float(std::min(width, height) - 25);
  faces::Box box{share(random) * (float(width) - side), share(random) * (float(height) - side), side, side};
  if (turn % 5 == 0) box.x = 0;
  if (turn % 5 == 1) box.y = 0;
  if (turn % 5 == 2) box.x = float(width) - side;
  if (turn % 5 == 3) box.y = float(height) - side;
  return box;
}

}  // namespace

TEST_CASE("the released crop: its arithmetic, on boxes that leave the picture too") {
  const auto golden = crop_goldens();
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
  const auto golden = crop_goldens();
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

TEST_CASE("boxes that are no numbers are errors") {
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
}

TEST_CASE("points turned, scaled and shifted with their picture: crop and normalisation take both along") {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> share(0, 1);
  for (int turn = 0; turn < 300; ++turn) {
    CAPTURE(turn);
    const int width = 61 + 2 * int(random() % 200), height = 51 + 2 * int(random() % 200);
    const double angle = share(random) * 2 * std::numbers::pi, scale = 0.4 + share(random) * 2;
    const Similarity to{scale * std::cos(angle), scale * std::sin(angle), 200 * share(random), 200 * share(random)};
    const faces::Box box = random_box(random, width, height, turn);
    const media::Image image(width, height);
    const int policy = turn % 3;
    const faces::Crop crop = crop_of(policy, image.view(), box);
    const auto cut =
        policy == 0 ? faces::reference_cut(width, height, {int(box.x), int(box.y), int(box.width), int(box.height)}, 0)
                    : faces::centred_cut(width, height, box, 10 * (policy - 1));
    faces::Landmarks own, turned, in_crop;
    for (std::size_t i = 0; i < own.size(); ++i) {
      const faces::Point wanted{float(cut.left + share(random) * (cut.right - cut.left)),
                                float(cut.top + share(random) * (cut.bottom - cut.top))};
      own[i] = to.inverse()(wanted);
      turned[i] = to(own[i]);
      in_crop[i] = crop.affine(turned[i]);
      // what crop and turn are together, in double precision
      const double a = 256. / (cut.right - cut.left), b = 256. / (cut.bottom - cut.top);
      const double x = double(own[i].x), y = double(own[i].y);
      // in pixels of the picture: fp32 points of up to 460 pixels, four roundings of 2^-24 of that each
      CHECK(std::abs(double(in_crop[i].x) / a - (to.c * x - to.s * y + to.x - cut.left)) < 1e-4);
      CHECK(std::abs(double(in_crop[i].y) / b - (to.s * x + to.c * y + to.y - cut.top)) < 1e-4);
    }
    const auto numbers = faces::normalise(in_crop, faces::LandmarkNormalisation::kBy256, 0, 0);
    const auto same = faces::normalise(in_crop, faces::LandmarkNormalisation::kByPicture, 256, 256);
    CHECK(numbers == same);  // a crop is a picture of 256 x 256
    for (std::size_t i = 0; i < own.size(); ++i) {
      CHECK(std::abs(256 * double(numbers[2 * i]) - double(in_crop[i].x)) < 1e-4);
      CHECK(std::abs(256 * double(numbers[2 * i + 1]) - double(in_crop[i].y)) < 1e-4);
    }
  }
}

TEST_CASE("pixels go where points go: a picture that tells the place of each pixel, turned, then cropped") {
  // Red and green grow with x and y of the picture before it is turned, so a pixel of the crop says where it came from.
  std::mt19937 random(12);
  std::uniform_real_distribution<double> share(0, 1);
  constexpr double kLow = 20, kRange = 215, kSpan = 160;  // levels, levels, pixels of the picture before it is turned
  for (int turn = 0; turn < 60; ++turn) {
    const int policy = turn % 3, width = 81 + 2 * int(random() % 60), height = 71 + 2 * int(random() % 60);
    CAPTURE(turn);
    const double angle = share(random) * 2 * std::numbers::pi, scale = 0.8 + share(random) * 0.6;
    Similarity to{scale * std::cos(angle), scale * std::sin(angle), 0, 0};
    const faces::Point middle = to({kSpan / 2, kSpan / 2});  // lands in the middle of the picture
    to.x = width / 2. - double(middle.x);
    to.y = height / 2. - double(middle.y);
    const Similarity back = to.inverse();
    media::Image image(width, height);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        const faces::Point p = back({float(x) + 0.5f, float(y) + 0.5f});  // the middle of the pixel
        const float place[2] = {p.x, p.y};
        for (int k = 0; k < 2; ++k)
          image.pixel(x, y)[k] =
              std::uint8_t(std::clamp(std::lround(kLow + kRange * double(place[k]) / kSpan), 0L, 255L));
      }
    const faces::Crop crop = crop_of(policy, image.view(), random_box(random, width, height, turn));
    double sum_x = 0, sum_y = 0;
    int seen = 0;
    for (int y = 30; y < 226; y += 7)  // 30 of 256 pixels of the crop from its edge, where resizing repeats pixels
      for (int x = 30; x < 226; x += 7) {
        const std::uint8_t* pixel = crop.image.pixel(x, y);
        if (std::min(pixel[0], pixel[1]) < 10 || std::max(pixel[0], pixel[1]) > 245) continue;
        const faces::Point from{float((pixel[0] - kLow) * kSpan / kRange), float((pixel[1] - kLow) * kSpan / kRange)};
        const faces::Point there = crop.affine(to(from));
        // levels are whole: half a level is 0.4 pixels, once in the picture and once in the crop
        const double most = 1.1 * scale * double(crop.affine.m[0]);
        CHECK(std::abs(double(there.x) - (x + 0.5)) < most);
        CHECK(std::abs(double(there.y) - (y + 0.5)) < most);
        sum_x += double(there.x) - (x + 0.5);
        sum_y += double(there.y) - (y + 0.5);
        ++seen;
      }
    REQUIRE(seen > 100);
    // In the mean there is no rounding to the nearest; OpenCV's resize cuts off up to a quarter of a level, which is
    // 0.19 pixels. Half a pixel taken otherwise in one of the two would be 0.24 pixels or more.
    const double most = 0.22 * double(crop.affine.m[0]);
    CHECK(std::abs(sum_x / seen) < most);
    CHECK(std::abs(sum_y / seen) < most);
  }
}

TEST_CASE("a picture shifted by whole pixels gives the same crop, and its points the same numbers") {
  const media::Image image = test::waves(173, 151);
  std::mt19937 random(13);
  for (int turn = 0; turn < 60; ++turn) {
    const int left = int(random() % 60), top = int(random() % 60);
    const faces::Box box{float(60 + random() % 40), float(60 + random() % 30), 43, 43};
    media::PixelView part = image.view();
    part.data = part.row(top) + left * 3;
    part.width -= left;
    part.height -= top;
    const faces::Crop whole = crop_of(turn % 2, image.view(), box);
    const faces::Crop shifted =
        crop_of(turn % 2, part, {box.x - float(left), box.y - float(top), box.width, box.height});
    CHECK(test::same_pixels(whole.image, shifted.image));
    const faces::Point p{box.x + 7, box.y + 9}, q = whole.affine(p);
    const faces::Point r = shifted.affine({p.x - float(left), p.y - float(top)});
    // enlarged six times: two roundings of 800
    CHECK(std::abs(q.x - r.x) < 1e-3f);
    CHECK(std::abs(q.y - r.y) < 1e-3f);
  }
}

TEST_CASE("points that are no numbers pass a crop and are reported by name; points outside stay outside") {
  const media::Image image(64, 48);
  const faces::Crop crop = crop_of(1, image.view(), {8, 8, 32, 32});
  faces::Landmarks points;
  points.fill(crop.affine({-20, 70}));
  CHECK(points[0].x < 0);
  CHECK(points[0].y > 256);
  CHECK(faces::normalise(points, faces::LandmarkNormalisation::kBy256, 0, 0)[1] > 1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    points[5] = crop.affine({10, bad});
    const auto [kind, what] =
        test::error_of([&] { faces::normalise(points, faces::LandmarkNormalisation::kBy256, 0, 0); });
    CHECK(kind == ErrorKind::kNonFinite);
    CHECK(test::has(what, "landmark 5"));
  }
}

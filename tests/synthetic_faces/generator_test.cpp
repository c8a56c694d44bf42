// Samples are functions of seed and number; labels, forgeries and clips are what they claim.
#include "synthetic_faces/faces.hpp"

using namespace synthetic_faces;
using namespace synthetic_faces::test;

namespace {

bool same_pixels(const facellava::media::Image& a, const facellava::media::Image& b) {
  return a.width() == b.width() && std::equal(a.row(0), a.row(a.height()), b.row(0));
}

// Without anything in front of the face.
Plot open_face(std::uint64_t i) {
  Plot p = small_faces().plot(4, i);
  p.scene.occluded = false;
  p.forgery.kind = FakeKind::kReal;
  return p;
}

int changed_outside(const Picture& a, const Picture& b, std::span<const Vec2> hull, int& inside) {
  int outside = 0;
  for (int y = 0; y < a.colour.side; ++y)
    for (int x = 0; x < a.colour.side; ++x) {
      const Colour &p = a.colour.at(x, y), &q = b.colour.at(x, y);
      if (p.x == q.x && p.y == q.y && p.z == q.z) continue;
      ++(depth_in_polygon({float(x) + .5f, float(y) + .5f}, hull) > 0 ? inside : outside);
    }
  return outside;
}

}  // namespace

TEST_CASE("a sample is the same whatever came before it, and another seed's is another") {
  const Generator& g = small_faces();
  const Sample a = g.face(5, 3);
  g.face(5, 0);
  CHECK(same_pixels(a.frames[0], g.face(5, 3).frames[0]));
  CHECK_FALSE(same_pixels(a.frames[0], g.face(5, 4).frames[0]));
  CHECK_FALSE(same_pixels(a.frames[0], g.face(6, 3).frames[0]));
}

TEST_CASE("a mirror turns pixels, points and sides, and nothing else") {
  for (int i = 0; i < facellava::kPoints; ++i) CHECK(mirrored_point(mirrored_point(i)) == i);
  CHECK(mirrored_point(36) == 45);  // outer corners of the eyes
  CHECK(mirrored_point(48) == 54);  // of the mouth
  CHECK(mirrored_point(30) == 30);  // tip of the nose
  const Generator& g = small_faces();
  for (std::uint64_t i = 0; i < 6; ++i) {
    CAPTURE(i);
    const Sample s = g.face(5, i);
    const auto two = g.face_and_mirror(5, i);
    CHECK(same_pixels(two[0].frames[0], s.frames[0]));
    CHECK_FALSE(same_pixels(two[1].frames[0], mirrored(s.frames[0])));  // another camera
    CHECK(same_pixels(mirrored(mirrored(s.frames[0])), s.frames[0]));
    const Labels &a = s.labels, &b = two[1].labels;
    for (int p = 0; p < facellava::kPoints; ++p) {
      const Vec2 from = a.points[0][std::size_t(p)], to = b.points[0][std::size_t(mirrored_point(p))];
      CHECK(from.x + to.x == doctest::Approx(a.side));
      CHECK(from.y == to.y);
    }
    CHECK(b.pose.yaw == -a.pose.yaw);
    for (int u = 0; u < kAus; ++u) {
      CHECK(b.expression[Au(u)].left == a.expression[Au(u)].right);
      CHECK(b.shows(Au(u)) == a.shows(Au(u)));
    }
    for (std::size_t k = 0; k < kAttributes; ++k)  // the other camera may have taken the colours
      if (!(a.has(Attribute::kGreyPicture) || b.has(Attribute::kGreyPicture)))
        CHECK(a.attributes[k] == b.attributes[k]);
  }
}

TEST_CASE("options out of range") {
  CHECK_THROWS_AS(Generator(SYNTHETIC_FACES_RIG, {.side = 8}), Error);
  CHECK_THROWS_AS(Generator(SYNTHETIC_FACES_RIG, {.side = 40, .fake_part = 1.5f}), Error);
}

TEST_CASE("a forgery changes pixels inside the hull of the inner face only") {
  const Generator& g = small_faces();
  for (const FakeKind kind : {FakeKind::kSwap, FakeKind::kBlend}) {
    Plot p = open_face(2);
    Occlusion o;
    const Picture real = g.before_camera(p, o);
    p.forgery.kind = kind;
    const Picture fake = g.before_camera(p, o);
    int inside = 0;
    CHECK(changed_outside(real, fake, inner_hull(real.points, p.forgery.raise), inside) == 0);
    CHECK(inside > 200);  // of 80 x 80 pixels
  }
}

TEST_CASE("points lie on the face, and the eyes are where they are drawn") {
  for (std::uint64_t i = 0; i < 4; ++i) {
    Occlusion o;
    const Picture p = small_faces().before_camera(open_face(i), o);
    for (std::size_t k = 27; k < kPoints; ++k) {
      const int x = int(p.points[k].x), y = int(p.points[k].y);
      REQUIRE((x >= 0 && y >= 0 && x < p.colour.side && y < p.colour.side));
      CHECK(p.covered[std::size_t(y * p.colour.side + x)] == 1);
    }
    CHECK(p.points[36].x < p.points[45].x);  // the person's right eye is left in the picture
    CHECK(p.points[30].y < p.points[8].y);   // nose above chin
  }
}

TEST_CASE("what is hidden is marked") {
  Plot p = open_face(1);
  p.who.glasses = Glasses::kSun;
  Labels l = make_labels(p.who, p.expression, p.scene.pose, {}, p.forgery, p.camera);
  CHECK(l.covered[5]);
  CHECK_FALSE(l.can_show(Au::k43));
  CHECK(l.can_show(Au::k12));
  CHECK(l.has(Attribute::kSunglasses));

  Occlusion mask{Occluder::kMask, {}};
  std::fill(mask.hidden.begin() + 48, mask.hidden.end(), true);
  p.expression[Au::k12] = {.9f, .9f};
  l = make_labels(p.who, p.expression, p.scene.pose, mask, p.forgery, p.camera);
  CHECK(l.mouth_covered());
  CHECK_FALSE(l.shows(Au::k12));
  CHECK_FALSE(l.has(Attribute::kSmiling));
  CHECK(l.has(Attribute::kCovered));
}

TEST_CASE("an occluder hides points that it covers") {
  int hidden = 0;
  for (std::uint64_t i = 0; i < 6; ++i) {
    Plot p = open_face(i);
    p.scene.occluded = true;
    Occlusion o;
    small_faces().before_camera(p, o);
    CHECK(o.kind != Occluder::kNone);
    hidden += int(std::count(o.hidden.begin(), o.hidden.end(), true));
  }
  CHECK(hidden > 30);
}

TEST_CASE("a clip comes, is there and goes") {
  Plot p = open_face(5);
  p.expression = {};
  p.expression[Au::k26] = {1, 1};
  p.scene.pose = {};
  Motion m;
  m.apex = 3;
  m.strength = {0, .2f, .7f, 1, .8f, .5f, .2f, 0};
  const Sample s = small_faces().clip(p, m);
  REQUIRE(s.frames.size() == kFrames);
  REQUIRE(s.labels.points.size() == kFrames);
  const auto opening = [&](std::size_t f) { return s.labels.points[f][66].y - s.labels.points[f][62].y; };
  for (std::size_t f = 0; f < kFrames; ++f) CHECK(opening(f) <= opening(3));
  CHECK(opening(3) > opening(0) + 1);  // pixels of 40
  CHECK(opening(2) > opening(1));
  CHECK(opening(6) < opening(5));
}

TEST_CASE("motions rise to their apex and fall from it") {
  for (std::uint64_t i = 0; i < 200; ++i) {
    const Motion m = draw_motion(Dice(1, i, Stream::kMotion));
    for (int f = 1; f < kFrames; ++f) {
      const float before = m.strength[std::size_t(f - 1)], here = m.strength[std::size_t(f)];
      CHECK((f <= m.apex ? here >= before : here <= before));
    }
    CHECK(m.strength[std::size_t(m.apex)] == 1);
    CHECK(m.blink != m.apex);
  }
}

TEST_CASE("a camera without blur, noise and JPEG only rounds") {
  Canvas c(4);
  for (std::size_t i = 0; i < c.pixel.size(); ++i) c.pixel[i] = {float(i) / 16, .5f, 1};
  const auto image = photograph(c, {});
  for (int i = 0; i < 16; ++i) {
    // The tone curve has 1024 levels: within half a byte.
    CHECK(std::abs(float(image.pixel(i % 4, i / 4)[0]) - float(i) / 16 * 255) <= 1);
    CHECK(int(image.pixel(i % 4, i / 4)[2]) == 255);
  }
  Camera grey;
  grey.saturation = 0;
  grey.noise = .1f;
  const auto plain = photograph(c, grey);
  for (int i = 0; i < 16; ++i) {
    const auto* p = plain.pixel(i % 4, i / 4);
    CHECK((p[0] == p[1] && p[1] == p[2]));
  }
}

// Sample i of a seed: everything that is random about it, then its pixels and labels. The same whatever was made before
// it and however many threads make others.
//   Generator faces("data/face_rig.bin", {.side = 112});
//   Sample s = faces.face(seed, i);   // s.frames[0], s.labels
#pragma once
#include "mirror.hpp"

namespace synthetic_faces {

struct GeneratorOptions {
  int side = 112;         // pixels of a picture, 32..1024
  float fake_part = .3f;  // of the samples that are forged
};

struct Sample {
  std::vector<facellava::media::Image> frames;  // one, or the kFrames of a clip
  Labels labels;
};

// All that a sample is, before it is drawn.
struct Plot {
  Identity who;
  Expression expression;
  Scene scene;
  Camera camera;
  Forgery forgery;
};

class Generator {
 public:
  // Errors: as Studio; kArgument (an option out of its range).
  explicit Generator(const std::string& rig, const GeneratorOptions& o = {}) : options_(o), studio_(rig) {
    if (o.side < 32 || o.side > 1024)
      throw Error(ErrorKind::kArgument, "side: expected 32 to 1024 pixels, found " + std::to_string(o.side));
    if (!(o.fake_part >= 0 && o.fake_part <= 1))
      throw Error(ErrorKind::kArgument, "fake part: expected 0 to 1, found " + std::to_string(o.fake_part));
  }

  const Studio& studio() const { return studio_; }
  const GeneratorOptions& options() const { return options_; }

  Plot plot(std::uint64_t seed, std::uint64_t i) const {
    return {draw_identity(studio_.head.rig, Dice(seed, i, Stream::kIdentity)),
            draw_expression(Dice(seed, i, Stream::kExpression)), draw_scene(Dice(seed, i, Stream::kScene)),
            draw_camera(Dice(seed, i, Stream::kCamera)),
            draw_forgery(Dice(seed, i, Stream::kFake), options_.fake_part)};
  }

  Sample face(std::uint64_t seed, std::uint64_t i) const { return face(plot(seed, i)); }
  Sample face(const Plot& p) const {
    Occlusion o;
    const Picture picture = before_camera(p, o);
    return taken(p, p.camera, picture, o);
  }

  // The face, and itself in a mirror, taken by another camera: hardly dearer than the face alone.
  std::array<Sample, 2> face_and_mirror(std::uint64_t seed, std::uint64_t i) const {
    const Plot p = plot(seed, i);
    Occlusion o;
    const Picture picture = before_camera(p, o);
    Sample other = taken(p, draw_camera(Dice(seed, i, Stream::kCamera, 1)), picture, o);
    other.frames[0] = mirrored(other.frames[0]);
    other.labels = mirrored(std::move(other.labels));
    return {taken(p, p.camera, picture, o), std::move(other)};
  }

  // kFrames frames in one square; samples of clips are other ones than those of pictures.
  Sample clip(std::uint64_t seed, std::uint64_t i) const {
    return clip(plot(seed ^ kClips, i), draw_motion(Dice(seed, i, Stream::kMotion)));
  }
  Sample clip(const Plot& apex, const Motion& motion) const {
    Sample s;
    Occlusion at_apex;
    std::vector<Picture> pictures;
    for (int f = 0; f < kFrames; ++f) {
      Plot p = apex;
      p.expression = at_frame(apex.expression, motion, f);
      p.scene.pose = at_frame(apex.scene.pose, motion, f);
      Occlusion o;
      pictures.push_back(before_camera(p, o));
      if (f == motion.apex) at_apex = o;
      s.frames.push_back(photograph(halved(pictures.back().colour), apex.camera, std::uint64_t(f)));
    }
    s.labels = make_labels(apex.who, apex.expression, apex.scene.pose, at_apex, apex.forgery, apex.camera);
    s.labels.motion = motion;
    for (const Picture& p : pictures) note_points(s.labels, p);
    return s;
  }

  // At twice the side, before the camera: person, background, forgery, occluder.
  Picture before_camera(const Plot& p, Occlusion& o) const {
    const int side = 2 * options_.side;
    const Canvas background = draw_background(p.scene.background, draw_colour);
    Picture picture = render(studio_, p.who, p.expression, p.scene, side);
    put_before(picture, background);
    if (p.forgery.kind != FakeKind::kReal) {
      const Donor donor = draw_donor(studio_.head.rig, p.who, p.scene, p.forgery);
      Picture other = render(studio_, donor.who, p.expression, donor.scene, side);
      put_before(other, background);
      forge(picture.colour, picture.points, other.colour, other.points, p.forgery);
    }
    o = add_occluder(picture, p.who, p.scene);
    return picture;
  }

 private:
  static constexpr std::uint64_t kClips = 0x436c6970;

  Sample taken(const Plot& p, const Camera& camera, const Picture& picture, const Occlusion& o) const {
    Sample s;
    s.frames.push_back(photograph(halved(picture.colour), camera));
    s.labels = make_labels(p.who, p.expression, p.scene.pose, o, p.forgery, camera);
    note_points(s.labels, picture);
    return s;
  }

  void note_points(Labels& l, const Picture& p) const {
    Points points = p.points;
    for (Vec2& q : points) q = q * .5f;
    l.points.push_back(points);
    l.side = options_.side;
  }

  GeneratorOptions options_;
  Studio studio_;
};

}  // namespace synthetic_faces

// How a face is seen: where the head turns and stands, the light, what is behind it and what is in front of it.
#pragma once
#include "canvas.hpp"
#include "mesh.hpp"
#include "raster.hpp"

namespace synthetic_faces {

struct Pose {
  float yaw = 0, pitch = 0, roll = 0;  // radians; yaw > 0: the face turns to its own left, right in the picture
  float scale = .7f;                   // height of the face from chin to hairline, of the picture's side
  float distance = 10;                 // of the eye, in heights of the face
  Vec2 shift;                          // of the face's middle, of the picture's side
};

struct Light {
  Vec3 towards{0, 0, 1};
  Colour tint{1, 1, 1};
  float key = .7f, ambient = .5f, fill = .1f, fill_side = 1, shadow = .5f;
};

// The colours of what is worn and not part of the identity's labels.
struct Wardrobe {
  Colour shirt, frame, hat;
  bool low_neck = false;
  float frame_glint = 0;
};

struct Scene {
  Pose pose;
  Light light;
  Wardrobe wardrobe;
  std::uint64_t background = 0, occluder = 0;
  bool occluded = false;
};

inline Pose draw_pose(Dice& d) {
  Pose p;
  p.yaw = .28f * d.normal();
  p.pitch = .11f * d.normal();
  p.roll = .10f * d.normal();
  p.distance = d.uniform(7, 16);
  p.scale = d.uniform(.58f, .78f);
  p.shift.x = .025f * d.normal();
  p.shift.y = .025f * d.normal();
  return p;
}

inline Light draw_light(Dice& d) {
  Light l;
  const float side = .75f * d.normal(), up = d.uniform(-.05f, 1.05f);
  l.towards = {std::sin(side) * std::cos(up), std::sin(up), std::cos(side) * std::cos(up)};
  l.key = d.uniform(.5f, 1.05f);
  l.ambient = d.uniform(.32f, .62f);
  const float warm = .05f * d.normal();
  l.tint = {1 + warm, 1, 1 - warm};
  l.fill = d.uniform(0, .3f);
  l.fill_side = d.uniform(-1, 1);
  l.shadow = d.chance(.75f) ? d.uniform(.3f, .85f) : 0;
  return l;
}

inline Colour draw_colour(Dice& d, float vivid) {
  Colour c;
  c.x = d.uniform(.08f, .9f);
  c.y = d.uniform(.08f, .9f);
  c.z = d.uniform(.08f, .9f);
  const float grey = (c.x + c.y + c.z) / 3;
  return mix({grey, grey, grey}, c, vivid);
}

inline Scene draw_scene(Dice d) {
  constexpr Colour kFrames[] = {
      {.05f, .05f, .05f}, {.25f, .14f, .08f}, {.55f, .5f, .4f}, {.1f, .1f, .35f}, {.5f, .08f, .08f}};
  Scene s;
  s.pose = draw_pose(d);
  s.light = draw_light(d);
  s.wardrobe.shirt = draw_colour(d, .7f);
  s.wardrobe.frame = d.pick(kFrames);
  s.wardrobe.hat = draw_colour(d, .8f);
  s.wardrobe.low_neck = d.chance(.5f);
  s.wardrobe.frame_glint = 6 * d.uniform();
  s.background = d.seed();
  s.occluder = d.seed();
  s.occluded = d.chance(.07f);
  return s;
}

// Where points of the head come to on the screen.
struct View {
  Vec3 row_x, row_y, row_z;  // of the rotation
  Vec3 middle;               // of the face, in the rig's units
  float face_height = 1, eye = 10, zoom = 1;
  Vec2 centre;  // pixels

  Vec3 turned(Vec3 p) const {
    const Vec3 q = p - middle;
    return {dot(row_x, q), dot(row_y, q), dot(row_z, q)};
  }
  Screen project(Vec3 t) const {
    const float z = eye - t.z, s = zoom / z;
    return {centre.x + t.x * s, centre.y - t.y * s, z};
  }
  Vec3 unproject(float x, float y, float z) const {
    return {(x - centre.x) * z / zoom, -(y - centre.y) * z / zoom, eye - z};
  }
};

// side: pixels of the picture. The face's size is that of its chin and brows.
inline View make_view(const Head& head, const Mesh& m, const Pose& pose, int side) {
  const auto point = [&](std::size_t i) { return m.position[head.rig.points[i]]; };
  const Vec3 brows = (point(19) + point(24)) * .5f, top = brows + (brows - point(8)) * .38f;
  View v;
  v.middle = (top + point(8)) * .5f;
  v.middle.z = (point(0).z + point(16).z) * .5f;
  v.face_height = length(top - point(8));
  const float cy = std::cos(pose.yaw), sy = std::sin(pose.yaw), cx = std::cos(pose.pitch), sx = std::sin(pose.pitch);
  const float cz = std::cos(pose.roll), sz = std::sin(pose.roll);
  const Vec3 x{cy, 0, sy}, y{sx * sy, cx, -sx * cy};
  v.row_x = x * cz - y * sz;
  v.row_y = x * sz + y * cz;
  v.row_z = {-cx * sy, sx, cx * cy};
  v.eye = pose.distance * v.face_height;
  v.zoom = float(side) * pose.scale / v.face_height * v.eye;
  v.centre = {float(side) * (.5f + pose.shift.x), float(side) * (.5f + pose.shift.y)};
  return v;
}

}  // namespace synthetic_faces

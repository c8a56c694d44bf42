// A rendered sample as the model meets a face: landmarks as the library's detector yields them (a shift that is known,
// and jitter), and the face cut out by them.
#pragma once
#include <array>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

#include "facellava/faces/aligned_crop.hpp"
#include "synthetic_faces/generator.hpp"

namespace train_mini {

using facellava::Error;
using facellava::ErrorKind;
using facellava::kPoints;
using synthetic_faces::Dice;
using synthetic_faces::Vec2;

// detector − exact, of each point, in the face's frame (x along the eyes): parts of the distance between the outer eye
// corners.
using Shift = std::array<Vec2, kPoints>;

// The table that `synthetic_faces --check-detector` prints. Errors: kFile, kFormat.
inline Shift read_shift(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kFile, path + ": cannot be read");
  Shift shift{};
  std::size_t next = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#' || line.starts_with("point")) continue;
    std::size_t index = 0;
    Vec2 d;
    const char *at = line.data(), *end = at + line.size();
    const auto number = [&](auto& x) {
      const auto r = std::from_chars(at, end, x);
      at = r.ptr + (r.ptr < end && *r.ptr == ',');
      return r.ec == std::errc();
    };
    if (!number(index) || !number(d.x) || !number(d.y) || index != next || next == shift.size())
      throw Error(ErrorKind::kFormat, path + ": expected 68 lines of point,dx,dy, found \"" + line + "\"");
    shift[next++] = d;
  }
  if (next != shift.size())
    throw Error(ErrorKind::kFormat, path + ": expected 68 points, found " + std::to_string(next));
  return shift;
}

inline facellava::faces::Landmarks as_detected(const synthetic_faces::Points& exact, const Shift& shift, Dice& d) {
  const Vec2 eyes = exact[45] - exact[36];    // exact: turned with the face
  const float trust = d.uniform(0.3f, 1.2f);  // the shift of a face is not that of the mean
  facellava::faces::Landmarks out{};
  const auto place = [&](Vec2 p, Vec2 by) {
    return Vec2{p.x + eyes.x * by.x - eyes.y * by.y, p.y + eyes.y * by.x + eyes.x * by.y};
  };
  for (const facellava::Region& r : facellava::kRegions) {
    const Vec2 together{0.012f * d.normal(), 0.012f * d.normal()};
    for (int i = r.first; i < r.first + r.count; ++i) {
      const Vec2 alone{0.006f * d.normal(), 0.006f * d.normal()};
      const Vec2 p = place(exact[std::size_t(i)], shift[std::size_t(i)] * trust + together + alone);
      out[std::size_t(i)] = {p.x, p.y};
    }
  }
  return out;
}

// As a detector's box would cut it: a square around the points, neither turned nor quite in its middle.
inline facellava::faces::Affine box_cut(const facellava::faces::Landmarks& l, int side, Dice& d) {
  float left = l[0].x, right = left, top = l[0].y, bottom = top;
  for (const auto& p : l) {
    left = std::min(left, p.x), right = std::max(right, p.x);
    top = std::min(top, p.y), bottom = std::max(bottom, p.y);
  }
  const float size = std::max(right - left, bottom - top) * d.uniform(1.05f, 1.5f), scale = float(side) / size;
  const float x = (left + right) / 2 + 0.05f * size * d.normal(), y = (top + bottom) / 2 + 0.05f * size * d.normal();
  return {{scale, 0, float(side) / 2 - scale * x, 0, scale, float(side) / 2 - scale * y}};
}

struct SeenFace {
  std::vector<facellava::media::Image> frames;  // side × side
  std::vector<facellava::faces::Landmarks> points;
};

enum class Cutting { kAligned, kByBox };

inline SeenFace see(const synthetic_faces::Sample& s, const Shift& shift, Cutting how, int side, Dice d) {
  SeenFace seen;
  for (const auto& exact : s.labels.points) seen.points.push_back(as_detected(exact, shift, d));
  const auto to = how == Cutting::kAligned ? facellava::faces::alignment(seen.points, side)
                                           : box_cut(seen.points[seen.points.size() / 2], side, d);
  for (std::size_t f = 0; f < s.frames.size(); ++f) {
    seen.frames.push_back(facellava::faces::warped_crop(s.frames[f].view(), to, side).image);
    for (auto& p : seen.points[f]) p = to(p);
  }
  return seen;
}

}  // namespace train_mini

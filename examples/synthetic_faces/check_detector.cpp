#include "check_detector.hpp"

#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"

namespace synthetic_faces {
namespace {

// The picture in the middle of a larger one, as a face stands in a photograph, its edge colours around it.
facellava::media::Image with_surroundings(const facellava::media::Image& image, int margin) {
  facellava::media::Image out(image.width() + 2 * margin, image.height() + 2 * margin);
  for (int y = 0; y < out.height(); ++y)
    for (int x = 0; x < out.width(); ++x)
      std::copy_n(
          image.pixel(std::clamp(x - margin, 0, image.width() - 1), std::clamp(y - margin, 0, image.height() - 1)), 3,
          out.pixel(x, y));
  return out;
}

}  // namespace

DetectorCheck check_detector(const Generator& faces, std::uint64_t seed, int count, const std::string& nets) {
  facellava::cpu::Device dev(facellava::cpu::Options{});
  facellava::faces::FaceFinder finder(nets);
  DetectorCheck check{count, 0, 0, {}};
  const int margin = faces.options().side / 2;
  for (int i = 0; i < count; ++i) {
    const Sample s = faces.face(seed, std::uint64_t(i));
    const auto found = finder.find(dev, with_surroundings(s.frames[0], margin).view());
    if (found.empty()) continue;
    ++check.found;
    const Points& exact = s.labels.points[0];
    const Vec2 eyes = exact[45] - exact[36];
    const float unit = 1 / length(eyes);
    const Vec2 along = eyes * unit;
    for (std::size_t k = 0; k < kPoints; ++k) {
      const auto p = found[0].landmarks[k];
      const Vec2 d = (Vec2{p.x - float(margin), p.y - float(margin)} - exact[k]) * unit;
      check.mean_error += length(d) / kPoints;
      check.offset[k] = check.offset[k] + Vec2{dot(d, along), d.y * along.x - d.x * along.y};
    }
  }
  const float part = 1 / float(std::max(1, check.found));
  check.mean_error *= part;
  for (Vec2& o : check.offset) o = o * part;
  return check;
}

}  // namespace synthetic_faces

// A picture of what was found: boxes, scores, and the 68 points in a colour for each of the nine regions.
#pragma once
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/draw.hpp"

namespace facellava::faces {

inline constexpr std::array<media::Colour, kRegionCount> kRegionColours{{{230, 159, 0},
                                                                         {86, 180, 233},
                                                                         {0, 158, 115},
                                                                         {240, 228, 66},
                                                                         {0, 114, 178},
                                                                         {213, 94, 0},
                                                                         {204, 121, 167},
                                                                         {220, 40, 60},
                                                                         {255, 255, 255}}};

// Lines and points grow with the face; what lies outside the image is cut off, points that are no numbers are left out.
// Errors: as check_box.
inline void draw_faces(media::Image& image, std::span<const Face> faces) {
  for (const Face& f : faces) {
    const Box& b = f.detection.box;
    check_box(b, "draw_faces");
    const float unit = std::max(b.width, b.height) / 100;
    const int thickness = std::max(1, int(unit));
    media::draw_rectangle(image, int(b.x), int(b.y), int(b.x + b.width), int(b.y + b.height), {0, 220, 90}, thickness);
    for (std::size_t g = 0; g < kRegions.size(); ++g) {
      const Region& region = kRegions[g];
      for (int i = region.first; i < region.first + region.count; ++i) {
        const Point p = f.landmarks[std::size_t(i)];
        if (i > region.first) {
          const Point q = f.landmarks[std::size_t(i - 1)];
          media::draw_line(image, q.x, q.y, p.x, p.y, kRegionColours[g], std::max(1.f, unit / 2));
        }
        media::fill_disc(image, p.x, p.y, std::max(1.f, unit), kRegionColours[g]);
      }
    }
    const int scale = std::max(1, int(unit));
    const int percent = f.detection.score > 0 ? int(100 * std::min(f.detection.score, 1.f) + 0.5f) : 0;
    media::draw_text(image, int(b.x), std::max(0, int(b.y) - (media::kTextHeight + 1) * scale),
                     std::to_string(percent) + "%", {0, 220, 90}, scale);
  }
}

}  // namespace facellava::faces

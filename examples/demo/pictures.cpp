#include "pictures.hpp"

#include <algorithm>

#include "facellava/faces/attention_map.hpp"
#include "facellava/faces/draw_faces.hpp"

namespace demo {

using namespace facellava;

namespace {

constexpr media::Colour kGround{28, 28, 32}, kNumber{0, 220, 90};
constexpr int kAcross = 3;  // frames of a clip side by side

media::Image ground(int width, int height) {
  media::Image image(width, height);
  media::fill_rectangle(image, 0, 0, width, height, kGround);
  return image;
}

void paste(media::Image& to, const media::Image& from, int left, int top) {
  for (int y = 0; y < from.height(); ++y) std::copy_n(from.row(y), from.stride(), to.pixel(left, top + y));
}

media::Image beside(std::span<const media::Image> images) {
  int width = 0, height = 0;
  for (const media::Image& i : images) width += i.width(), height = std::max(height, i.height());
  media::Image all = ground(width, height);
  int left = 0;
  for (const media::Image& i : images) {
    paste(all, i, left, 0);
    left += i.width();
  }
  return all;
}

faces::Face scaled(faces::Face f, float x, float y) {
  for (faces::Point& p : f.landmarks) p = {p.x * x, p.y * y};
  faces::Box& b = f.detection.box;
  b = {b.x * x, b.y * y, b.width * x, b.height * y};
  return f;
}

// A frame at another size, with what was found in it.
media::Image with_faces(const media::Image& frame, std::span<const Sighting> sightings, int width, int height) {
  media::Image image = media::resized(frame.view(), width, height);
  std::vector<faces::Face> faces;
  for (const Sighting& s : sightings)
    faces.push_back(scaled(s.face, float(width) / float(frame.width()), float(height) / float(frame.height())));
  faces::draw_faces(image, faces);
  for (std::size_t i = 0; i < faces.size(); ++i) {
    const faces::Box& b = faces[i].detection.box;
    media::draw_text(image, int(b.x) + 3, int(b.y + b.height) + 3, std::to_string(sightings[i].person + 1), kNumber, 2);
  }
  return image;
}

// All frames, together at most `height` high and half as wide again.
media::Image left_side(const Subject& s, int height) {
  const int count = int(s.frames.size()), across = std::min(count, kAcross), down = (count + across - 1) / across;
  const int most_width = 3 * height / 2 / across, most_height = height / down;
  const int w = s.frames[0].width(), h = s.frames[0].height();
  const double scale = std::min(double(most_width) / w, double(most_height) / h);
  const int width = std::max(1, int(w * scale)), tall = std::max(1, int(h * scale));
  media::Image all = ground(across * width, down * tall);
  for (int i = 0; i < count; ++i)
    paste(all, with_faces(s.frames[std::size_t(i)], s.sightings[std::size_t(i)], width, tall), i % across * width,
          i / across * tall);
  return all;
}

// Of the frame in the middle. A class token, which is of no place, is left out.
media::Image attention_of(const Person& person, std::span<const float> weights) {
  const std::size_t frames = person.crops.size(), middle = (frames - 1) / 2, each = weights.size() / frames;
  const std::size_t tokens = each / kRegionCount;
  const auto side = std::size_t(std::sqrt(double(tokens)));
  const std::size_t patches = side * side * kRegionCount;
  return faces::draw_attention(person.crops[middle].view(), person.points[middle],
                               weights.subspan(middle * each + each - patches, patches), {.panel = 160});
}

}  // namespace

media::Image annotated(const Subject& s, std::span<const std::vector<float>> weights) {
  constexpr int kHeight = 535;  // of an attention sheet
  std::vector<media::Image> parts{left_side(s, kHeight)};
  for (std::size_t i = 0; i < s.people.size(); ++i)
    if (!weights[i].empty()) parts.push_back(attention_of(s.people[i], weights[i]));
  return beside(parts);
}

media::Image stacked(std::span<const media::Image> images) {
  int width = 0, height = 0;
  for (const media::Image& i : images) width = std::max(width, i.width()), height += i.height();
  media::Image all = ground(width, height);
  int top = 0;
  for (const media::Image& i : images) {
    paste(all, i, 0, top);
    top += i.height();
  }
  return all;
}

}  // namespace demo

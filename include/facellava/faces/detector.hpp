// Faces in a picture, by BlazeFace with MediaPipe's arithmetic around it: the picture letterboxed to the net's square,
// anchors, scores, weighted non-maximum suppression. Two nets are known:
//   short range   128 × 128: faces of about a tenth of the picture and more; what the released crop tool uses
//   full range    192 × 192: smaller ones too, at four times the cost
// Source: "BlazeFace" (arXiv 1907.05047); MediaPipe's face_detection_short_range and its calculators.
#pragma once
#include <array>
#include <optional>

#include "facellava/faces/box.hpp"
#include "facellava/faces/conv_net.hpp"
#include "facellava/faces/landmarks.hpp"
#include "facellava/media/image.hpp"

namespace facellava::faces {

inline constexpr int kKeypoints = 6;  // right eye, left eye, nose tip, mouth, right and left tragion (of the person)
struct Detection {
  float score = 0;
  Box box;
  std::array<Point, kKeypoints> keypoints{};
};

struct DetectorOptions {
  std::optional<float> min_score;  // default: MediaPipe's, 0.5 (short range) or 0.6 (full range)
  float max_overlap = 0.3f;        // intersection over union beyond which two detections are one face
};

namespace detail {

// A grid over the picture, its points still to be set.
inline ColourGrid colour_grid(const media::PixelView& v) {
  ColourGrid g{};
  g.data = v.data;
  g.width = v.width;
  g.height = v.height;
  g.stride = v.stride;
  g.bytes = media::channels(v.format);
  for (int c = 0; c < 3; ++c) g.channel[std::size_t(c)] = media::channel_of(v.format, c);
  return g;
}

// Intersection over union.
inline float overlap(const Box& a, const Box& b) {
  const float w = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const float h = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  if (w <= 0 || h <= 0) return 0;
  return w * h / (a.width * a.height + b.width * b.height - w * h);
}

// The mean of detections, weighted by their scores, with the score of the first.
inline Detection merged(std::span<const Detection> group) {
  Detection m;
  m.score = group[0].score;
  float total = 0;
  for (const Detection& d : group) {
    total += d.score;
    m.box.x += d.score * d.box.x;
    m.box.y += d.score * d.box.y;
    m.box.width += d.score * d.box.width;
    m.box.height += d.score * d.box.height;
    for (std::size_t k = 0; k < kKeypoints; ++k) {
      m.keypoints[k].x += d.score * d.keypoints[k].x;
      m.keypoints[k].y += d.score * d.keypoints[k].y;
    }
  }
  for (float* v : {&m.box.x, &m.box.y, &m.box.width, &m.box.height}) *v /= total;
  for (Point& p : m.keypoints) p = {p.x / total, p.y / total};
  return m;
}

// Weighted non-maximum suppression: what overlaps the best one by more than max_overlap is merged with it, and so on.
inline std::vector<Detection> suppress(std::vector<Detection> all, float max_overlap) {
  std::stable_sort(all.begin(), all.end(), [](const Detection& a, const Detection& b) { return a.score > b.score; });
  std::vector<Detection> faces;
  while (!all.empty()) {
    const Box best = all[0].box;
    const auto rest = std::stable_partition(all.begin(), all.end(),
                                            [&](const Detection& d) { return overlap(d.box, best) > max_overlap; });
    const auto group = std::max(rest, all.begin() + 1);  // a box of no size does not overlap itself
    faces.push_back(merged({all.begin(), group}));
    all.erase(all.begin(), group);
  }
  return faces;
}

}  // namespace detail

class Detector {
 public:
  // The .tflite file of either net. Errors: as ConvNet; kFormat (another net).
  explicit Detector(const std::string& path) : net_(path) {
    const auto fits = [&](const BlazeFace& n) {
      return net_.input_shape() == std::vector<Index>{n.side, n.side, 3} && net_.outputs() == 2 &&
             net_.output_size(0) == n.anchors() * kNumbers && net_.output_size(1) == n.anchors();
    };
    const auto* kind = std::find_if(std::begin(kNets), std::end(kNets), fits);
    if (kind == std::end(kNets))
      throw Error(ErrorKind::kFormat, path + ": is neither the short-range nor the full-range face detector");
    kind_ = *kind;
  }

  // The faces of each picture, best score first; none is no error. Errors: as media::check_pixels.
  template <class Device>
  std::vector<std::vector<Detection>> detect(Device& dev, std::span<const media::PixelView> pictures,
                                             const DetectorOptions& o = {}) {
    if (pictures.empty()) return {};
    const Index numbers = Index(kind_.side) * kind_.side * 3, anchors = kind_.anchors();
    input_.resize(pictures.size() * std::size_t(numbers));
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      media::check_pixels(pictures[i], "Detector");
      letterbox(dev, input_.data() + Index(i) * numbers, pictures[i]);
    }
    const auto results = net_.run(dev, input_, int(pictures.size()), work_);
    std::vector<std::vector<Detection>> faces;
    for (Index i = 0; i < Index(pictures.size()); ++i)
      faces.push_back(
          detail::suppress(decode(results[0].data() + i * anchors * kNumbers, results[1].data() + i * anchors,
                                  pictures[std::size_t(i)], o.min_score.value_or(kind_.min_score)),
                           o.max_overlap));
    return faces;
  }
  template <class Device>
  std::vector<Detection> detect(Device& dev, const media::PixelView& picture, const DetectorOptions& o = {}) {
    return detect(dev, std::span(&picture, 1), o)[0];
  }

 private:
  static constexpr int kNumbers = 4 + 2 * kKeypoints;

  // Anchors stand in the cells of grids of n × n places, `at_each` in every cell.
  struct Grid {
    int n, at_each;
    int anchors() const { return n * n * at_each; }
  };
  struct BlazeFace {
    int side;
    float min_score;
    std::array<Grid, 2> grids;
    Index anchors() const { return grids[0].anchors() + grids[1].anchors(); }
    // The centre of anchor i, from 0 to 1.
    Point anchor(int i) const {
      const bool first = i < grids[0].anchors();
      const Grid& g = grids[first ? 0 : 1];
      const int cell = (first ? i : i - grids[0].anchors()) / g.at_each;
      return {(float(cell % g.n) + 0.5f) / float(g.n), (float(cell / g.n) + 0.5f) / float(g.n)};
    }
  };
  static constexpr BlazeFace kNets[] = {{128, 0.5f, {{{16, 2}, {8, 6}}}}, {192, 0.6f, {{{48, 1}, {0, 1}}}}};

  // The picture in the middle of a square, sampled at side × side points, to [−1, 1]; black (−1) outside.
  // As MediaPipe does: point i of the net lies at i · side / size of the square.
  template <class Device>
  void letterbox(Device& dev, float* to, const media::PixelView& v) const {
    const int longer = std::max(v.width, v.height);
    ColourGrid grid = detail::colour_grid(v);
    grid.x = -float(longer - v.width) / 2;
    grid.y = -float(longer - v.height) / 2;
    grid.across_x = grid.down_y = float(longer) / float(kind_.side);
    grid.mean.fill(127.5f);
    grid.range = 127.5f;
    sample_colours(dev, View<float, Host, kDyn, kDyn, 3>(to, kind_.side, kind_.side), grid);
  }
  std::vector<Detection> decode(const float* boxes, const float* scores, const media::PixelView& v,
                                float min_score) const {
    const float side = float(std::max(v.width, v.height));
    const float left = (side - float(v.width)) / 2, top = (side - float(v.height)) / 2;
    const float unit = side / float(kind_.side);
    std::vector<Detection> found;
    for (int i = 0; i < kind_.anchors(); ++i, boxes += kNumbers) {
      const float score = 1 / (1 + std::exp(-std::clamp(scores[i], -100.f, 100.f)));
      if (!(score >= min_score)) continue;
      const Point at = kind_.anchor(i);
      const auto point = [&](const float* p) {
        return Point{p[0] * unit + at.x * side - left, p[1] * unit + at.y * side - top};
      };
      Detection d;
      d.score = score;
      const Point centre = point(boxes);
      d.box.width = boxes[2] * unit;
      d.box.height = boxes[3] * unit;
      d.box.x = centre.x - d.box.width / 2;
      d.box.y = centre.y - d.box.height / 2;
      if (!(d.box.width >= 0) || !(d.box.height >= 0) || !std::isfinite(d.box.x + d.box.width) ||
          !std::isfinite(d.box.y + d.box.height))
        continue;
      for (int k = 0; k < kKeypoints; ++k) d.keypoints[std::size_t(k)] = point(boxes + 4 + 2 * k);
      found.push_back(d);
    }
    return found;
  }

  ConvNet net_;
  BlazeFace kind_{};
  ConvNet::Workspace work_;
  std::vector<float> input_;
};

}  // namespace facellava::faces

// 68 landmarks of detected faces, by one of two kinds of nets. A net looks at a square of the picture around each face,
// turned until the eyes are level; its points go back to pixels of the picture.
//   face mesh (.tflite)           MediaPipe's 468 or 478 points, of which the 68 are means
//   face-api's net (manifest)     the 68 points themselves
// Which errs less, measured: docs/faces.md.
// Source: "Attention Mesh" (arXiv 2006.10962), MediaPipe's face_landmark graphs; face-api.js.
#pragma once
#include <variant>

#include "facellava/faces/detector.hpp"
#include "facellava/faces/face_api_net.hpp"
#include "facellava/faces/mesh_points.hpp"

namespace facellava::faces {

// A square that is turned: what a landmark net looks at.
struct TurnedSquare {
  Point centre;
  float side = 0, angle = 0;  // pixels; radians, clockwise in the picture

  // Of a point from 0 to 1 of the square.
  Point operator()(float x, float y) const {
    const float c = std::cos(angle) * side, s = std::sin(angle) * side;
    return {centre.x + (x - 0.5f) * c - (y - 0.5f) * s, centre.y + (x - 0.5f) * s + (y - 0.5f) * c};
  }
};

// `scale` times as large as the box, its eyes level, moved towards the chin by `down` of the box.
inline TurnedSquare square_around(const Detection& d, float scale, float down) {
  const Point a = d.keypoints[0], b = d.keypoints[1];
  const float size = std::max(d.box.width, d.box.height), angle = std::atan2(b.y - a.y, b.x - a.x);
  return {{d.box.x + d.box.width / 2 - std::sin(angle) * down * size,
           d.box.y + d.box.height / 2 + std::cos(angle) * down * size},
          scale * size,
          angle};
}

// A net, and how it wants a square of the picture: (colour of 0 to 255 − mean) / range.
struct SquareNet {
  ConvNet net;
  int side;
  std::array<float, 3> mean{};
  float range = 255;
  ConvNet::Workspace work{};
  std::vector<float> input{};

  // Output i: [squares, net.output_size(i)]. In batches, so that a crowd needs no more memory than a batch.
  template <class Device>
  std::vector<std::vector<float>> run(Device& dev, const media::PixelView& picture,
                                      std::span<const TurnedSquare> squares) {
    const std::size_t numbers = std::size_t(side) * std::size_t(side) * 3;
    std::vector<std::vector<float>> all(net.outputs());
    while (!squares.empty()) {
      const std::size_t n = std::min(kBatch, squares.size());
      input.resize(n * numbers);
      for (std::size_t i = 0; i < n; ++i) sample(dev, input.data() + i * numbers, picture, squares[i]);
      const auto results = net.run(dev, input, int(n), work);
      for (std::size_t o = 0; o < all.size(); ++o) all[o].insert(all[o].end(), results[o].begin(), results[o].end());
      squares = squares.subspan(n);
    }
    return all;
  }

 private:
  static constexpr std::size_t kBatch = 16;

  // Point (j, i) of the net lies at (j, i) / side of the square; black outside the picture.
  template <class Device>
  void sample(Device& dev, float* to, const media::PixelView& v, const TurnedSquare& square) const {
    const Point corner = square(0, 0), right = square(1, 0), below = square(0, 1);
    const float n = float(side);
    ColourGrid grid = detail::colour_grid(v);
    grid.x = corner.x;
    grid.y = corner.y;
    grid.across_x = (right.x - corner.x) / n;
    grid.across_y = (right.y - corner.y) / n;
    grid.down_x = (below.x - corner.x) / n;
    grid.down_y = (below.y - corner.y) / n;
    grid.mean = mean;
    grid.range = range;
    sample_colours(dev, View<float, Host, kDyn, kDyn, 3>(to, side, side), grid);
  }
};

struct FaceMesh {
  std::vector<Point> points;  // 468 or 478, in pixels of the picture
  float presence = 0;         // from 0 to 1: whether this is a face at all
};

class FaceMesher {
 public:
  // The .tflite file of a face mesh (468 points, or 478 with irises). Errors: as ConvNet; kFormat (another net).
  explicit FaceMesher(const std::string& path) : net_{ConvNet(path), 0} {
    const ConvNet& net = net_.net;
    const auto& shape = net.input_shape();
    if (shape.size() != 3 || shape[0] != shape[1] || shape[2] != 3 || net.outputs() < 2 || net.output_size(1) != 1 ||
        net.output_size(0) % 3 != 0 || net.output_size(0) < 3 * kMeshPoints)
      throw Error(ErrorKind::kFormat, path + ": is no face mesh");
    net_.side = int(shape[0]);
  }

  // The meshes of the faces of one picture. Errors: as media::check_pixels.
  template <class Device>
  std::vector<FaceMesh> mesh(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    media::check_pixels(picture, "FaceMesher");
    std::vector<TurnedSquare> squares;
    for (const Detection& d : faces) squares.push_back(square_around(d, 1.5f, 0));
    const auto results = net_.run(dev, picture, squares);
    const std::size_t points = std::size_t(net_.net.output_size(0)) / 3;
    const float* p = results[0].data();
    std::vector<FaceMesh> meshes(faces.size());
    for (std::size_t i = 0; i < faces.size(); ++i) {
      for (std::size_t k = 0; k < points; ++k, p += 3)
        meshes[i].points.push_back(squares[i](p[0] / float(net_.side), p[1] / float(net_.side)));
      meshes[i].presence = 1 / (1 + std::exp(-results[1][i]));
    }
    return meshes;
  }
  template <class Device>
  std::vector<Landmarks> landmarks(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    std::vector<Landmarks> all;
    for (const FaceMesh& m : mesh(dev, picture, faces)) all.push_back(landmarks_of_mesh(m.points));
    return all;
  }

 private:
  SquareNet net_;
};

class FaceApiLandmarker {
 public:
  // The manifest of face-api's landmark net, or of its tiny one. Errors: as face_api_net; kFormat (another net).
  explicit FaceApiLandmarker(const std::string& manifest)
      : net_{face_api_net(manifest), 112, {122.782f, 117.001f, 104.298f}} {
    if (net_.net.output_size(0) != 2 * kPoints) throw Error(ErrorKind::kFormat, manifest + ": is no net of 68 points");
  }

  // Errors: as media::check_pixels.
  template <class Device>
  std::vector<Landmarks> landmarks(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    media::check_pixels(picture, "FaceApiLandmarker");
    std::vector<TurnedSquare> squares;
    for (const Detection& d : faces) squares.push_back(square_around(d, kScale, kDown));
    const auto results = net_.run(dev, picture, squares);
    const float* p = results[0].data();
    std::vector<Landmarks> all(faces.size());
    for (std::size_t i = 0; i < faces.size(); ++i)
      for (std::size_t k = 0; k < kPoints; ++k, p += 2) all[i][k] = squares[i](p[0], p[1]);
    return all;
  }

 private:
  static constexpr float kScale = 1.2f, kDown = 0.1f;
  SquareNet net_;
};

// Either of them.
class Landmarker {
 public:
  // path: a .tflite file, or a manifest (.json). Errors: as FaceMesher, FaceApiLandmarker.
  explicit Landmarker(const std::string& path) : net_(open(path)) {}

  template <class Device>
  std::vector<Landmarks> landmarks(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    return std::visit([&](auto& net) { return net.landmarks(dev, picture, faces); }, net_);
  }

 private:
  using Net = std::variant<FaceMesher, FaceApiLandmarker>;
  static Net open(const std::string& path) {
    if (path.ends_with(".json")) return FaceApiLandmarker(path);
    return FaceMesher(path);
  }
  Net net_;
};

}  // namespace facellava::faces

// 68 landmarks of detected faces, by MediaPipe's face mesh: each face is turned upright, enlarged and sampled at the
// net's size; the mesh's points go back to pixels of the picture, and the 68 are means of them.
// Source: "Attention Mesh" (arXiv 2006.10962); MediaPipe's face_landmark graphs.
#pragma once
#include "facellava/faces/detector.hpp"
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

// Half as large again as the box, its eyes level.
inline TurnedSquare square_around(const Detection& d) {
  const Point a = d.keypoints[0], b = d.keypoints[1];
  return {{d.box.x + d.box.width / 2, d.box.y + d.box.height / 2},
          1.5f * std::max(d.box.width, d.box.height),
          std::atan2(b.y - a.y, b.x - a.x)};
}

struct FaceMesh {
  std::vector<Point> points;  // 468 or 478, in pixels of the picture
  float presence = 0;         // from 0 to 1: whether this is a face at all
};

class Landmarker {
 public:
  // The .tflite file of a face mesh (468 points, or 478 with irises). Errors: as ConvNet; kFormat (another net).
  explicit Landmarker(const std::string& path) : net_(path) {
    const auto& shape = net_.input_shape();
    const Index numbers = net_.output_size(0);
    if (shape.size() != 3 || shape[0] != shape[1] || shape[2] != 3 || net_.outputs() < 2 || net_.output_size(1) != 1 ||
        numbers % 3 != 0 || numbers < 3 * kMeshPoints)
      throw Error(ErrorKind::kFormat, path + ": is no face mesh");
    side_ = int(shape[0]);
  }

  // The meshes of the faces of one picture, in batches, so that a crowd needs no more memory than a batch.
  template <class Device>
  std::vector<FaceMesh> mesh(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    media::check_pixels(picture, "Landmarker");
    std::vector<FaceMesh> meshes;
    for (std::size_t first = 0; first < faces.size(); first += kBatch)
      add_batch(dev, picture, faces.subspan(first, std::min(kBatch, faces.size() - first)), meshes);
    return meshes;
  }
  template <class Device>
  std::vector<Landmarks> landmarks(Device& dev, const media::PixelView& picture, std::span<const Detection> faces) {
    std::vector<Landmarks> all;
    for (const FaceMesh& m : mesh(dev, picture, faces)) all.push_back(landmarks_of_mesh(m.points));
    return all;
  }

 private:
  static constexpr std::size_t kBatch = 16;

  template <class Device>
  void add_batch(Device& dev, const media::PixelView& picture, std::span<const Detection> faces,
                 std::vector<FaceMesh>& meshes) {
    const std::size_t numbers = std::size_t(side_) * std::size_t(side_) * 3;
    input_.resize(faces.size() * numbers);
    for (std::size_t i = 0; i < faces.size(); ++i)
      sample(input_.data() + i * numbers, picture, square_around(faces[i]));
    const auto results = net_.run(dev, input_, int(faces.size()), work_);
    const std::size_t points = std::size_t(net_.output_size(0)) / 3;
    for (std::size_t i = 0; i < faces.size(); ++i) {
      const TurnedSquare square = square_around(faces[i]);
      FaceMesh& mesh = meshes.emplace_back();
      const float* p = results[0].data() + i * points * 3;
      for (std::size_t k = 0; k < points; ++k, p += 3)
        mesh.points.push_back(square(p[0] / float(side_), p[1] / float(side_)));
      mesh.presence = 1 / (1 + std::exp(-results[1][i]));
    }
  }
  // Point (j, i) of the net lies at (j, i) / side of the square; bilinear, from 0 to 1; black outside.
  void sample(float* to, const media::PixelView& v, const TurnedSquare& square) const {
    const Point corner = square(0, 0), right = square(1, 0), below = square(0, 1);
    const float n = float(side_);
    const Point across{(right.x - corner.x) / n, (right.y - corner.y) / n};
    const Point down{(below.x - corner.x) / n, (below.y - corner.y) / n};
    for (int i = 0; i < side_; ++i)
      for (int j = 0; j < side_; ++j, to += 3) {
        const float x = float(j), y = float(i);
        const auto colour =
            detail::bilinear(v, corner.x + x * across.x + y * down.x, corner.y + x * across.y + y * down.y);
        for (std::size_t c = 0; c < 3; ++c) to[c] = std::nearbyint(colour[c]) / 255;
      }
  }

  ConvNet net_;
  ConvNet::Workspace work_;
  std::vector<float> input_;
  int side_ = 0;
};

}  // namespace facellava::faces

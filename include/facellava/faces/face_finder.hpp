// Every face of a picture: box, score, keypoints, 68 landmarks, as one call.
#pragma once
#include <optional>

#include "facellava/faces/crop.hpp"
#include "facellava/faces/landmarker.hpp"

namespace facellava::faces {

struct Face {
  Detection detection;
  Landmarks landmarks{};  // in pixels of the picture
};

// Which detector looks. kBoth: what the short-range one finds, as it finds it, and what only the other one sees.
enum class DetectionRange { kShort, kFull, kBoth };
enum class LandmarkNet { kFaceApi, kMesh };

struct FaceFinderOptions {
  DetectionRange range = DetectionRange::kBoth;
  LandmarkNet landmarks = LandmarkNet::kFaceApi;
  DetectorOptions detector{};
  float alone_score = 0.7f;  // with kBoth: least score of a face that the full-range detector does not confirm
};

class FaceFinder {
 public:
  // folder: holds the nets that the options name: face_detector.tflite, face_detector_full_range.tflite,
  // face_landmark_68_model-weights_manifest.json with its shard, face_landmarks_detector.tflite.
  // Errors: as Detector, Landmarker.
  explicit FaceFinder(const std::string& folder, const FaceFinderOptions& options = {})
      : options_(options),
        near_(open(options.range != DetectionRange::kFull, folder + "/face_detector.tflite")),
        far_(open(options.range != DetectionRange::kShort, folder + "/face_detector_full_range.tflite")),
        landmarker_(folder + (options.landmarks == LandmarkNet::kMesh
                                  ? "/face_landmarks_detector.tflite"
                                  : "/face_landmark_68_model-weights_manifest.json")) {}

  // The largest face first; none is no error. Errors: as media::check_pixels.
  template <class Device>
  std::vector<Face> find(Device& dev, const media::PixelView& picture) {
    return with_landmarks(dev, picture, detect(dev, picture));
  }

  // The two halves of it.
  template <class Device>
  std::vector<Detection> detect(Device& dev, const media::PixelView& picture) {
    std::vector<Detection> found;
    if (near_) found = near_->detect(dev, picture, options_.detector);
    if (far_) found = merged(std::move(found), far_->detect(dev, picture, options_.detector));
    std::stable_sort(found.begin(), found.end(), [](const Detection& a, const Detection& b) {
      return a.box.width * a.box.height > b.box.width * b.box.height;
    });
    return found;
  }
  template <class Device>
  std::vector<Face> with_landmarks(Device& dev, const media::PixelView& picture, std::span<const Detection> found) {
    const auto landmarks = landmarker_.landmarks(dev, picture, found);
    std::vector<Face> faces;
    for (std::size_t i = 0; i < found.size(); ++i) faces.push_back({found[i], landmarks[i]});
    return faces;
  }

 private:
  static std::optional<Detector> open(bool wanted, const std::string& path) {
    if (!wanted) return {};
    return Detector(path);
  }
  // Near ones, and far ones that are none of these. A near one that no far one confirms must be sure of itself, and
  // hold the middle of no far one: where small faces stand together the short-range detector sees one large face.
  std::vector<Detection> merged(std::vector<Detection> near, const std::vector<Detection>& far) const {
    const auto same = [&](const Box& a, const Box& b) { return detail::overlap(a, b) > options_.detector.max_overlap; };
    const auto holds = [](const Box& a, const Box& b) {
      const float x = b.x + b.width / 2 - a.x, y = b.y + b.height / 2 - a.y;
      return x > 0 && y > 0 && x < a.width && y < a.height;
    };
    const auto any = [](const std::vector<Detection>& all, auto test) {
      return std::any_of(all.begin(), all.end(), [&](const Detection& d) { return test(d.box); });
    };
    std::erase_if(near, [&](const Detection& n) {
      if (any(far, [&](const Box& f) { return same(n.box, f); })) return false;
      return n.score < options_.alone_score || any(far, [&](const Box& f) { return holds(n.box, f); });
    });
    std::vector<Detection> all = near;
    for (const Detection& f : far)
      if (!any(near, [&](const Box& n) { return same(n, f.box); })) all.push_back(f);
    return all;
  }

  FaceFinderOptions options_;
  std::optional<Detector> near_, far_;
  Landmarker landmarker_;
};

}  // namespace facellava::faces

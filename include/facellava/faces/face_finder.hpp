// Every face of a picture: box, score, keypoints, 68 landmarks, as one call.
#pragma once
#include "facellava/faces/crop.hpp"
#include "facellava/faces/landmarker.hpp"

namespace facellava::faces {

struct Face {
  Detection detection;
  Landmarks landmarks{};  // in pixels of the picture
};

class FaceFinder {
 public:
  // folder: holds face_detector.tflite and face_landmarks_detector.tflite. Errors: as Detector, Landmarker.
  explicit FaceFinder(const std::string& folder)
      : detector_(folder + "/face_detector.tflite"), landmarker_(folder + "/face_landmarks_detector.tflite") {}

  // The largest face first; none is no error. Errors: as media::check_pixels.
  template <class Device>
  std::vector<Face> find(Device& dev, const media::PixelView& picture, const DetectorOptions& o = {}) {
    auto found = detector_.detect(dev, picture, o);
    std::stable_sort(found.begin(), found.end(), [](const Detection& a, const Detection& b) {
      return a.box.width * a.box.height > b.box.width * b.box.height;
    });
    const auto landmarks = landmarker_.landmarks(dev, picture, found);
    std::vector<Face> faces;
    for (std::size_t i = 0; i < found.size(); ++i) faces.push_back({found[i], landmarks[i]});
    return faces;
  }

 private:
  Detector detector_;
  Landmarker landmarker_;
};

}  // namespace facellava::faces

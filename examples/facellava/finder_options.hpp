// Which nets look for faces: options of faces, ask and score.
#pragma once
#include <map>
#include <string>

#include "facellava/faces/face_finder.hpp"
#include "options.hpp"

namespace tool {

struct FinderOptions {
  std::string nets = FACELLAVA_NETS;  // folder
  facellava::faces::FaceFinderOptions options;

  void add_to(CLI::App& app) {
    using facellava::faces::DetectionRange;
    using facellava::faces::LandmarkNet;
    static const std::map<std::string, DetectionRange> kRanges{
        {"short", DetectionRange::kShort}, {"full", DetectionRange::kFull}, {"both", DetectionRange::kBoth}};
    static const std::map<std::string, LandmarkNet> kLandmarkNets{{"face-api", LandmarkNet::kFaceApi},
                                                                  {"mesh", LandmarkNet::kMesh}};
    app.add_option("--nets", nets, "Folder of the nets that find faces and landmarks")->capture_default_str();
    app.add_option("--range", options.range,
                   "Detector: short (faces of a tenth of the picture and more, as released), full (smaller ones too), "
                   "both; default: both")
        ->transform(CLI::CheckedTransformer(kRanges).description("short, full or both"));
    app.add_option("--landmark-net", options.landmarks, "face-api or mesh; default: face-api")
        ->transform(CLI::CheckedTransformer(kLandmarkNets).description("face-api or mesh"));
    app.add_option("--min-score", options.detector.min_score,
                   "Least score of a face; default: 0.5 (short) and 0.6 (full); both: 0.7 for what only short sees")
        ->check(CLI::Range(0.f, 1.f))
        ->each([this](const std::string&) { options.alone_score = 0; });
  }
  facellava::faces::FaceFinder open() const { return facellava::faces::FaceFinder(nets, options); }
};

}  // namespace tool

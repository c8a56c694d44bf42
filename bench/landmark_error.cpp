// landmark_error: how far the landmarks of each net lie from annotated ones, and which faces each detector finds.
//   landmark_error --nets examples/facellava/nets DATASET.xml...        (dlib's data sets, pictures beside them)
// The error of a face: the mean distance of the 68 points, over the distance of the outer corners of the eyes.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/dlib_xml.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"

using namespace facellava;

namespace {

double error(const faces::Landmarks& found, const faces::Landmarks& truth) {
  double sum = 0;
  for (std::size_t i = 0; i < kPoints; ++i) sum += std::hypot(found[i].x - truth[i].x, found[i].y - truth[i].y);
  return sum / kPoints / std::hypot(truth[36].x - truth[45].x, truth[36].y - truth[45].y);
}
faces::Box around(const faces::Landmarks& points) {
  faces::Box b{points[0].x, points[0].y, 0, 0};
  for (const faces::Point& p : points) {
    b.width = std::max(b.x + b.width, p.x) - std::min(b.x, p.x);
    b.height = std::max(b.y + b.height, p.y) - std::min(b.y, p.y);
    b.x = std::min(b.x, p.x);
    b.y = std::min(b.y, p.y);
  }
  return b;
}

struct Tally {
  int faces = 0, others = 0;  // annotated ones; detections of none of them
  std::vector<double> errors;

  void add(const std::vector<faces::Face>& found, std::span<const faces::LabelledFace> truth) {
    others += int(found.size());
    for (const faces::LabelledFace& t : truth) {
      if (!t.landmarks) continue;
      ++faces;
      const faces::Box box = around(*t.landmarks);
      const auto overlap = [&](const faces::Face& f) { return faces::detail::overlap(f.detection.box, box); };
      const auto best = std::max_element(found.begin(), found.end(),
                                         [&](const auto& a, const auto& b) { return overlap(a) < overlap(b); });
      if (best == found.end() || overlap(*best) < 0.3f) continue;
      --others;
      errors.push_back(error(best->landmarks, *t.landmarks));
    }
  }
  void print(const char* detector, const char* net) {
    std::sort(errors.begin(), errors.end());
    double sum = 0;
    for (double e : errors) sum += e;
    std::printf("| %s | %s | %zu of %d | %d | %.4f | %.4f |\n", detector, net, errors.size(), faces, others,
                errors.empty() ? 0 : sum / double(errors.size()), errors.empty() ? 0 : errors[errors.size() / 2]);
  }
};

void measure(const std::string& set, const std::string& nets) {
  using faces::DetectionRange;
  using faces::LandmarkNet;
  cpu::Device dev;
  std::printf(
      "\n%s\n| detector | landmarks | faces found | other detections | mean error | median |\n"
      "|---|---|---|---|---|---|\n",
      std::filesystem::path(set).filename().c_str());
  const auto images = faces::read_dlib_xml(set);
  for (const auto& [range, range_name] : {std::pair{DetectionRange::kShort, "short range"},
                                          {DetectionRange::kFull, "full range"},
                                          {DetectionRange::kBoth, "both"}})
    for (const auto& [net, net_name] :
         {std::pair{LandmarkNet::kFaceApi, "face-api"}, {LandmarkNet::kMesh, "face mesh"}}) {
      faces::FaceFinder finder(nets, {.range = range, .landmarks = net});
      Tally tally;
      for (const faces::LabelledImage& image : images) {
        const auto picture = media::read_image((std::filesystem::path(set).parent_path() / image.file).string());
        tally.add(finder.find(dev, picture.view()), image.faces);
      }
      tally.print(range_name, net_name);
    }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"How far the landmarks of each net lie from annotated ones, and which faces each detector finds"};
  std::string nets;
  std::vector<std::string> sets;
  app.add_option("--nets", nets, "folder of the nets: examples/facellava/nets")->required();
  app.add_option("sets", sets, "data sets of dlib, with the pictures beside them")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    for (const std::string& set : sets) measure(set, nets);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

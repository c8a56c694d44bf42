// What the tests of the face nets share: the nets, a device, photographs, what the released tool gave for them.
#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/detector.hpp"
#include "support/golden.hpp"

namespace facellava::test {

inline const std::string kNets = std::string(FACELLAVA_TEST_DATA) + "/../examples/facellava/nets/";

inline nlohmann::json crop_goldens() {
  return nlohmann::json::parse(std::ifstream(golden_path("preprocess/crop_face/crop_face.json")));
}
// A photograph of the goldens: in tests/assets, or beside the full set of goldens; empty: not here.
inline std::string photo(const std::string& name) {
  const std::string own =
      std::string(FACELLAVA_TEST_DATA) + "/assets/" + std::filesystem::path(name).filename().string();
  if (std::filesystem::exists(own)) return own;
  const std::string full = std::string(FACELLAVA_GOLDENS) + "/../../" + name;
  return std::filesystem::exists(full) ? full : "";
}
inline faces::Detector& detector() {
  static faces::Detector d(kNets + "face_detector.tflite");
  return d;
}
inline cpu::Device& device() {
  static cpu::Device dev({.threads = 2});
  return dev;
}

}  // namespace facellava::test

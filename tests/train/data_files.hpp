// Training files that tests of train/ make: good records of the goldens' pictures, and a data set of the tiny model.
#pragma once
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>

#include "facellava/models/configs.hpp"
#include "facellava/train/validate.hpp"
#include "io/scratch.hpp"
#include "support/golden.hpp"

namespace facellava::test {

using Json = nlohmann::json;

inline const std::string kFaceA = golden_path("preprocess/inputs/face_a_256.png"),
                         kFaceB = golden_path("preprocess/inputs/face_b_256.png"),
                         kPointsA = golden_path("landmarks/image_face_a_256.npy"),
                         kPointsB = golden_path("landmarks/image_face_b_256.npy"),
                         kClip = golden_path("preprocess/video_face_256_24fps.safetensors:frames_rgb"),
                         kClipPoints = golden_path("landmarks/video_face_256_24fps.npy");

inline Json turn(const std::string& from, const std::string& value) { return {{"from", from}, {"value", value}}; }
inline Json talk(const std::string& question, const std::string& answer) {
  return Json::array({turn("human", question), turn("gpt", answer)});
}
inline Json picture_record(const std::string& id, const std::string& question = "<image>\nHow old is the person?") {
  return {
      {"id", id}, {"image", kFaceA}, {"landmarks_2d", kPointsA}, {"conversations", talk(question, "About thirty.")}};
}
inline Json video_record(const std::string& id) {
  return {{"id", id},
          {"video", kClip},
          {"landmarks_2d", kClipPoints},
          {"conversations", talk("<video>\nWhat emotion?", "Neutral.")}};
}

inline std::shared_ptr<const text::Tokenizer> llama() {
  static const auto tokenizer = std::make_shared<const text::Tokenizer>(
      text::Tokenizer::from_file(golden_path("model_tiny/ckpt_bin_fp16/tokenizer.model"), text::Legacy::kNo));
  return tokenizer;
}

inline train::DataOptions tiny_options() {
  train::DataOptions o;
  o.model = configs::kTiny;
  o.padding = media::Padding::kSquare;
  o.context = 4096;
  return o;
}

// A file that exists only while it is read: a data set keeps what it needs of it.
inline train::DataSet data_set(const Json& records, const train::DataOptions& options = tiny_options()) {
  const Scratch folder;
  return {folder.write("data.json", records.dump()), llama(), options};
}

}  // namespace facellava::test

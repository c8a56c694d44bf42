// The tiny Face-LLaVA of the goldens: its cases as requests, and a model opened from either checkpoint.
#pragma once
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <map>

#include "facellava/models/configs.hpp"
#include "facellava/run/generate.hpp"
#include "facellava/run/model.hpp"
#include "support/devices.hpp"
#include "support/golden.hpp"

namespace facellava::test {

using TinyModel = run::Model<FaceLlava<configs::kTiny>, cpu::Device>;
inline constexpr int kTinyWidth = configs::kTiny.llama.block.dim, kTinyVocabulary = configs::kTiny.llama.vocab;

inline std::string tiny_folder(const std::string& format) { return golden_path("model_tiny/" + format); }
inline const run::ModelFolder& bf16_folder() {
  static const run::ModelFolder f({tiny_folder("ckpt_safetensors_bf16")});
  return f;
}

// [3, frames, plane] to [frames, 3, plane]
inline std::vector<float> frames_first(const std::vector<float>& p, Index frames) {
  const Index plane = Index(p.size()) / 3 / frames;
  std::vector<float> o(p.size());
  for (Index f = 0; f < frames; ++f)
    for (Index c = 0; c < 3; ++c)
      std::copy_n(p.begin() + (c * frames + f) * plane, plane, o.begin() + (f * 3 + c) * plane);
  return o;
}

struct TinyCase {
  Golden golden;
  nlohmann::json meta;
  std::vector<run::Request> requests;
  std::vector<std::vector<Index>> rows;  // of each request: its unpadded rows in the padded golden tensors

  explicit TinyCase(const std::string& name) : golden("model_tiny/cases/" + name + ".safetensors") {
    meta = nlohmann::json::parse(std::ifstream(golden_path("model_tiny/cases/" + name + ".json")));
    const auto ids = golden.integers("input_ids");
    const Index batch = golden.shape("input_ids")[0], width = golden.shape("input_ids")[1];
    const auto mask =
        golden.has("attention_mask") ? golden.integers("attention_mask") : std::vector<std::int64_t>(ids.size(), 1);
    requests.resize(std::size_t(batch));
    for (Index i = 0; i < batch * width; ++i)
      if (mask[std::size_t(i)]) requests[std::size_t(i / width)].ids.push_back(int(ids[std::size_t(i)]));
    read_media();
    for (Index b = 0; b < batch; ++b) {
      rows.emplace_back();
      if (!golden.has("attention_mask_expanded")) {
        for (Index i = 0; i < run::rows_of(configs::kTiny, requests[std::size_t(b)]); ++i) rows.back().push_back(i);
        continue;
      }
      const auto expanded = golden.integers("attention_mask_expanded");
      const Index length = golden.shape("attention_mask_expanded")[1];
      for (Index i = 0; i < length; ++i)
        if (expanded[std::size_t(b * length + i)]) rows.back().push_back(i);
    }
  }
  // Long cases keep every 16th position only.
  std::string suffix() const { return golden.has("hidden_final") ? "" : ".every16"; }

 private:
  void read_media() {
    if (meta["images"].is_null()) return;
    for (std::size_t k = 0; k < meta["images"].size(); ++k) {
      const std::string path = meta["images"][k];
      const Golden file(path.substr(0, path.find(':')));
      const std::string tensor = path.substr(path.find(':') + 1);
      run::MediumInput m;
      m.pixels = file.floats(tensor);
      if (file.shape(tensor).size() > 3) {
        m.kind = text::Medium::kVideo;
        m.pixels = frames_first(m.pixels, 8);
      }
      if (golden.has("landmarks." + std::to_string(k))) m.points = golden.floats("landmarks." + std::to_string(k));
      requests[requests.size() == 1 ? 0 : k].media.push_back(std::move(m));
    }
  }
};

inline const char* const kTinyCases[] = {"image_landmarks",      "image_no_landmarks",  "text_only",
                                         "two_images_landmarks", "video_landmarks",     "video_no_landmarks",
                                         "batch2_right_padding", "batch2_left_padding", "batch2_video_and_image"};

// Keeps what a session reports.
class Keeper : public run::Observer {
 public:
  bool wants_values() const override { return true; }
  bool wants_logits() const override { return true; }
  void see(std::size_t request, const char* name, const std::vector<Index>& shape, const float* values) override {
    Index n = 1;
    for (Index d : shape) n *= d;
    auto& kept = values_[{request, name}];
    kept.insert(kept.end(), values, values + n);
  }
  const std::vector<float>& at(std::size_t request, const std::string& name) const {
    return values_.at({request, name});
  }

 private:
  std::map<std::pair<std::size_t, std::string>, std::vector<float>> values_;
};

}  // namespace facellava::test

// Collects what a session computes, by request, for `ask --dump`.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/run/request.hpp"

namespace tool {

class Dump : public facellava::run::Observer {
  using Index = facellava::Index;

 public:
  bool wants_values() const override { return true; }
  bool wants_logits() const override { return true; }

  // Rows of one name are put one behind the other; media of different kinds in one request are flat.
  void see(std::size_t request, const char* name, const std::vector<Index>& shape, const float* values) override {
    Entry& e = entries_[std::to_string(request) + "." + name];
    const std::size_t first = e.values.size();
    Index count = 1;
    for (Index d : shape) count *= d;
    e.values.insert(e.values.end(), values, values + count);
    std::vector<Index> part = shape;
    const bool clip = std::string(name) == "pixels" && shape[0] > 1;
    if (clip) channels_first(e.values.data() + first, part);
    if (e.shape.empty())
      e.shape = part;
    else if (!clip && part.size() == e.shape.size() && std::equal(part.begin() + 1, part.end(), e.shape.begin() + 1))
      e.shape[0] += part[0];
    else
      e.shape = {Index(e.values.size())};
  }
  void add_ids(std::size_t request, const std::string& name, const std::vector<int>& ids) {
    integers_[std::to_string(request) + "." + name].assign(ids.begin(), ids.end());
  }
  void write(const std::string& path) {
    std::vector<facellava::io::NamedTensor> tensors;
    for (auto& [name, e] : entries_) {
      std::vector<Index> shape = e.shape;
      if (of_pictures(name) && shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());  // one picture
      tensors.push_back({name, facellava::io::DType::kF32, shape, std::as_bytes(std::span(e.values))});
    }
    for (const auto& [name, ids] : integers_)
      tensors.push_back({name, facellava::io::DType::kI64, {Index(ids.size())}, std::as_bytes(std::span(ids))});
    facellava::io::write_safetensors(path, tensors);
  }

 private:
  // [frames, 3, H, W] to [3, frames, H, W], as the official code has a video.
  static void channels_first(float* values, std::vector<Index>& shape) {
    const Index frames = shape[0], plane = shape[2] * shape[3];
    const std::vector<float> from(values, values + frames * 3 * plane);
    for (Index f = 0; f < frames; ++f)
      for (Index c = 0; c < 3; ++c)
        std::copy_n(&from[std::size_t((f * 3 + c) * plane)], plane, values + (c * frames + f) * plane);
    std::swap(shape[0], shape[1]);
  }
  static bool of_pictures(const std::string& name) {
    const std::string leaf = name.substr(name.find('.') + 1);
    return leaf != "inputs_embeds" && leaf != "hidden_final" && leaf != "logits";
  }
  struct Entry {
    std::vector<facellava::Index> shape;
    std::vector<float> values;
  };
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::vector<std::int64_t>> integers_;
};

}  // namespace tool

// A training file: its records read and checked, one sample loaded at a time. No sample ever stands in for another: one
// that is broken is an error, unless the caller says how many may be left out.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "facellava/io/json.hpp"
#include "facellava/run/any_session.hpp"
#include "facellava/run/media_files.hpp"
#include "facellava/run/model_folder.hpp"
#include "facellava/text/tokenizer.hpp"
#include "facellava/train/labels.hpp"
#include "facellava/train/record.hpp"
#include "facellava/train/sample.hpp"

namespace facellava::train {

inline constexpr std::size_t kMaxDataBytes = std::size_t(1) << 30;

struct DataOptions {
  FaceLlavaConfig model = {};  // what its towers take, and whether it uses landmarks
  text::Template prompt_template = text::Template::kV1;
  text::LabelOptions labels = {};
  faces::LandmarkNormalisation landmarks = faces::LandmarkNormalisation::kBy256;
  media::Padding padding = media::Padding::kNone;  // of pictures; videos never are
  Index context = 2048;                            // rows of a sample, visual ones too
  std::string root = {};                           // of relative paths; empty: the folder of the file
  run::VideoSource videos = {};
  Conversations conversations = Conversations::kRead;  // kSkipped: nor are landmarks read
  std::vector<Head> heads = {};                        // that learn the records' labels,
  text::Medium head_tower = text::Medium::kImage;      // from the features of this tower
};

// As the model in a folder is trained: the released models by v1, though their inference is by llava_v1.
inline DataOptions data_options(const run::ModelFolder& folder) {
  const run::Settings& s = folder.settings();
  DataOptions o;
  o.model = folder.geometry();
  if (s.prompt_template != text::Template::kLlavaV1) o.prompt_template = s.prompt_template;
  o.labels.bos = s.bos;
  o.landmarks = s.landmarks;
  o.padding = s.training_padding;
  o.context = s.positions;
  return o;
}

class DataSet {
 public:
  // Reads the file, and no media. tokenizer: may be null where conversations are skipped. Errors: kFile; kFormat (no
  // JSON, no list, an empty one); kArgument (labels that the template cannot have). What is wrong with single records
  // waits in them.
  DataSet(const std::string& file, std::shared_ptr<const text::Tokenizer> tokenizer, DataOptions options)
      : file_(file), tokenizer_(std::move(tokenizer)), options_(std::move(options)) {
    if (reads_text()) text::check_label_options(*tokenizer_, options_.prompt_template, options_.labels);
    const nlohmann::json json = io::read_json(file, kMaxDataBytes);
    if (!json.is_array() || json.empty())
      throw Error(ErrorKind::kFormat, file + ": expected a list of records, found " +
                                          (json.is_array() ? "an empty one" : json.type_name()));
    const std::filesystem::path root =
        options_.root.empty() ? std::filesystem::path(file).parent_path() : std::filesystem::path(options_.root);
    for (const auto& record : json)
      for (Record& r : read_record(record, record_count_++, root, options_.conversations)) {
        with_landmarks_ = with_landmarks_ || !r.landmarks.empty();
        samples_.push_back(std::move(r));
      }
  }

  std::size_t size() const { return samples_.size(); }  // samples: a conversation each
  std::size_t records() const { return record_count_; }
  const Record& operator[](std::size_t i) const {
    check_index(i, size(), file_ + ": sample");
    return samples_[i];
  }
  const std::string& file() const { return file_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  const DataOptions& options() const { return options_; }

  // The sample without its media. Error kFormat, which names the record, for a faulty one.
  Sample encode(std::size_t i) const {
    std::vector<Fault> faults = (*this)[i].faults;
    Sample s = faults.empty() ? encode(i, faults) : Sample();
    if (!faults.empty()) throw Error(ErrorKind::kFormat, file_ + ": " + faults[0].text());
    return s;
  }

  // The whole sample. Error kFormat, which names the record, for a faulty one.
  Sample load(std::size_t i) const {
    Sample s = encode(i);
    load_media(s);
    return s;
  }

  // Loads the media of a sample that has none yet. Errors: as load.
  void load_media(Sample& s) const {
    const Record& r = (*this)[s.index];
    std::vector<Fault> faults;
    for (std::size_t m = 0; m < r.media.size() && faults.empty(); ++m) s.request.media.push_back(medium(r, m, faults));
    if (!faults.empty()) throw Error(ErrorKind::kFormat, file_ + ": " + faults[0].text());
    if (reads_text()) run::check_media(s.request, r.record, options_.model.video.block.frames);
  }

  // What is wrong with a sample, its files included; `seen`: one whose media were checked already, if it has the same.
  std::vector<Fault> check(std::size_t i, const Record* seen = nullptr) const {
    const Record& r = (*this)[i];
    std::vector<Fault> faults = r.faults;
    if (faults.empty()) {
      encode(i, faults);
      if (with_landmarks_ && reads_text() && !r.media.empty() && r.landmarks.empty() && !r.without_landmarks &&
          options_.model.landmarks != Landmarks::kAbsent)
        faults.push_back(fault(r, "landmarks_2d", "landmarks, which other records have", "none"));
    }
    if (!seen || !same_media(*seen, r))
      for (std::size_t m = 0; m < r.media.size(); ++m) medium(r, m, faults);
    return faults;
  }

 private:
  static Fault fault(const Record& r, std::string field, std::string expected, std::string found) {
    return {r.record, r.id, std::move(field), std::move(expected), std::move(found)};
  }
  // "WHERE: expected E, found F", or any other message.
  static Fault fault(const Record& r, std::string field, const std::string& expected, const Error& e) {
    const std::string what = e.what();
    const auto at = what.find(": expected "), found = what.find(", found ", at == std::string::npos ? 0 : at);
    if (at == std::string::npos || found == std::string::npos) return fault(r, std::move(field), expected, what);
    return fault(r, std::move(field), what.substr(at + 11, found - at - 11),
                 what.substr(found + 8) + " (" + what.substr(0, at) + ")");
  }

  bool reads_text() const { return options_.conversations == Conversations::kRead; }

  Sample encode(std::size_t i, std::vector<Fault>& faults) const {
    const Record& r = samples_[i];
    Sample s;
    s.index = i;
    add_labels(s, r, faults);
    if (!reads_text()) return s;
    s.rows_of_slot = (r.kind == text::Medium::kVideo ? options_.model.video : options_.model.image).features();
    text::LabelledText t;
    try {
      t = text::label_conversation(*tokenizer_, options_.prompt_template, r.turns, options_.labels);
    } catch (const Error& e) {
      faults.push_back(fault(r, "conversations", "turns that the template can write", e));
      return s;
    }
    s.request.ids = std::move(t.ids);
    s.labels = std::move(t.labels);
    if (t.cut > 0)
      faults.push_back(fault(r, "conversations",
                             "at most " + std::to_string(options_.labels.most_text_tokens) + " tokens without media",
                             std::to_string(int(s.labels.size()) + t.cut)));
    else if (rows_of(s) > options_.context)
      faults.push_back(fault(r, "conversations",
                             "at most " + std::to_string(options_.context) + " tokens, those of the media included",
                             std::to_string(rows_of(s))));
    else if (supervised(s) == 0)
      faults.push_back(fault(r, "conversations", "an answer to learn", nothing_learned(t)));
    return s;
  }

  void add_labels(Sample& s, const Record& r, std::vector<Fault>& faults) const {
    for (const Head& h : options_.heads)
      if (const auto expected = add_targets(s.targets, h, r.labels))
        faults.push_back(fault(r, "labels." + h.learns(), *expected, r.labels[h.learns()].dump()));
    const bool labelled =
        std::any_of(s.targets.begin(), s.targets.end(), [](float label) { return !std::isnan(label); });
    const bool fits = r.media.size() == 1 && r.kind == options_.head_tower;
    if (labelled && !fits)
      faults.push_back(fault(
          r, "labels",
          options_.head_tower == text::Medium::kVideo ? "one video that they are of" : "one image that they are of",
          detail::number_of(r.media.size(), r.kind == text::Medium::kVideo ? "video" : "image")));
    if (!labelled && !reads_text() && faults.empty())
      faults.push_back(fault(r, "labels", "one that a head learns", "none"));
  }

  static std::string nothing_learned(const text::LabelledText& t) {
    if (!t.mismatch) return "none";
    return "every label masked: the policy reference counts " + std::to_string(t.mismatch->counted) + " tokens of " +
           std::to_string(t.mismatch->found) + " (the policy corrected keeps such samples)";
  }

  run::MediumInput medium(const Record& r, std::size_t m, std::vector<Fault>& faults) const {
    const auto field = [&](const std::string& name) {
      return name + (r.media.size() > 1 ? "[" + std::to_string(m) + "]" : "");
    };
    const bool is_video = r.kind == text::Medium::kVideo;
    run::ReadMedium read;
    try {
      read = read_pixels(r, r.media[m]);
    } catch (const Error& e) {
      faults.push_back(fault(r, field(is_video ? "video" : "image"), is_video ? "a video" : "a picture", e));
      return {};
    }
    try {
      if (r.landmarks.size() == r.media.size() && reads_text())
        read.input.points = run::read_points(r.landmarks[m], r.kind, read.size, options_.model, options_.landmarks);
    } catch (const Error& e) {
      faults.push_back(fault(r, field("landmarks_2d"), "68 landmarks a frame", e));
    }
    return std::move(read.input);
  }

  run::ReadMedium read_pixels(const Record& r, const std::string& path) const {
    const bool is_video = r.kind == text::Medium::kVideo;
    const auto tensor = run::tensor_name(path);
    if (!tensor)
      return is_video ? run::read_video(path, options_.model.video, options_.videos)
                      : run::read_picture(path, options_.model.image, options_.padding);
    run::ReadMedium read = run::read_tensor(*tensor, options_.model);
    if (read.input.kind != r.kind)
      throw Error(ErrorKind::kShape, path + ": expected the tensor of " + (is_video ? "a video" : "an image") +
                                         ", found that of " + (is_video ? "an image" : "a video"));
    return read;
  }

  std::string file_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  DataOptions options_;
  std::size_t record_count_ = 0;
  std::vector<Record> samples_;
  bool with_landmarks_ = false;
};

}  // namespace facellava::train

// One entry of a training file, in the schema of the released code:
//   {"id": "7", "image": "a.png", "landmarks_2d": "a.npy",
//    "conversations": [{"from": "human", "value": "<image>\nHow old?"}, {"from": "gpt", "value": "About thirty."}]}
// `video` in place of `image`; both and landmarks_2d may be lists, one landmark file a medium. F.safetensors:tensor
// stands for preprocessed pixels. "labels": {"age": 41, ...} is for heads. conversations may also be a list of
// conversations about the same media, which becomes as many samples. docs/training_data.md says what is refused.
#pragma once
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/text/prompt.hpp"
#include "facellava/text/unicode_classes.hpp"
#include "facellava/text/utf8.hpp"

namespace facellava::train {

enum class Severity { kError, kWarning };

struct Fault {
  std::size_t record = 0;  // place in the file, from 0
  std::string id, field, expected, found;
  Severity severity = Severity::kError;

  // One line, whatever the file holds.
  std::string text() const {
    std::string line = "record " + std::to_string(record) + (id.empty() ? "" : " (id \"" + id + "\")") + ", " + field +
                       ": expected " + expected + ", found " + found;
    std::replace_if(
        line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; }, '?');
    return line;
  }
};

// A conversation and its media. One with faults is no sample: it stands for what the file has in its place.
struct Record {
  std::size_t record = 0;  // place in the file, from 0
  std::string id;          // may be empty
  text::Medium kind = text::Medium::kImage;
  std::vector<std::string> media, landmarks;  // files under the root; landmarks: one a medium, or none at all
  bool without_landmarks = false;             // it says "none": where others have them, it is no fault
  std::vector<text::Turn> turns;
  nlohmann::json labels;  // an object, or null
  std::vector<Fault> faults;
};

enum class Conversations { kRead, kSkipped };  // kSkipped: where labels alone are learned; there may be none

inline bool same_media(const Record& a, const Record& b) {
  return a.kind == b.kind && a.media == b.media && a.landmarks == b.landmarks;
}

// Words of all turns, as the released sampler measures samples; negative for text alone. (Python: str.split)
inline int modality_length(const Record& r) {
  int words = 0;
  for (const text::Turn& turn : r.turns) {
    bool inside = false;
    for (std::string_view rest = turn.text; !rest.empty();) {
      const auto c = text::first_char(rest);
      const char32_t code = c.state == text::Utf8::kValid ? text::code_point(rest.substr(0, c.bytes)) : U'?';
      const bool space = text::is_space(code) || (code >= 0x1C && code <= 0x1F);  // Python's four separators too
      words += !space && !inside;
      inside = !space;
      rest.remove_prefix(c.bytes);
    }
  }
  return r.media.empty() ? -words : words;
}

namespace detail {

inline bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

inline std::string number_of(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

// Reads one entry, and notes everything that is wrong with it.
class RecordReader {
 public:
  RecordReader(const nlohmann::json& json, std::size_t number, const std::filesystem::path& root, Conversations c)
      : json_(json), root_(root), conversations_(c) {
    record_.record = number;
  }

  // One a conversation; one with faults alone where there are any.
  std::vector<Record> read() {
    if (!json_.is_object()) {
      fault("record", "an object", json_.type_name());
      return {std::move(record_)};
    }
    read_id();
    for (const auto& [key, value] : json_.items())
      if (key != "id" && key != "image" && key != "video" && key != "landmarks_2d" && key != "conversations" &&
          key != "labels")
        fault(key, "a key among id, image, video, landmarks_2d, conversations, labels", "another");
    read_media();
    if (const auto* labels = member("labels")) {
      record_.labels = *labels;
      if (!labels->is_object()) fault("labels", "an object", labels->type_name());
    }
    if (conversations_ == Conversations::kSkipped) return {std::move(record_)};
    std::vector<Record> records;
    for (std::vector<text::Turn>& turns : read_conversations()) {
      records.push_back(record_);
      records.back().turns = std::move(turns);
    }
    if (record_.faults.empty()) return records;
    return {std::move(record_)};
  }

 private:
  void fault(std::string field, std::string expected, std::string found) {
    record_.faults.push_back({record_.record, record_.id, std::move(field), std::move(expected), std::move(found)});
  }

  const nlohmann::json* member(const char* key) const {
    const auto at = json_.find(key);
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }

  void read_id() {
    const auto* id = member("id");
    if (!id) return;
    if (id->is_string())
      record_.id = id->get<std::string>();
    else if (id->is_number_integer())
      record_.id = id->dump();
    else
      fault("id", "a string or an integer", id->type_name());
  }

  std::vector<std::string> read_paths(const char* key) {
    std::vector<std::string> paths;
    const auto* value = member(key);
    if (!value) return paths;
    const auto take = [&](const nlohmann::json& v, const std::string& field) {
      if (!v.is_string() || v.get_ref<const std::string&>().empty())
        fault(field, "a path", v.is_string() ? "an empty string" : v.type_name());
      else
        paths.push_back((root_ / v.get<std::string>()).string());
    };
    if (!value->is_array()) take(*value, key);
    if (value->is_array() && value->empty()) fault(key, "at least one path", "an empty list");
    if (value->is_array())
      for (std::size_t i = 0; i < value->size(); ++i) take((*value)[i], key + ("[" + std::to_string(i)) + "]");
    return paths;
  }

  void read_media() {
    const std::size_t before = record_.faults.size();
    if (member("image") && member("video")) return fault("video", "either an image or a video", "both");
    record_.kind = member("video") ? text::Medium::kVideo : text::Medium::kImage;
    record_.media = read_paths(member("video") ? "video" : "image");
    media_known_ = record_.faults.size() == before;
    const auto* landmarks = member("landmarks_2d");
    record_.without_landmarks = landmarks && *landmarks == "none";
    if (!landmarks || record_.without_landmarks) return;
    record_.landmarks = read_paths("landmarks_2d");
    if (media_known_ && record_.faults.size() == before && record_.landmarks.size() != record_.media.size())
      fault("landmarks_2d",
            number_of(record_.media.size(), "landmark file") + " for " + number_of(record_.media.size(), kind_name()),
            std::to_string(record_.landmarks.size()));
  }
  std::string kind_name() const { return record_.kind == text::Medium::kVideo ? "video" : "image"; }

  std::vector<std::vector<text::Turn>> read_conversations() {
    const std::string field = "conversations";
    const auto* value = member("conversations");
    if (!value || !value->is_array() || value->empty()) {
      fault(field, "a list of turns", !value ? "none" : value->is_array() ? "an empty one" : value->type_name());
      return {};
    }
    std::vector<std::vector<text::Turn>> all;
    if (!value->front().is_array())
      all.push_back(read_turns(*value, field));
    else
      for (std::size_t i = 0; i < value->size(); ++i) {
        const std::string at = field + "[" + std::to_string(i) + "]";
        if ((*value)[i].is_array() && !(*value)[i].empty())
          all.push_back(read_turns((*value)[i], at));
        else
          fault(at, "a list of turns", (*value)[i].is_array() ? "an empty one" : (*value)[i].type_name());
      }
    return all;
  }

  std::vector<text::Turn> read_turns(const nlohmann::json& list, const std::string& field) {
    std::vector<text::Turn> turns;
    const std::size_t before = record_.faults.size();
    for (std::size_t i = 0; i < list.size(); ++i) read_turn(list[i], field + "[" + std::to_string(i) + "]", turns);
    if (record_.faults.size() > before) return turns;
    if (turns.front().role != text::Role::kUser) fault(field + "[0].from", "human first", "gpt");
    if (turns.size() == 1) fault(field, "an answer of gpt", "a question alone");
    for (std::size_t i = 1; i < turns.size(); ++i)
      if (turns[i].role == turns[i - 1].role)
        fault(field + "[" + std::to_string(i) + "].from", "human and gpt in turn", "two turns of one in a row");
    check_tags(turns, field);
    return turns;
  }

  void read_turn(const nlohmann::json& json, const std::string& field, std::vector<text::Turn>& turns) {
    if (!json.is_object()) return fault(field, "an object with from and value", json.type_name());
    for (const auto& [key, value] : json.items())
      if (key != "from" && key != "value") fault(field + "." + key, "a key among from, value", "another");
    const auto string_of = [&](const char* key) -> std::optional<std::string> {
      const auto at = json.find(key);
      if (at != json.end() && at->is_string()) return at->get<std::string>();
      fault(field + "." + key, "a string", at == json.end() ? "none" : at->type_name());
      return {};
    };
    const auto from = string_of("from"), value = string_of("value");
    if (from && *from != "human" && *from != "gpt") fault(field + ".from", "human or gpt", "\"" + *from + "\"");
    if (from == "gpt" && value && is_blank(*value)) fault(field + ".value", "an answer", "an empty one");
    turns.push_back({from == "gpt" ? text::Role::kAssistant : text::Role::kUser, value.value_or("")});
  }

  // The tags say where the media stand: one a medium, or one <image> for each frame of a video.
  void check_tags(const std::vector<text::Turn>& turns, const std::string& field) {
    int images = 0, videos = 0;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      const std::string at = field + "[" + std::to_string(i) + "].value";
      const int more_images = text::detail::count(turns[i].text, text::kImageTag),
                more_videos = text::detail::count(turns[i].text, text::kVideoTag);
      images += more_images;
      videos += more_videos;
      if (turns[i].role == text::Role::kAssistant && more_images + more_videos > 0)
        fault(at, "no <image> or <video> in an answer", std::to_string(more_images + more_videos));
      if (more_videos > 1) fault(at, "at most one <video>", std::to_string(more_videos));
      if (more_images > text::kMostImages)
        fault(at, "at most " + std::to_string(text::kMostImages) + " <image>", std::to_string(more_images));
    }
    const int media = int(record_.media.size());
    const bool is_video = record_.kind == text::Medium::kVideo;
    const bool fits = is_video
                          ? (videos == media && images == 0) || (videos == 0 && images == text::kVideoFrames * media)
                          : images == media && videos == 0;
    if (media_known_ && !fits)
      fault(field,
            std::to_string(media) + (is_video ? " <video>" : " <image>") + " for " +
                number_of(record_.media.size(), kind_name()),
            std::to_string(images) + " <image> and " + std::to_string(videos) + " <video>");
  }

  const nlohmann::json& json_;
  const std::filesystem::path& root_;
  Conversations conversations_;
  Record record_;
  bool media_known_ = false;  // else what does not fit them is no fault of its own
};

}  // namespace detail

// Never throws for what an entry says: its faults are in the one record that then comes back.
inline std::vector<Record> read_record(const nlohmann::json& json, std::size_t number,
                                       const std::filesystem::path& root, Conversations c = Conversations::kRead) {
  return detail::RecordReader(json, number, root, c).read();
}

}  // namespace facellava::train

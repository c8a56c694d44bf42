// From options or a requests file to what a session is asked.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "finder_options.hpp"
#include "people.hpp"

namespace tool {

// What stands on the command line of ask and score, or in one entry of --requests.
struct Question {
  std::string prompt, question, prompt_template;  // prompt: verbatim; else a question in a template
  std::vector<std::string> images;                // a picture, or F.safetensors:tensor, preprocessed
  std::string video;                              // a file, or F.safetensors:tensor, [3, 8, H, W]
  std::vector<std::optional<std::string>> landmarks;
  bool without_landmarks = false;
  enum class FindFaces { kNever, kIfNeeded, kAlways } find_faces = FindFaces::kNever;  // and their landmarks
  FinderOptions finder;
  std::string missing_faces = "interpolate";  // in frames of a video

  void add_to(CLI::App& app, std::vector<std::string>& landmarks_option);
  void take_landmarks(const std::vector<std::string>& landmarks_option);
};

// A picture as the model sees it, and the 68 points in its pixels.
struct Seen {
  facellava::media::Image picture;
  facellava::faces::Landmarks points{};
};

struct Prepared {
  facellava::run::Request request;
  std::string prompt;
  bool landmarks_used = false;
  std::optional<facellava::faces::Detection> face;  // that was found and cut out
  std::vector<facellava::faces::Gap> gaps;          // of a video: among the frames that were looked at
  std::optional<Seen> seen;                         // of one picture with landmarks
};

// {"score", "box": [x, y, width, height]} in pixels of the picture.
nlohmann::json described(const facellava::faces::Detection&);
// [[first frame looked at, length]…]: where a face was missing.
nlohmann::json described(std::span<const facellava::faces::Gap>);
// "face at X, Y, W x H", whole pixels.
std::string place_of(const facellava::faces::Detection&);

std::vector<Question> read_requests(const std::string& file);

// Prompt and ids, once the media are there.
void finish(Prepared&, const Question&, std::span<const facellava::text::Medium> kinds, const Loaded&);
// One question about each face of a picture, the largest first; about each person of a video, the main one first.
std::vector<Prepared> prepare_faces(const Question&, const Loaded&);
std::vector<Prepared> prepare_people(const Question&, const Loaded&);
// One of a question; with faces to be found, one of each face, the largest first.
std::vector<Prepared> prepare(const Question&, const Loaded&);

// All requests of one batch: with landmarks or without, said explicitly where the model could use them.
std::vector<Prepared> prepare_all(std::span<const Question>, const Loaded&);

}  // namespace tool

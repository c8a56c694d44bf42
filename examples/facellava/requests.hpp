// From options or a requests file to what a session is asked.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "finder_options.hpp"

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

  void add_to(CLI::App& app, std::vector<std::string>& landmarks_option);
  void take_landmarks(const std::vector<std::string>& landmarks_option);
};

struct Prepared {
  facellava::run::Request request;
  std::string prompt;
  bool landmarks_used = false;
  std::optional<facellava::faces::Detection> face;  // that was found and cut out
};

// {"score", "box": [x, y, width, height]} in pixels of the picture.
nlohmann::json described(const facellava::faces::Detection&);
// "face at X, Y, W x H", whole pixels.
std::string place_of(const facellava::faces::Detection&);

std::vector<Question> read_requests(const std::string& file);
// One of a question; with faces to be found, one of each face, the largest first.
std::vector<Prepared> prepare(const Question&, const Loaded&);

// All requests of one batch: with landmarks or without, said explicitly where the model could use them.
std::vector<Prepared> prepare_all(std::span<const Question>, const Loaded&);

}  // namespace tool

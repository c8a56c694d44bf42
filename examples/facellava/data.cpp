// facellava data: a training file checked, and what a model would learn of its samples.
#include <unistd.h>

#include <algorithm>
#include <iomanip>
#include <iostream>

#include "facellava/text/load_tokenizer.hpp"
#include "facellava/train/validate.hpp"
#include "options.hpp"
#include "progress.hpp"
#include "video_file.hpp"

namespace tool {
namespace {

using namespace facellava;

struct DataOptions {
  std::string file, folder, tokenizer, image_tower, video_tower, root, prompt_template, masks = "reference";
  int context = 0;
  std::size_t sample = 0, most_faults = 100;
  bool json = false, color = false;

  void add_to(CLI::App& app) {
    app.add_option("file", file,
                   "Training data: a JSON list of records with image or video, landmarks_2d, conversations")
        ->required();
    app.add_option("--model", folder, "Folder of the model to train (config.json, weights, tokenizer.model)")
        ->required();
    app.add_option("--tokenizer", tokenizer, "tokenizer.model, if not the model folder's");
    app.add_option("--image-tower", image_tower, "LanguageBind image folder, if the model folder lacks the tower");
    app.add_option("--video-tower", video_tower, "LanguageBind video folder, likewise");
    app.add_option("--root", root, "Folder that relative paths begin at; default: the folder of the file");
    app.add_option("--template", prompt_template, "Prompt template; default: v1 for released models, else the model's");
    app.add_option("--masks", masks,
                   "Labels: reference: as the released code, which masks a whole sample where its counting of tokens "
                   "fails; corrected: by where the answers stand")
        ->check(CLI::IsMember({"reference", "corrected"}))
        ->capture_default_str();
    app.add_option("--context", context, "Most tokens of a sample, those of its media included; 0: the model's")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_flag("--json", json, "Print JSON");
  }

  train::DataSet open() const {
    const run::ModelFolder model({folder, image_tower, video_tower});
    train::DataOptions o = train::data_options(model);
    if (!prompt_template.empty()) o.prompt_template = text::template_from_name(prompt_template);
    if (masks == "corrected") o.labels.policy = text::MaskPolicy::kCorrected;
    if (context > 0) o.context = context;
    o.root = root;
    o.videos = video_source();
    auto words = tokenizer.empty()
                     ? text::load_tokenizer(folder)
                     : text::Tokenizer::from_file(tokenizer, text::read_legacy(folder + "/tokenizer_config.json"));
    return {file, std::make_shared<const text::Tokenizer>(std::move(words)), std::move(o)};
  }
};

nlohmann::json fault_json(const train::Fault& f) {
  return {{"record", f.record}, {"id", f.id},
          {"field", f.field},   {"expected", f.expected},
          {"found", f.found},   {"severity", f.severity == train::Severity::kError ? "error" : "warning"}};
}

void validate(const DataOptions& o) {
  const train::DataSet data = o.open();
  ProgressBar bar({"samples", 1});
  train::ValidateOptions options{.most_faults = o.most_faults};
  options.progress = [&](std::size_t done, std::size_t all) { bar.show(done, all); };
  const train::DataReport report = train::validate(data, options);
  if (o.json) {
    nlohmann::json faults = nlohmann::json::array();
    for (const train::Fault& f : report.faults) faults.push_back(fault_json(f));
    std::cout << nlohmann::json{{"records", report.records}, {"faulty_records", report.bad_records},
                                {"samples", data.size()},    {"good_samples", report.good_samples.size()},
                                {"faults", faults},          {"faults_left_off", report.left_off}}
                     .dump(1)
              << "\n";
  } else {
    for (const train::Fault& f : report.faults)
      std::cout << (f.severity == train::Severity::kWarning ? "warning: " : "") << f.text() << "\n";
    if (report.left_off > 0) std::cout << "and " << report.left_off << " more\n";
    std::cout << o.file << ": " << report.records << " records, " << report.bad_records << " of them faulty; "
              << report.good_samples.size() << " samples to train on\n";
  }
  if (!report.good()) throw CLI::RuntimeError(2);
}

std::string piece_of(const text::Tokenizer& tokenizer, int id) {
  if (id == text::kMediaSlot) return std::string(text::kImageTag);
  std::string shown(tokenizer.piece(id));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; }, ' ');
  return shown;
}

void print_pairs(const train::DataSet& data, const train::Sample& s, bool color) {
  constexpr const char *kLearned = "\033[32m", *kSlot = "\033[36m", *kContext = "\033[2m", *kReset = "\033[0m";
  for (std::size_t i = 0; i < s.labels.size(); ++i) {
    const int id = s.request.ids[i], label = s.labels[i];
    if (color) std::cout << (label != text::kIgnored ? kLearned : id == text::kMediaSlot ? kSlot : kContext);
    std::cout << std::setw(5) << i << std::setw(8) << id << std::setw(8) << label << "  "
              << piece_of(data.tokenizer(), id) << (color ? kReset : "") << "\n";
  }
}

void show(const DataOptions& o) {
  const train::DataSet data = o.open();
  if (o.sample >= data.size())
    throw Error(ErrorKind::kArgument, o.file + ": expected a sample below " + std::to_string(data.size()) + ", found " +
                                          std::to_string(o.sample));
  const train::Sample s = data.encode(o.sample);
  const train::Record& r = data[o.sample];
  if (o.json) {
    nlohmann::json pieces = nlohmann::json::array();
    for (const int id : s.request.ids) pieces.push_back(piece_of(data.tokenizer(), id));
    std::cout << nlohmann::json{{"record", r.record},   {"id", r.id},
                                {"media", r.media},     {"landmarks", r.landmarks},
                                {"ids", s.request.ids}, {"labels", s.labels},
                                {"pieces", pieces},     {"rows", train::rows_of(s)}}
                     .dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
              << "\n";
    return;
  }
  std::cout << "record " << r.record << (r.id.empty() ? "" : " (id \"" + r.id + "\")") << ": " << train::rows_of(s)
            << " tokens with those of the media, " << train::supervised(s) << " to learn\n"
            << "    i      id   label  piece\n";
  print_pairs(data, s, o.color || ::isatty(STDOUT_FILENO));
}

}  // namespace

void add_data(CLI::App& app) {
  auto o = std::make_shared<DataOptions>();
  CLI::App* command = app.add_subcommand("data", "Training data: validate, show");
  command->require_subcommand(1);
  CLI::App* check = command->add_subcommand(
      "validate", "Check every record and its files; a line for each fault, and exit code 2 if there are any");
  o->add_to(*check);
  check->add_option("--most-faults", o->most_faults, "Faults that are printed")->capture_default_str();
  check->callback([o] { validate(*o); });
  CLI::App* sample = command->add_subcommand("show", "Tokens and labels of a sample: what is learned, what is context");
  o->add_to(*sample);
  sample->add_option("sample", o->sample, "Which, from 0 on (a record has one for each of its conversations)")
      ->required();
  sample->add_flag("--color", o->color, "Colours, though stdout is no terminal");
  sample->callback([o] { show(*o); });
}

}  // namespace tool

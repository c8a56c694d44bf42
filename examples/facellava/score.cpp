// facellava score: how probable given answers are, all in one batched pass.
#include <iostream>

#include "facellava/run/generate.hpp"
#include "requests.hpp"

namespace tool {
namespace {

using namespace facellava;

struct Options {
  ModelOptions model;
  Question question;
  std::vector<std::string> landmarks, labels;
  std::string begin;
  bool json = false;
};

// The probabilities of the labels for one picture or face.
std::vector<run::LabelScore> score_one(const Options& o, const Loaded& loaded, Prepared& prepared) {
  const auto begin = loaded.tokenizer.encode(o.begin, text::Bos::kNo);
  if (!o.begin.empty()) prepared.request.ids.insert(prepared.request.ids.end(), begin.begin(), begin.end());
  std::vector<std::vector<int>> labels;
  run::SessionOptions options{.kv_rows = run::rows_of(loaded.model->config(), prepared.request),
                              .positions = loaded.folder.settings().positions,
                              .services = loaded.services};
  for (const std::string& label : o.labels) {
    labels.push_back(loaded.tokenizer.encode(label, text::Bos::kNo));
    if (labels.back().empty()) throw Error(ErrorKind::kArgument, "--labels: a label is empty");
    options.kv_rows += Index(labels.back().size());
  }
  const auto session = loaded.model->open(options);
  const auto prefix = session->prefill(std::span(&prepared.request, 1), 0)[0];
  const auto last = session->logits();
  return run::score_labels(*session, prefix, View<const float, Host, kDyn>(last.data, last.size(1)), labels);
}

void score(Options o) {
  const Loaded loaded = load(o.model);
  o.question.take_landmarks(o.landmarks);
  auto prepared = prepare(o.question, loaded);
  auto all = nlohmann::json::array();
  for (Prepared& p : prepared) {
    const auto scores = score_one(o, loaded, p);
    if (p.face && !o.json) std::cout << place_of(*p.face) << "\n";
    auto labels = nlohmann::json::array();
    for (std::size_t i = 0; i < scores.size(); ++i) {
      labels.push_back({{"label", o.labels[i]},
                        {"log_probability", scores[i].log_probability},
                        {"probability", scores[i].probability}});
      if (!o.json) std::printf("%6.2f %%  %s\n", 100 * double(scores[i].probability), o.labels[i].c_str());
    }
    all.push_back({{"labels", labels}, {"landmarks_used", p.landmarks_used}});
    if (p.face) all.back()["face"] = described(*p.face);
  }
  if (o.json)
    std::cout << (all.size() == 1 ? all[0] : all).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_score(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "Probabilities of candidate answers");
  o->model.add_to(*command);
  o->question.add_to(*command, o->landmarks);
  command->add_option("--labels", o->labels, "Candidate answers, separated by commas")->required()->delimiter(',');
  command->add_option("--begin", o->begin, "How the answer begins, before the label");
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] { score(*o); });
}

}  // namespace tool

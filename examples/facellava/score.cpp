// facellava score: how probable given answers are, all in one batched pass.
#include <iostream>

#include "facellava/run/generate.hpp"
#include "requests.hpp"

namespace tool {
namespace {

using namespace facellava;

struct ScoreOptions {
  ModelOptions model;
  Question question;
  std::vector<std::string> landmarks, labels;
  std::string begin;
  bool json = false;
};

// The probabilities of the labels for each of the requests, which are looked at as one batch.
std::vector<std::vector<run::LabelScore>> score_all(const ScoreOptions& o, const Loaded& loaded,
                                                    std::span<const Prepared> prepared) {
  const auto begin = loaded.tokenizer.encode(o.begin, text::Bos::kNo);
  std::vector<run::Request> requests;
  run::SessionOptions options{.positions = loaded.folder.settings().positions, .services = loaded.services};
  for (const Prepared& p : prepared) {
    requests.push_back(p.request);
    if (!o.begin.empty()) requests.back().ids.insert(requests.back().ids.end(), begin.begin(), begin.end());
    options.kv_rows += run::rows_of(loaded.model->config(), requests.back());
  }
  std::vector<std::vector<int>> labels;
  for (const std::string& label : o.labels) {
    labels.push_back(loaded.tokenizer.encode(label, text::Bos::kNo));
    if (labels.back().empty()) throw Error(ErrorKind::kArgument, "--labels: a label is empty");
    options.kv_rows += Index(labels.back().size());
  }
  const auto session = loaded.model->open(options);
  const auto prefixes = session->prefill(requests, 0);
  const auto rows = session->logits();
  const std::vector<float> logits(rows.data, rows.data + rows.count());  // scoring writes its own into the session
  std::vector<std::vector<run::LabelScore>> scores;
  for (std::size_t i = 0; i < prefixes.size(); ++i)
    scores.push_back(run::score_labels(
        *session, prefixes[i], View<const float, Host, kDyn>(logits.data() + Index(i) * rows.size(1), rows.size(1)),
        labels));
  return scores;
}

void score(ScoreOptions o) {
  const Loaded loaded = load(o.model);
  o.question.take_landmarks(o.landmarks);
  const auto prepared = prepare(o.question, loaded);
  const auto scores = score_all(o, loaded, prepared);
  auto all = nlohmann::json::array();
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    const auto& face = prepared[i].face;
    if (face && !o.json) std::cout << place_of(*face) << "\n";
    auto labels = nlohmann::json::array();
    for (std::size_t k = 0; k < o.labels.size(); ++k) {
      const run::LabelScore& s = scores[i][k];
      labels.push_back(
          {{"label", o.labels[k]}, {"log_probability", s.log_probability}, {"probability", s.probability}});
      if (!o.json) std::printf("%6.2f %%  %s\n", 100 * double(s.probability), o.labels[k].c_str());
    }
    all.push_back({{"labels", labels}, {"landmarks_used", prepared[i].landmarks_used}});
    if (face) all.back()["face"] = described(*face);
    if (!prepared[i].gaps.empty()) all.back()["gaps"] = described(prepared[i].gaps);
  }
  if (o.json)
    std::cout << (all.size() == 1 ? all[0] : all).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_score(CLI::App& app) {
  auto o = std::make_shared<ScoreOptions>();
  CLI::App* command = app.add_subcommand("score", "Probabilities of candidate answers");
  o->model.add_to(*command);
  o->question.add_to(*command, o->landmarks);
  command->add_option("--labels", o->labels, "Candidate answers, separated by commas")->required()->delimiter(',');
  command->add_option("--begin", o->begin, "How the answer begins, before the label");
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] { score(*o); });
}

}  // namespace tool

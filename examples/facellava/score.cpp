// facellava score: how probable given answers are, all in one batched pass.
#include <iostream>

#include "facellava/run/generate.hpp"
#include "requests.hpp"

namespace tool {

void add_score(CLI::App& app) {
  using namespace facellava;
  struct Options {
    ModelOptions model;
    Question question;
    std::vector<std::string> landmarks, labels;
    std::string begin;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "Probabilities of candidate answers");
  o->model.add_to(*command);
  o->question.add_to(*command, o->landmarks);
  command->add_option("--labels", o->labels, "Candidate answers, separated by commas")->required()->delimiter(',');
  command->add_option("--begin", o->begin, "How the answer begins, before the label");
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] {
    const Loaded loaded = load(o->model);
    o->question.take_landmarks(o->landmarks);
    Prepared prepared = prepare(o->question, loaded);
    const auto begin = loaded.tokenizer.encode(o->begin, text::Bos::kNo);
    if (!o->begin.empty()) prepared.request.ids.insert(prepared.request.ids.end(), begin.begin(), begin.end());
    std::vector<std::vector<int>> labels;
    run::SessionOptions options{.kv_rows = run::rows_of(loaded.model->config(), prepared.request),
                                .positions = loaded.folder.settings().positions,
                                .services = loaded.services};
    for (const std::string& label : o->labels) {
      labels.push_back(loaded.tokenizer.encode(label, text::Bos::kNo));
      if (labels.back().empty()) throw Error(ErrorKind::kArgument, "--labels: a label is empty");
      options.kv_rows += Index(labels.back().size());
    }
    const auto session = loaded.model->open(options);
    const auto prefix = session->prefill(std::span(&prepared.request, 1), 0)[0];
    const auto last = session->logits();
    const auto scores =
        run::score_labels(*session, prefix, View<const float, Host, kDyn>(last.data, last.size(1)), labels);
    nlohmann::json out = nlohmann::json::array();
    for (std::size_t i = 0; i < scores.size(); ++i) {
      out.push_back({{"label", o->labels[i]},
                     {"log_probability", scores[i].log_probability},
                     {"probability", scores[i].probability}});
      if (!o->json) std::printf("%6.2f %%  %s\n", 100 * double(scores[i].probability), o->labels[i].c_str());
    }
    if (o->json)
      std::cout << nlohmann::json{{"labels", out}, {"landmarks_used", prepared.landmarks_used}}.dump(
                       1, ' ', false, nlohmann::json::error_handler_t::replace)
                << "\n";
  });
}

}  // namespace tool

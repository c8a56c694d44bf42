// facellava perplexity: how well a decoder foresees a text. Windows of the text are scored one by one, each from its
// first token on; what a format or a precision costs is the difference. The first window begins
// with the model's BOS, if it has one.
#include <cmath>
#include <iostream>

#include "facellava/io/mapped_file.hpp"
#include "options.hpp"

namespace tool {
namespace {

using namespace facellava;

struct PerplexityOptions {
  ModelOptions model;
  std::string text;
  int window = 512;
  bool json = false;
};

// Σ log p of the window's tokens behind its first.
double score_window(run::AnySession& session, std::span<const int> ids) {
  run::Request request;
  request.ids.assign(1, ids[0]);
  const auto first = session.prefill(std::span(&request, 1), 0);
  const auto logits = session.logits();
  const std::vector<int> rest(ids.begin() + 1, ids.end());
  const auto scores =
      session.log_probs(first[0], View<const float, Host, kDyn>(logits.data, logits.size(1)), std::span(&rest, 1));
  session.erase(first[0]);
  double sum = 0;
  for (float s : scores[0]) sum += double(s);
  return sum;
}

void measure(const PerplexityOptions& o) {
  const Loaded loaded = load(o.model);
  const io::MappedFile file(o.text);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  const auto ids = loaded.tokenizer.encode(text, text::Bos::kYes);
  if (ids.size() < 2) throw Error(ErrorKind::kArgument, o.text + ": expected a text of at least two tokens");
  const auto session = loaded.model->open({.kv_rows = o.window + 1, .positions = loaded.folder.settings().positions});
  double sum = 0;
  std::size_t scored = 0;
  for (std::size_t at = 0; at + 1 < ids.size(); at += std::size_t(o.window)) {
    const std::size_t n = std::min(ids.size() - at, std::size_t(o.window));
    if (n < 2) break;
    sum += score_window(*session, std::span(ids).subspan(at, n));
    scored += n - 1;
  }
  const double nats = -sum / double(scored);
  if (o.json)
    std::cout << nlohmann::json{{"tokens", scored},
                                {"nats_per_token", nats},
                                {"perplexity", std::exp(nats)},
                                {"precision", loaded.precision},
                                {"config", loaded.config}}
                     .dump(1)
              << "\n";
  else
    std::cout << scored << " tokens, " << nats << " nats a token, perplexity " << std::exp(nats) << "\n";
}

}  // namespace

void add_perplexity(CLI::App& app) {
  auto o = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand("perplexity", "How well a decoder foresees a text: what a format costs");
  o->model.add_to(*command);
  command->add_option("--text", o->text, "File with the text, UTF-8")->required();
  command->add_option("--window", o->window, "Tokens that are scored together")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] { measure(*o); });
}

}  // namespace tool

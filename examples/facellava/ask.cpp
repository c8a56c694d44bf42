// facellava ask: questions about pictures, answered in words.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "dump.hpp"
#include "facellava/faces/attention_map.hpp"
#include "facellava/media/write_png.hpp"
#include "facellava/run/generate.hpp"
#include "facellava/run/pipeline.hpp"
#include "facellava/text/stream_decoder.hpp"
#include "requests.hpp"

namespace tool {
namespace {

using namespace facellava;

volatile std::sig_atomic_t interrupted = 0;

// Times the stages; keeps values only if they are to be dumped, and the weights of the regions if they are to be drawn.
class Watch final : public Dump {
 public:
  Watch(bool dump, bool attention) : keep_(dump), attention_(attention) {}
  bool wants_values() const override { return keep_ || attention_; }
  bool wants_logits() const override { return keep_; }
  void see(std::size_t request, const char* name, const std::vector<facellava::Index>& shape,
           const float* values) override {
    if (attention_) attention[request].see(request, name, shape, values);
    if (keep_) Dump::see(request, name, shape, values);
  }
  void done(const char* stage) override { lap(stage); }
  void lap(const std::string& stage) {
    const auto now = std::chrono::steady_clock::now();
    milliseconds[stage] = std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
  }
  nlohmann::json milliseconds;
  std::map<std::size_t, run::RegionAttentionMean> attention;  // of each request

 private:
  bool keep_, attention_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::string finish_name(run::Finish f) {
  constexpr const char* names[] = {"eos", "length", "context", "stopped"};
  return names[int(f)];
}

struct AskOptions {
  ModelOptions model;
  GenerationOptions generation;
  Question question;
  std::vector<std::string> landmarks;
  std::string requests, dump, attention;
  bool json = false;
};

// What can be known of a file before the work that it is to hold.
void check_output(const char* option, const std::filesystem::path& file) {
  if (file.empty()) return;
  const auto folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder) || std::filesystem::is_directory(file))
    throw Error(ErrorKind::kFile,
                std::string(option) + ": expected a file in a folder that exists, found " + file.string());
}

// One sheet a picture: F.png, or F_0.png, F_1.png… of several.
void draw_attention(const std::filesystem::path& file, std::span<const Prepared> prepared, Watch& watch) {
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    auto to = file;
    if (prepared.size() > 1) to.replace_filename(file.stem().string() + "_" + std::to_string(i) + ".png");
    const Seen& seen = *prepared[i].seen;
    media::write_png(to.string(), faces::draw_attention(seen.picture.view(), seen.points, watch.attention[i].mean));
  }
}

void answer(AskOptions o) {
  check_output("--dump", o.dump);
  check_output("--attention", o.attention);
  const Loaded loaded = load(o.model);
  Watch watch(!o.dump.empty(), !o.attention.empty());
  watch.milliseconds["load"] = loaded.milliseconds;
  o.question.take_landmarks(o.landmarks);
  const auto questions = o.requests.empty() ? std::vector<Question>{o.question} : read_requests(o.requests);
  const auto prepared = prepare_all(questions, loaded);
  if (!o.attention.empty())
    for (const Prepared& p : prepared)
      if (!p.seen)
        throw Error(ErrorKind::kArgument, "--attention: expected questions about one picture with landmarks");
  watch.lap("prepare");

  std::vector<run::Request> requests;
  for (const Prepared& p : prepared) requests.push_back(p.request);
  const Index positions = loaded.folder.settings().positions;
  run::SessionOptions session_options{.positions = positions, .services = loaded.services};
  const int reserve = int(std::min<Index>(o.generation.max_new_tokens, positions));
  for (const run::Request& r : requests) session_options.kv_rows += run::rows_of(loaded.model->config(), r) + reserve;
  const auto session = loaded.model->open(session_options);
  const auto sequences = session->prefill(requests, reserve, &watch);

  std::vector<text::StreamDecoder> words(requests.size(), text::StreamDecoder(loaded.tokenizer));
  std::vector<std::string> answers(requests.size());
  const bool stream = !o.json && requests.size() == 1;
  std::stop_source stop;
  std::signal(SIGINT, [](int) { interrupted = 1; });
  const auto say = [&](std::size_t i, const std::string& more) {
    answers[i] += more;
    if (stream) std::cout << more << std::flush;
  };
  const run::GenerateOptions options{
      o.generation.max_new_tokens,
      {o.generation.temperature, o.generation.top_k, o.generation.top_p, o.generation.seed},
      loaded.folder.settings().ends};
  const auto generations = run::generate(
      *session, sequences, options, positions,
      [&](std::size_t i, int token) {
        say(i, words[i].push(token));
        if (interrupted) stop.request_stop();
      },
      stop.get_token());
  for (std::size_t i = 0; i < words.size(); ++i) say(i, words[i].finish());
  watch.lap("generate");

  if (!o.attention.empty()) draw_attention(o.attention, prepared, watch);
  if (!o.dump.empty()) {
    for (std::size_t i = 0; i < requests.size(); ++i) {
      watch.add_ids(i, "input_ids", requests[i].ids);
      watch.add_ids(i, "generated_ids", generations[i].ids);
    }
    watch.write(o.dump);
  }
  nlohmann::json out = nlohmann::json::array();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    out.push_back({{"answer", answers[i]},
                   {"generated_ids", generations[i].ids},
                   {"finish", finish_name(generations[i].finish)},
                   {"prompt", prepared[i].prompt},
                   {"landmarks_used", prepared[i].landmarks_used},
                   {"config", loaded.config},
                   {"device", loaded.device},
                   {"precision", loaded.precision},
                   {"milliseconds", watch.milliseconds}});
    if (loaded.device == "cpu") out.back()["isa"] = cpu::isa_name(loaded.cpu.isa);
    if (prepared[i].face) out.back()["face"] = described(*prepared[i].face);
    if (!prepared[i].gaps.empty()) out.back()["gaps"] = described(prepared[i].gaps);
  }
  if (o.json)
    std::cout << (o.requests.empty() && out.size() == 1 ? out[0] : out)
                     .dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
              << "\n";
  else if (stream)
    std::cout << "\n";
  else
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::cout << "[" << i << "] ";
      if (prepared[i].face) std::cout << place_of(*prepared[i].face) << ": ";
      std::cout << answers[i] << "\n";
    }
}

}  // namespace

void add_ask(CLI::App& app) {
  auto o = std::make_shared<AskOptions>();
  CLI::App* command = app.add_subcommand("ask", "Ask a model about pictures; the answer is streamed");
  o->model.add_to(*command);
  o->generation.add_to(*command);
  o->question.add_to(*command, o->landmarks);
  auto* requests = command->add_option("--requests", o->requests, "JSON array of requests, run as one batch");
  for (const char* alone : {"--image", "--video", "--landmarks", "--question", "--prompt", "--template"})
    requests->excludes(command->get_option(alone));
  command->add_option("--dump", o->dump, "Write every intermediate tensor to this safetensors file");
  command->add_option(
      "--attention", o->attention,
      "PNG of what each of the nine regions is looked at by, over the picture; several faces: F_0.png…");
  command->add_flag("--json", o->json, "Print JSON: answer, ids, device, precision, milliseconds per stage");
  command->callback([o] { answer(*o); });
}

}  // namespace tool

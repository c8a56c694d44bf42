// train_mini_evaluate: what a model says of rendered faces that it has never seen, as a table with 95 % intervals
// (percentiles of 1000 resamples of the samples).
#include <CLI/CLI.hpp>

#include <functional>
#include <iostream>
#include <map>

#include "facellava/cpu/thread_pool.hpp"
#include "open_model.hpp"
#include "seen_face.hpp"
#include "synthetic_faces/read_answer.hpp"
#include "synthetic_faces/wording.hpp"

namespace {

using namespace facellava;
namespace sf = synthetic_faces;

enum class UpTo { kExpression, kActionUnits, kAll };

struct Options {
  std::string model, rig = SYNTHETIC_FACES_RIG, shift = TRAIN_MINI_SHIFT;
  std::uint64_t seed = 1000000;  // of faces, of no training
  int pictures = 1000, clips = 300, threads = 0, show = 0;
  float by_box = 0;
  bool without_landmarks = false;
  UpTo up_to = UpTo::kAll;
};

// Of one sample. Absent: not to be told of this one.
struct Result {
  std::optional<bool> expression, reason;
  struct Unit {
    bool in_sight, there, named;
  };
  std::vector<Unit> aus;
  std::optional<double> age_error;
  std::vector<std::optional<bool>> attributes;  // whether each was said right
  bool fake = false;
  std::optional<bool> said_fake;
};

constexpr sf::Au au(int a) { return sf::Au(a); }

Result ask_about(run::Viewing& face, const sf::Labels& l, sf::Dice d, const Options& o,
                 const std::function<void(std::string)>& show) {
  Result r;
  const auto ask = [&](const std::string& question) {
    const std::string answer = face.ask(question, {.max_new_tokens = 100});
    show("  " + question + "\n    " + answer + "\n");
    return answer;
  };
  if (sf::detail::expression_in_sight(l)) {
    const sf::Reading said = sf::read_answer(ask("What emotion does this face show?"));
    r.expression = said.emotion == l.expression.emotion;
    r.reason = *r.expression && std::all_of(said.aus.begin(), said.aus.end(), [&](int number) {
      for (int a = 0; a < sf::kAus; ++a)
        if (sf::kActionUnits[std::size_t(a)].number == number) return l.shows(au(a));
      return false;
    });
  }
  if (o.up_to == UpTo::kExpression) return r;
  const sf::Reading named = sf::read_answer(ask("Which facial action units are active?"));
  for (int a = 0; a < sf::kAus; ++a) {
    const int number = sf::kActionUnits[std::size_t(a)].number;
    const bool said = std::find(named.aus.begin(), named.aus.end(), number) != named.aus.end();
    r.aus.push_back({l.can_show(au(a)), l.shows(au(a)), said});
  }
  if (o.up_to == UpTo::kActionUnits) return r;
  if (!l.fake()) {
    const sf::Reading said = sf::read_answer(ask("How old is this person?"));
    r.age_error = said.years ? std::abs(*said.years - double(l.who.age)) : 100.0;  // no number is as wrong as can be
  }
  for (const sf::AttributeWords& w : sf::attribute_words()) {
    r.attributes.emplace_back();
    if (sf::detail::hidden(l, w.of) || (l.fake() && w.of != sf::AttributeWords::Of::kHead)) continue;
    const sf::Reading said = sf::read_answer(ask(sf::spoken(d, w.question)));
    r.attributes.back() = said.yes == std::optional(l.has(w.attribute));
  }
  r.fake = l.fake();
  r.said_fake = sf::read_answer(ask("Is this face real or fake?")).fake;
  return r;
}

using Sample = std::span<const Result* const>;

double share_of(Sample s, auto part) {
  double right = 0, all = 0;
  for (const Result* r : s)
    if (const std::optional<bool> v = part(*r)) {
      right += *v;
      ++all;
    }
  return right / all;
}
double mean_f1(Sample s) {
  double sum = 0;
  int counted = 0;
  for (std::size_t a = 0; a < std::size_t(sf::kAus); ++a) {
    double both = 0, there = 0, named = 0;
    for (const Result* r : s) {
      const Result::Unit& u = r->aus[a];
      both += u.in_sight && u.there && u.named;
      there += u.in_sight && u.there;
      named += u.in_sight && u.named;
    }
    if (there < 5) continue;  // says nothing of this unit
    sum += 2 * both / (there + named);
    ++counted;
  }
  return sum / counted;
}
double mean_attributes(Sample s) {
  double sum = 0;
  const std::size_t n = sf::attribute_words().size();
  for (std::size_t a = 0; a < n; ++a) sum += share_of(s, [a](const Result& r) { return r.attributes[a]; });
  return sum / double(n);
}
double balanced_fake(Sample s) {
  const auto of = [&](bool fake) {
    return share_of(s, [fake](const Result& r) {
      return r.fake == fake ? std::optional(r.said_fake == std::optional(fake)) : std::nullopt;
    });
  };
  return (of(true) + of(false)) / 2;
}
double mean_age_error(Sample s) {
  double sum = 0, all = 0;
  for (const Result* r : s)
    if (r->age_error) {
      sum += *r->age_error;
      ++all;
    }
  return sum / all;
}

void print_row(const char* name, const std::vector<Result>& results, const std::function<double(Sample)>& figure) {
  constexpr int kResamples = 1000;
  std::vector<const Result*> all;
  for (const Result& r : results) all.push_back(&r);
  std::vector<double> drawn;
  std::vector<const Result*> sample(all.size());
  for (int i = 0; i < kResamples; ++i) {
    sf::Dice d(7, std::uint64_t(i), sf::Stream::kWording);
    for (const Result*& r : sample) r = all[std::size_t(d.below(int(all.size())))];
    drawn.push_back(figure(sample));
  }
  std::erase_if(drawn, [](double x) { return std::isnan(x); });  // resamples without a sample that tells
  const double found = figure(all);
  if (drawn.empty() || std::isnan(found)) return void(std::printf("| %-44s | too few samples |\n", name));
  std::sort(drawn.begin(), drawn.end());
  const std::size_t n = drawn.size();
  std::printf("| %-44s | %6.3f | %.3f to %.3f |\n", name, found, drawn[n / 40], drawn[n - 1 - n / 40]);
}

void print_table(const char* what, const std::vector<Result>& results) {
  if (results.empty()) return;
  std::printf("\n%zu %s\n| %-44s | figure | 95 %% interval |\n|---|---|---|\n", results.size(), what, "");
  print_row("expression of 7, accuracy", results,
            [](Sample s) { return share_of(s, [](const Result& r) { return r.expression; }); });
  if (results[0].aus.empty()) return;
  print_row("action units, mean F1", results, mean_f1);
  if (results[0].attributes.empty()) return;
  print_row("age, mean absolute error, years", results, mean_age_error);
  print_row("23 attributes, mean accuracy", results, mean_attributes);
  print_row("real or fake, balanced accuracy", results, balanced_fake);
  print_row("answer right and every reason true", results,
            [](Sample s) { return share_of(s, [](const Result& r) { return r.reason; }); });
}

void evaluate(const Options& o) {
  const run::ModelFolder folder({o.model});
  const run::Pipeline pipeline = train_mini::open_model(folder, 1);
  const sf::Generator faces(o.rig, {.side = train_mini::kConfig.image.side * 9 / 7});
  const auto shift = train_mini::read_shift(o.shift);
  std::vector<Result> results(std::size_t(o.pictures + o.clips));
  std::mutex printing;
  cpu::ThreadPool pool(o.threads);
  pool.run(o.pictures + o.clips, [&](Index index, int) {
    const bool clip = index >= o.pictures;
    const auto i = std::uint64_t(clip ? index - o.pictures : index);
    const sf::Sample s = clip ? faces.clip(o.seed, i) : faces.face(o.seed, i);
    sf::Dice d(o.seed, i, sf::Stream::kWording, clip ? 5 : 4);
    const auto how = d.chance(o.by_box) ? train_mini::Cutting::kByBox : train_mini::Cutting::kAligned;
    const auto seen = train_mini::see(s, shift, how, train_mini::kConfig.image.side, d);
    std::vector<media::PixelView> frames;
    for (const auto& f : seen.frames) frames.push_back(f.view());
    const bool points = !o.without_landmarks;
    auto face = clip ? pipeline.look(frames, points ? std::span(seen.points) : std::span<const faces::Landmarks>())
                     : pipeline.look(frames[0], points ? std::span<const faces::Point>(seen.points[0])
                                                       : std::span<const faces::Point>());
    std::string said;
    results[std::size_t(index)] = ask_about(face, s.labels, d, o, [&](const std::string& line) { said += line; });
    if (index >= o.show) return;
    const std::lock_guard lock(printing);
    std::cout << "face " << index << "\n" << said;
  });
  print_table("pictures", {results.begin(), results.begin() + o.pictures});
  print_table("clips", {results.begin() + o.pictures, results.end()});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Asks a model about rendered faces that it has never seen, and prints how it did");
  Options o;
  app.add_option("--model", o.model, "Model folder")->required();
  app.add_option("--seed", o.seed, "Which faces")->capture_default_str();
  app.add_option("--count", o.pictures, "Pictures")->check(CLI::Range(0, 1000000))->capture_default_str();
  app.add_option("--clips", o.clips, "Clips")->check(CLI::Range(0, 1000000))->capture_default_str();
  app.add_option("--by-box", o.by_box, "Part that is cut out by a box, not aligned")->capture_default_str();
  app.add_flag("--without-landmarks", o.without_landmarks, "The model gets the cut alone");
  app.add_option("--up-to", o.up_to, "The last of the questions to ask: expression, action_units or all")
      ->transform(CLI::CheckedTransformer(std::map<std::string, UpTo>{
          {"expression", UpTo::kExpression}, {"action_units", UpTo::kActionUnits}, {"all", UpTo::kAll}}));
  app.add_option("--shift", o.shift, "CSV of the detector's mean shift")->capture_default_str();
  app.add_option("--show", o.show, "Print the answers about this many faces")->capture_default_str();
  app.add_option("--threads", o.threads, "0: one a core")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    evaluate(o);
  } catch (const std::exception& e) {
    std::cerr << "train_mini_evaluate: " << e.what() << "\n";
    return 1;
  }
}

// train_mini_prepare: the records that one run of train.sh learns from, labels and conversations of rendered faces.
//   OUT/data.json   as docs/training_data.md; labels: emotion, aus, age, attributes, fake, points
//   OUT/pictures.json, OUT/clips.json   what each tower learns from
#include <CLI/CLI.hpp>

#include <iostream>

#include "facellava/cpu/thread_pool.hpp"
#include "seen_face.hpp"
#include "synthetic_faces/write_data.hpp"

namespace {

using namespace synthetic_faces;
using namespace train_mini;

struct Options {
  std::string out, rig = SYNTHETIC_FACES_RIG, shift = TRAIN_MINI_SHIFT;
  std::uint64_t seed = 0;
  int pictures = 0, clips = 0, told = -1, questions = 5, attributes = 4, side = 112, threads = 0;
  float by_box = .2f, without = .1f, fake = .45f;
};

nlohmann::json labels_of(const Labels& l, const SeenFace& seen, int side) {
  auto aus = nlohmann::json::array(), attributes = nlohmann::json::array(), points = nlohmann::json::array();
  for (int a = 0; a < kAus; ++a)
    aus.push_back(l.can_show(Au(a)) ? nlohmann::json(l.shows(Au(a)) ? 1 : 0) : nlohmann::json());
  for (std::size_t a = 0; a < kAttributes; ++a) attributes.push_back(l.attributes[a] ? 1 : 0);
  for (const auto& p : seen.points[seen.points.size() / 2])
    for (const float v : {p.x, p.y}) points.push_back(std::round(double(v) / side * 1e4) / 1e4);
  nlohmann::json j = {
      {"aus", aus}, {"attributes", attributes}, {"points", points}, {"fake", l.fake() ? "fake" : "real"}};
  if (detail::expression_in_sight(l)) j["emotion"] = kEmotionNames[std::size_t(*l.expression.emotion)];
  if (!l.fake()) j["age"] = std::round(l.who.age);
  return j;
}

// The template `plain`, in which the model is asked, has no line of its own for the medium.
void say_as_asked(nlohmann::json& conversation) {
  auto& question = conversation[0]["value"].get_ref<std::string&>();
  question.erase(question.find('\n'), 1);
}

void write_records(const std::string& file, std::span<const std::string> records) {
  std::string text;
  for (const std::string& r : records) text += (text.empty() ? "[\n" : ",\n") + r;
  synthetic_faces::detail::write_text(file, text + "\n]\n");
}

// Writes files of a sample as the model will meet it; its record.
std::string write_one(const Options& o, const Shift& shift, Sample s, bool clip, std::uint64_t i) {
  Dice d(o.seed, i, Stream::kWording, clip ? 3 : 2);
  const bool without = d.chance(o.without);
  const SeenFace seen = see(s, shift, d.chance(o.by_box) ? Cutting::kByBox : Cutting::kAligned, o.side, d);
  const auto exchanges = ask_about(s.labels, o.questions, Dice(o.seed, i, Stream::kWording, clip), o.attributes);
  s.frames = seen.frames;
  s.labels.side = o.side;
  for (std::size_t f = 0; f < seen.points.size(); ++f)
    for (std::size_t p = 0; p < s.labels.points[f].size(); ++p)
      s.labels.points[f][p] = {seen.points[f][p].x, seen.points[f][p].y};
  const std::string name = std::string(clip ? "clips/" : "images/") + std::to_string(i);
  nlohmann::json record = synthetic_faces::detail::write_sample(s, o.out, name, exchanges);
  for (auto& conversation : record["conversations"]) say_as_asked(conversation);
  record["labels"] = labels_of(s.labels, seen, o.side);
  if (without) record["landmarks_2d"] = "none";
  return record.dump();
}

void write(const Options& o) {
  const Generator faces(o.rig, {.side = o.side + o.side * 2 / 7, .fake_part = o.fake});  // room around the cut
  const Shift shift = read_shift(o.shift);
  for (const char* kind : {"/images", "/clips"}) std::filesystem::create_directories(o.out + kind);
  std::vector<std::string> records(std::size_t(o.pictures + o.clips));
  facellava::cpu::ThreadPool pool(o.threads);
  const int scenes = (o.pictures + 1) / 2;  // of pictures: each gives two
  pool.run(scenes + o.clips, [&](Index index, int) {
    if (index >= scenes) {
      const auto i = std::uint64_t(index - scenes);
      records[std::size_t(o.pictures) + i] = write_one(o, shift, faces.clip(o.seed, i), true, i);
      return;
    }
    auto two = faces.face_and_mirror(o.seed, std::uint64_t(index));
    for (auto i = std::uint64_t(2 * index); i < std::uint64_t(std::min<Index>(2 * index + 2, o.pictures)); ++i)
      records[i] = write_one(o, shift, std::move(two[i % 2]), false, i);
  });
  const std::span all(records);
  write_records(o.out + "/pictures.json", all.first(std::size_t(o.pictures)));
  write_records(o.out + "/clips.json", all.subspan(std::size_t(o.pictures)));
  const int told = o.told < 0 ? o.pictures : std::min(o.told, o.pictures);
  write_records(o.out + "/data.json", all.subspan(std::size_t(o.pictures - told)));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes what train.sh learns from: rendered faces as the detector would hand them over");
  Options o;
  app.add_option("--out", o.out, "Folder to write into")->required();
  app.add_option("--seed", o.seed, "Which data set")->capture_default_str();
  app.add_option("--count", o.pictures, "Pictures: two of each scene")
      ->check(CLI::Range(0, 10000000))
      ->capture_default_str();
  app.add_option("--clips", o.clips, "Clips of 8 frames")->check(CLI::Range(0, 1000000))->capture_default_str();
  app.add_option("--told", o.told, "Pictures in data.json, the last ones; the others are the towers' alone. -1: all")
      ->capture_default_str();
  app.add_option("--questions", o.questions, "Questions about each")->check(CLI::Range(1, 50))->capture_default_str();
  app.add_option("--attributes", o.attributes, "Further questions of yes or no, about attributes")
      ->check(CLI::Range(0, 20))
      ->capture_default_str();
  app.add_option("--fake-part", o.fake, "Part of the faces that are forged")->capture_default_str();
  app.add_option("--by-box", o.by_box, "Part that is cut out by a box, not aligned")->capture_default_str();
  app.add_option("--without-landmarks", o.without, "Part that comes without landmarks")->capture_default_str();
  app.add_option("--shift", o.shift, "CSV of the detector's mean shift")->capture_default_str();
  app.add_option("--threads", o.threads, "0: one a core")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    write(o);
  } catch (const std::exception& e) {
    std::cerr << "train_mini_prepare: " << e.what() << "\n";
    return 1;
  }
}

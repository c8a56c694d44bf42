// train_mini_photos: what a model says of real faces, found by the library's nets, beside what a person sees.
#include <CLI/CLI.hpp>

#include <charconv>
#include <fstream>
#include <iostream>
#include <sstream>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/aligned_crop.hpp"
#include "facellava/faces/face_finder.hpp"
#include "facellava/media/decode.hpp"
#include "open_model.hpp"
#include "synthetic_faces/read_answer.hpp"

namespace {

using namespace facellava;

struct Options {
  std::string model, labels = TRAIN_MINI_PHOTOS, nets = TRAIN_MINI_NETS;
  std::vector<std::string> photos;
  bool show = false;
};

struct Labelled {
  std::string file;
  float x = 0, y = 0;  // pixels, inside the face's box
  std::optional<bool> smiling, glasses;
};

// Errors: kFile, kFormat.
std::vector<Labelled> read_labels(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorKind::kFile, path + ": cannot be read");
  std::vector<Labelled> all;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#") || line.starts_with("file,")) continue;
    std::stringstream fields(line);
    std::array<std::string, 5> f;
    for (std::string& s : f) std::getline(fields, s, ',');
    Labelled l;
    l.file = f[0];
    const auto number = [&](const std::string& s, float& to) {
      return std::from_chars(s.data(), s.data() + s.size(), to).ec == std::errc();
    };
    const auto answer = [](const std::string& s) { return s == "?" ? std::nullopt : std::optional(s == "yes"); };
    const bool known = std::all_of(f.begin() + 3, f.end(), [](auto& s) { return s == "yes" || s == "no" || s == "?"; });
    if (!known || !number(f[1], l.x) || !number(f[2], l.y))
      throw Error(ErrorKind::kFormat, path + ": expected file,x,y,smiling,glasses, found \"" + line + "\"");
    l.smiling = answer(f[3]);
    l.glasses = answer(f[4]);
    all.push_back(std::move(l));
  }
  return all;
}

std::string find_photo(const Options& o, const std::string& name) {
  for (const std::string& folder : o.photos)
    if (const auto path = std::filesystem::path(folder) / name; std::filesystem::exists(path)) return path.string();
  throw Error(ErrorKind::kFile, name + ": is in none of the folders of --photos");
}

struct Tally {
  const char* what;
  int right = 0, asked = 0, yes = 0;

  void add(std::optional<bool> truth, std::optional<bool> said) {
    if (!truth) return;
    ++asked;
    yes += *truth;
    right += said == truth;
  }
  void print() const {
    const int most = std::max(yes, asked - yes);
    std::printf("| %-32s | %3d of %3d | %.2f | %.2f |\n", what, right, asked, double(right) / std::max(1, asked),
                double(most) / std::max(1, asked));
  }
};

void ask_all(const Options& o) {
  const run::ModelFolder folder({o.model});
  const run::Pipeline pipeline = train_mini::open_model(folder, 0);
  faces::FaceFinder finder(o.nets);
  cpu::Device dev{cpu::Options{}};
  Tally smiling{"Is the person smiling?"}, corners{"AU12 among the action units"}, happy{"happy among 7 expressions"},
      glasses{"Does the person wear glasses?"}, real{"the face is real"};
  int missed = 0;
  std::string open;
  media::Image image;
  std::vector<faces::Face> found;
  for (const Labelled& l : read_labels(o.labels)) {
    if (l.file != open) {
      image = media::read_image(find_photo(o, l.file));
      found = finder.find(dev, image.view());
      open = l.file;
    }
    const auto at = std::find_if(found.begin(), found.end(), [&](const faces::Face& f) {
      const faces::Box& b = f.detection.box;
      return l.x > b.x && l.y > b.y && l.x < b.x + b.width && l.y < b.y + b.height;
    });
    if (at == found.end()) {
      ++missed;
      continue;
    }
    const auto crop = faces::cut_out(image.view(), at->detection, at->landmarks, folder.settings().crop);
    faces::Landmarks points;
    std::ranges::transform(at->landmarks, points.begin(), crop.affine);
    auto face = pipeline.look(crop.image.view(), points);
    if (o.show) std::printf("%s %.0f %.0f\n", l.file.c_str(), double(l.x), double(l.y));
    const auto ask = [&](const char* question) {
      const std::string answer = face.ask(question, {.max_new_tokens = 100});
      if (o.show) std::printf("  %s %s\n", question, answer.c_str());
      return synthetic_faces::read_answer(answer);
    };
    smiling.add(l.smiling, ask("Is the person smiling?").yes);
    const auto aus = ask("Which facial action units are active?").aus;
    corners.add(l.smiling, std::ranges::find(aus, 12) != aus.end());
    happy.add(l.smiling, ask("What emotion does this face show?").emotion == synthetic_faces::Emotion::kHappy);
    glasses.add(l.glasses, ask("Does the person wear glasses?").yes);
    real.add(true, ask("Is this face real or fake?").fake == std::optional(false));
  }
  std::printf("| question | right | part | the commoner answer alone |\n|---|---|---|---|\n");
  for (const Tally* t : {&smiling, &corners, &happy, &glasses, &real}) t->print();
  std::printf("%d faces were not found\n", missed);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Asks a model about the faces of photographs, and prints how it did");
  Options o;
  app.add_option("--model", o.model, "Model folder")->required();
  app.add_option("--photos", o.photos, "Folders with the photographs")->required();
  app.add_option("--labels", o.labels, "CSV: file,x,y,smiling,glasses")->capture_default_str();
  app.add_option("--nets", o.nets, "Folder of the nets that find faces")->capture_default_str();
  app.add_flag("--show", o.show, "Print every answer");
  CLI11_PARSE(app, argc, argv);
  try {
    ask_all(o);
  } catch (const std::exception& e) {
    std::cerr << "train_mini_photos: " << e.what() << "\n";
    return 1;
  }
}

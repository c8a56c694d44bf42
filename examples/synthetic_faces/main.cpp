// synthetic_faces: writes a data set of rendered faces with all labels and conversations (docs/synthetic_faces.md).
#include <CLI/CLI.hpp>

#include <ctime>
#include <iostream>

#include "check_detector.hpp"
#include "write_data.hpp"

namespace {

using namespace synthetic_faces;

struct Options {
  std::string out, sheet, rig = SYNTHETIC_FACES_RIG, nets = FACELLAVA_NETS;
  DataPlan plan;
  GeneratorOptions generator;
  int check = 0, speed = 0;
};

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

// The first pictures, and the frames of the first clips, on one picture.
class Sheet {
 public:
  Sheet(int pictures, int clips, int side)
      : pictures_(std::min(pictures, 20 * kAcross)),
        image_(kAcross * side,
               std::max(1, (pictures_ + kAcross - 1) / kAcross + (std::min(clips, 20) + 1) / 2) * side) {}

  void add(int index, int pictures, const Sample& s) {
    const int clip = index - pictures;
    if (clip >= 20 || (clip < 0 && index >= pictures_)) return;
    const int first = clip < 0 ? index : (pictures_ + kAcross - 1) / kAcross * kAcross + clip * kFrames;
    for (std::size_t f = 0; f < s.frames.size(); ++f) {
      const int at = first + int(f), side = s.labels.side;
      for (int y = 0; y < side; ++y)
        std::copy_n(s.frames[f].row(y), s.frames[f].stride(),
                    image_.pixel(at % kAcross * side, at / kAcross * side + y));
    }
  }
  const facellava::media::Image& image() const { return image_; }

 private:
  static constexpr int kAcross = 2 * kFrames;
  int pictures_;
  facellava::media::Image image_;
};

void print_check(const DetectorCheck& c) {
  std::cout << "# found " << c.found << " of " << c.faces << "; mean distance of the 68 points " << c.mean_error
            << " of that between the outer eye corners\npoint,dx,dy\n";
  for (std::size_t i = 0; i < kPoints; ++i) std::cout << i << "," << c.offset[i].x << "," << c.offset[i].y << "\n";
}

void print_speed(const Generator& faces, const Options& o) {
  const double begin = processor_seconds();
  for (int i = 0; i < o.speed; ++i) faces.face(o.plan.seed, std::uint64_t(i));
  std::cout << double(o.speed) / (processor_seconds() - begin) << " faces per processor second of one thread\n";
}

void run(const Options& o) {
  const Generator faces(o.rig, o.generator);
  if (o.speed > 0) print_speed(faces, o);
  if (o.check > 0) print_check(check_detector(faces, o.plan.seed, o.check, o.nets));
  if (o.out.empty()) return;
  Sheet sheet(o.plan.pictures, o.plan.clips, o.generator.side);
  write_data(faces, o.plan, o.out, [&](int index, const Sample& s) { sheet.add(index, o.plan.pictures, s); });
  if (!o.sheet.empty()) facellava::media::write_png(o.sheet, sheet.image());
  std::cout << o.out << "/data.json: " << o.plan.pictures << " pictures, " << o.plan.clips << " clips\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a data set of rendered faces with labels and conversations: a function of its seed");
  Options o;
  auto* out = app.add_option("--out", o.out, "Folder to write into");
  app.add_option("--seed", o.plan.seed, "Which data set")->capture_default_str();
  app.add_option("--count", o.plan.pictures, "Pictures")->check(CLI::Range(0, 10000000))->capture_default_str();
  app.add_option("--clips", o.plan.clips, "Clips of 8 frames")->check(CLI::Range(0, 1000000))->capture_default_str();
  app.add_option("--size", o.generator.side, "Side of a picture, pixels")->capture_default_str();
  app.add_option("--fake-part", o.generator.fake_part, "Part of the samples that are forged, 0..1")
      ->capture_default_str();
  app.add_option("--questions", o.plan.questions, "Questions about each sample")
      ->check(CLI::Range(1, 50))
      ->capture_default_str();
  app.add_option("--sheet", o.sheet, "PNG with the first samples side by side")->needs(out);
  app.add_option("--rig", o.rig, "The head's mesh and targets")->capture_default_str();
  app.add_option("--threads", o.plan.threads, "0: one a core")->capture_default_str();
  app.add_option(
      "--check-detector", o.check,
      "Of this many faces: how many the library's detector finds, and by how much its 68 points differ, as CSV");
  app.add_option("--nets", o.nets, "Folder of the detector's nets")->capture_default_str();
  app.add_option("--speed", o.speed, "Render this many faces, write none, print how fast that was");
  CLI11_PARSE(app, argc, argv);
  try {
    if (o.out.empty() && o.check == 0 && o.speed == 0)
      throw Error(ErrorKind::kArgument, "give --out, --check-detector or --speed");
    run(o);
  } catch (const std::exception& e) {
    std::cerr << "synthetic_faces: " << e.what() << "\n";
    return 1;
  }
  return 0;
}

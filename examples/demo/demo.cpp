// Faces are found in a photograph or a video, questions about each are answered in words, and a picture shows what was
// looked at. By default: a photograph and a rendered clip.
#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "../facellava/picture_file.hpp"
#include "../train_mini/open_model.hpp"
#include "facellava/media/write_png.hpp"
#include "interview.hpp"
#include "pictures.hpp"
#include "rendered.hpp"

namespace demo {
namespace {

using namespace facellava;
namespace fs = std::filesystem;

struct Options {
  std::string folder, out, file, model;
  bool fake = false;
  int threads = 0;
};

class Demo {
 public:
  explicit Demo(const Options& o) : options_(o), pipeline_(open(o)), seeker_(open_nets(o)) {}

  void photo(const std::string& file) {
    media::Image picture = [&] {
      const auto stage = stages_.in("decoding");
      return tool::read_picture_file(file, media::Orientation::kExif);
    }();
    show(seeker_.in_picture(fs::path(file).stem().string(), file, std::move(picture)));
  }
  void video(const std::string& file) {
    show(seeker_.in_clip(fs::path(file).stem().string(), file, tool::frames_of(file),
                         train_mini::kConfig.video.block.frames));
  }
  void clip() {
    const synthetic_faces::Sample sample = [&] {
      const auto stage = stages_.in("rendering");
      return rendered_clip();
    }();
    constexpr double kRate = 8;
    const tool::FrameSource source = [&](const tool::ChooseFrames& choose, const tool::OnFrame& f) {
      const tool::VideoInfo info{int(sample.frames.size()), kSide, kSide, kRate};
      const std::vector<int> frames = choose(info);
      for (std::size_t i = 0; i < frames.size(); ++i)
        f(i, frames[i] / kRate, sample.frames[std::size_t(frames[i])].view());
      return info;
    };
    show(seeker_.in_clip("clip", "a rendered clip", source, train_mini::kConfig.video.block.frames));
  }
  void fake() {
    const Swap swap = [&] {
      const auto stage = stages_.in("rendering");
      return rendered_swap();
    }();
    std::vector<media::Image> rows;
    for (const auto& [name, origin, sample] :
         {std::tuple("source", "a rendered face", &swap.source),
          std::tuple("swap", "the same picture with another face put in", &swap.fake)}) {
      const Subject s = seeker_.in_picture(name, origin, sample->frames[0]);
      rows.push_back(draw(s, question(s, std::span(&kForgery, 1))));
    }
    write("fake", stacked(rows));
  }
  void print_times() { stages_.print(); }

 private:
  static constexpr Topic kForgery = Topic::kForgery;
  static constexpr Topic kTopics[] = {Topic::kEmotion, Topic::kActionUnits, Topic::kAge,
                                      Topic::kPerson,  Topic::kForgery,     Topic::kCourse};
  using Weights = std::vector<std::vector<float>>;  // attention of the region tokens, of each person

  run::Pipeline open(const Options& o) {
    const auto stage = stages_.in("opening the model");
    const run::ModelFolder folder({o.model.empty() ? (fs::path(o.folder) / "model").string() : o.model});
    return train_mini::open_model(folder, o.threads);
  }
  FaceSeeker open_nets(const Options& o) {
    const auto stage = stages_.in("opening the nets");
    return {FACELLAVA_NETS, pipeline_.settings().crop, o.threads, stages_};
  }

  void show(const Subject& s) {
    const Weights weights = question(s, std::span(kTopics).first(s.clip() ? std::size(kTopics) : 5));
    if (s.found > 0) write(s.name, draw(s, weights));
  }
  run::Viewing look(const Person& p) {
    const auto stage = stages_.in(p.crops.size() > 1 ? "looking (video tower)" : "looking (image tower)");
    if (p.crops.size() == 1) return pipeline_.look(p.crops[0].view(), p.points[0]);
    std::vector<media::PixelView> frames;
    for (const media::Image& crop : p.crops) frames.push_back(crop.view());
    return pipeline_.look(frames, p.points);
  }
  Weights question(const Subject& s, std::span<const Topic> topics) {
    std::cout << "\n" << s.origin << ": ";
    if (s.found == 0) {
      std::cout << "no face was found in it, so there is nothing to ask.\n";
      return {};
    }
    std::cout << s.found << (s.found == 1 ? " face" : " faces") << " found";
    if (s.people.size() < s.found) std::cout << ", the " << s.people.size() << " largest are asked about";
    std::cout << (s.clip() ? "; eight frames go through the video tower\n" : "\n");
    Weights weights;
    for (const Person& p : s.people) {
      if (s.found > 1) std::cout << "\nface " << weights.size() + 1 << "\n";
      std::cout << std::flush;
      run::Viewing face = look(p);
      weights.push_back(face.region_attention());
      for (const Topic topic : topics) ask(face, topic, stages_);
    }
    return weights;
  }
  media::Image draw(const Subject& s, const Weights& weights) {
    const auto stage = stages_.in("drawing");
    return annotated(s, weights);
  }
  void write(const std::string& name, const media::Image& image) {
    const auto stage = stages_.in("writing pictures");
    const std::string file = (fs::path(options_.out) / (name + ".png")).string();
    media::write_png(file, image);
    std::cout << "  picture: " << file << "\n" << std::flush;
  }

  Options options_;
  Stages stages_;
  run::Pipeline pipeline_;
  FaceSeeker seeker_;
};

// By its first bytes.
bool is_picture(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[2] = {};
  if (!file.read(magic, 2)) throw Error(ErrorKind::kFile, path + ": expected a picture or a video, found no such file");
  const std::string_view start(magic, 2);
  return start == "\xff\xd8" || start == "\x89P" || start == "BM" || start == "P5" || start == "P6";
}

void run_demo(const Options& o) {
  std::cout << "The model is small and was trained on rendered faces only: what it says of a real person means "
               "nothing.\n";
  fs::create_directories(o.out);
  const bool picture = o.file.empty() || is_picture(o.file);
  Demo demo(o);
  if (o.fake) {
    demo.fake();
  } else if (o.file.empty()) {
    demo.photo((fs::path(o.folder) / "astronaut.jpg").string());
    demo.clip();
  } else {
    picture ? demo.photo(o.file) : demo.video(o.file);
  }
  demo.print_times();
  std::cout << "\nThe published 7B weights answer through the tool: facellava ask --model DIR --image FILE --question "
               "TEXT\n(README.md, \"The published 7B weights\", says how to get and convert them).\n";
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  CLI::App app(
      "Finds the faces of a photograph or a video, asks a small model about each, and draws what it looked at; by "
      "default of a photograph and of a rendered clip. A file without a face is no error");
  demo::Options o;
  app.add_option("demo-folder", o.folder, "Folder with model/ and astronaut.jpg")->required();
  app.add_option("out-folder", o.out, "Where the pictures are written")->required();
  auto* file = app.add_option("file", o.file, "JPEG, PNG, BMP or PPM; or a video, in a build with FFmpeg");
  app.add_flag("--fake", o.fake, "A rendered face and a face swap of it: which is real?")->excludes(file);
  app.add_option("--model", o.model, "Another model of the same geometry");
  app.add_option("--threads", o.threads, "0: one a core")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    demo::run_demo(o);
  } catch (const std::exception& e) {
    std::cout << std::flush;
    std::cerr << "facellava_demo: " << e.what() << "\n";
    return 1;
  }
}

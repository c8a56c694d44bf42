// The main job, on the small model of this folder: a face and its 68 landmarks go in, five questions are answered in
// words. usage: facellava_demo DEMO_FOLDER OUT_FOLDER
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/attention_map.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/media/write_png.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/run/pipeline.hpp"

namespace {

using namespace facellava;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Asks every question of a face; returns how many answers have the expected tokens.
int interview(run::Viewing& face, const nlohmann::json& expected) {
  int right = 0;
  for (const auto& qa : expected) {
    std::printf("  Q  %s\n  A  ", qa["question"].get<std::string>().c_str());
    const auto start = Clock::now();
    face.ask(qa["question"].get<std::string>(), {}, [](std::string_view words) {
      std::printf("%.*s", int(words.size()), words.data());
      std::fflush(stdout);
    });
    std::vector<int> ids = face.generations[0].ids;
    if (!ids.empty() && face.generations[0].finish == run::Finish::kEos) ids.pop_back();
    const bool same = ids == qa["answer_ids"].get<std::vector<int>>();
    right += same;
    std::printf("   (%zu tokens, %.0f ms%s)\n", ids.size(), since(start), same ? "" : "; NOT the expected answer");
  }
  return right;
}

void show_probabilities(run::Viewing& face) {
  const std::vector<std::string> labels{"happy", "sad", "surprised", "fearful", "angry", "disgusted", "neutral"};
  const auto scores = face.score("What emotion does this face show?", labels, "The expression is");
  std::printf("  \"The expression is ...\"");
  for (std::size_t i = 0; i < labels.size(); ++i)
    std::printf("%s %s %.2f %%", i ? "," : "", labels[i].c_str(), 100 * double(scores[i].probability));
  std::printf("\n");
}

int show(const std::filesystem::path& demo, const std::filesystem::path& out) {
  const auto start = Clock::now();
  const run::ModelFolder folder({(demo / "model").string()});
  const auto pipeline = run::open_pipeline<configs::kDemo, cpu::Device>(folder, {}, cpu::Options{});
  std::printf(
      "model opened in %.0f ms: a small one, trained on rendered faces only; it says nothing about a real person\n",
      since(start));
  int right = 0, asked = 0;
  for (const auto& sample : io::read_json((demo / "faces" / "answers.json").string())) {
    const std::filesystem::path file = demo / "faces" / sample["image"].get<std::string>();
    const media::Image picture = media::read_image(file.string());
    const auto landmarks = faces::read_landmarks(std::filesystem::path(file).replace_extension(".json").string()).at(0);
    const auto look = Clock::now();
    auto face = pipeline.look(picture.view(), landmarks);
    std::printf("\n%s, looked at in %.0f ms\n", file.filename().string().c_str(), since(look));
    right += interview(face, sample["qa"]);
    asked += int(sample["qa"].size());
    show_probabilities(face);
    const auto sheet = out / (file.stem().string() + "_attention.png");
    media::write_png(sheet.string(), faces::draw_attention(picture.view(), landmarks, face.region_attention()));
    std::printf("  attention of the visual tokens to the nine regions: %s\n", sheet.string().c_str());
  }
  std::printf("\n%d of %d answers are the expected ones, token for token\n", right, asked);
  return right == asked ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: facellava_demo DEMO_FOLDER OUT_FOLDER\n"), 2;
  std::filesystem::create_directories(argv[2]);
  return show(argv[1], argv[2]);
} catch (const std::exception& e) {
  std::fprintf(stderr, "facellava_demo: %s\n", e.what());
  return 1;
}

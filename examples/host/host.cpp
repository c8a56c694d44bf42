// A program of one's own around the library: a camera's frame in, words out. The frame is the program's, blue first, in
// rows with a gap; the model's folder is the only file.   usage: host MODEL_FOLDER
#include <cstdint>
#include <iostream>
#include <vector>

#include "host_includes.hpp"

using namespace facellava;

struct Frame {
  static constexpr int kWidth = 320, kHeight = 240, kStride = 1024;
  std::vector<std::uint8_t> pixels = std::vector<std::uint8_t>(std::size_t(kStride) * kHeight);
  std::vector<faces::Point> landmarks;
};

// In place of a camera and a landmark detector: a grey oval before a bright wall, and 68 points on it.
Frame grab() {
  Frame f;
  for (int y = 0; y < Frame::kHeight; ++y)
    for (int x = 0; x < 3 * Frame::kWidth; ++x) {
      const int dx = x / 3 - 160, dy = y - 120;
      f.pixels[std::size_t(y * Frame::kStride + x)] = dx * dx * 2 + dy * dy < 9000 ? 120 + x % 3 * 20 : 220;
    }
  for (int i = 0; i < 68; ++i) f.landmarks.push_back({110.f + float(i % 12) * 9, 70.f + float(i / 12) * 20});
  return f;
}

int main(int argc, char** argv) try {
  if (argc != 2) return std::cerr << "usage: host MODEL_FOLDER\n", 2;
  const run::ModelFolder folder({argv[1]});
  const auto pipeline =
      run::open_pipeline<configs::kFaceLlavaMini, cpu::Device>(folder, {}, cpu::Options{.threads = 2});
  const Frame frame = grab();
  const media::PixelView view{frame.pixels.data(), Frame::kWidth, Frame::kHeight, Frame::kStride,
                              media::PixelFormat::kBgr};
  auto face = pipeline.look(view, frame.landmarks);
  std::cout << face.ask("What emotion does this face show?") << "\n";
} catch (const Error& e) {
  std::cerr << e.what() << "\n";
  return 1;
}

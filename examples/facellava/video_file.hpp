// Video files, where the tool is built with FFmpeg.
#pragma once
#include <string>
#include <vector>

#include "facellava/run/media_files.hpp"

namespace tool {

// Frames of a video, evenly spread from its first to its last and preprocessed as the released code does.
struct VideoPixels {
  int frames, width, height;  // of the file
  std::vector<int> indices;   // [count]
  std::vector<float> pixels;  // [count, 3, side, side]
};
enum class Turn { kReference, kDisplayMatrix };  // media::Rotation's, which a build without FFmpeg lacks
VideoPixels read_video(const std::string& path, int count, int side, Turn turn = Turn::kReference);
facellava::run::VideoSource video_source();

}  // namespace tool

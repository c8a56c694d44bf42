// Video files, where the tool is built with FFmpeg.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "facellava/media/image.hpp"
#include "facellava/run/media_files.hpp"

namespace tool {

struct VideoInfo {
  int frames = 0, width = 0, height = 0;
  double rate = 0;  // frames a second; 0: unknown
};
enum class Turn { kReference, kDisplayMatrix };  // media::Rotation's, which a build without FFmpeg lacks

// Which frames are wanted, and what is done with each: where it stands in that list, its time in seconds, its pixels.
using ChooseFrames = std::function<std::vector<int>(const VideoInfo&)>;
using OnFrame = std::function<void(std::size_t, double, const facellava::media::PixelView&)>;
VideoInfo read_frames(const std::string& path, const ChooseFrames&, const OnFrame&, Turn turn = Turn::kReference);

// Where frames come from: of a file each time that it is called.
using FrameSource = std::function<VideoInfo(const ChooseFrames&, const OnFrame&)>;
inline FrameSource frames_of(const std::string& path, Turn turn = Turn::kReference) {
  return [=](const ChooseFrames& choose, const OnFrame& f) { return read_frames(path, choose, f, turn); };
}

// Frames of a video, evenly spread from its first to its last and preprocessed as the released code does.
struct VideoPixels {
  VideoInfo video;
  std::vector<int> indices;   // [count]
  std::vector<float> pixels;  // [count, 3, side, side]
};
VideoPixels read_video(const std::string& path, int count, int side, Turn turn = Turn::kReference);
// The same for headers that know no FFmpeg.
facellava::run::VideoSource video_source();

}  // namespace tool

#include "video_file.hpp"

#include "facellava/media/preprocess_video.hpp"
#ifdef FACELLAVA_TOOL_VIDEO
#include "facellava/media/video.hpp"
#endif

namespace tool {

using namespace facellava;

#ifdef FACELLAVA_TOOL_VIDEO
VideoInfo read_frames(const std::string& path, const ChooseFrames& choose, const OnFrame& f, Turn turn) {
  av_log_set_level(AV_LOG_QUIET);  // what matters comes as an Error
  media::VideoOptions options;
  if (turn == Turn::kDisplayMatrix) options.rotation = media::Rotation::kDisplayMatrix;
  media::VideoReader video(path, options);
  const VideoInfo info{video.frames(), video.width(), video.height(), video.average_rate()};
  const std::vector<int> indices = choose(info);
  video.read(indices, [&](std::size_t i, const media::PixelView& frame) { f(i, video.time(indices[i]), frame); });
  return info;
}
#else
VideoInfo read_frames(const std::string& path, const ChooseFrames&, const OnFrame&, Turn) {
  throw Error(ErrorKind::kArgument,
              path +
                  ": this build has no video decoder: install FFmpeg's libraries (libavformat-dev, libavcodec-dev, "
                  "libswscale-dev, libavutil-dev, pkg-config) and build again, or give the frames as "
                  "F.safetensors:tensor");
}
#endif

VideoPixels read_video(const std::string& path, int count, int side, Turn turn) {
  media::Preprocess p;
  p.side = side;
  const std::size_t frame_size = std::size_t(3) * std::size_t(side) * std::size_t(side);
  VideoPixels out;
  out.pixels.resize(std::size_t(count) * frame_size);
  const auto choose = [&](const VideoInfo& v) { return out.indices = media::linspace_indices(v.frames, count); };
  out.video = read_frames(
      path, choose,
      [&](std::size_t i, double, const media::PixelView& frame) {
        media::preprocess_video_frame(out.pixels.data() + i * frame_size, frame, p);
      },
      turn);
  return out;
}

run::VideoSource video_source() {
  return [](const std::string& path, int count, int side) {
    VideoPixels v = read_video(path, count, side);
    return run::VideoPixels{{v.video.width, v.video.height, v.video.frames}, std::move(v.pixels)};
  };
}

}  // namespace tool

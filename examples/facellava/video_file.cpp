#include "video_file.hpp"

#ifdef FACELLAVA_TOOL_VIDEO
#include "facellava/media/preprocess_video.hpp"
#include "facellava/media/video.hpp"
#else
#include "facellava/core/error.hpp"
#endif

namespace tool {

using namespace facellava;

#ifdef FACELLAVA_TOOL_VIDEO
VideoPixels read_video(const std::string& path, int count, int side, Turn turn) {
  av_log_set_level(AV_LOG_QUIET);  // what matters comes as an Error
  media::VideoOptions options;
  if (turn == Turn::kDisplayMatrix) options.rotation = media::Rotation::kDisplayMatrix;
  media::VideoReader video(path, options);
  media::Preprocess p;
  p.side = side;
  const std::size_t frame_size = std::size_t(3) * std::size_t(side) * std::size_t(side);
  VideoPixels out{video.frames(), video.width(), video.height(), media::linspace_indices(video.frames(), count), {}};
  out.pixels.resize(std::size_t(count) * frame_size);
  video.read(out.indices, [&](std::size_t i, const media::PixelView& frame) {
    media::preprocess_video_frame(out.pixels.data() + i * frame_size, frame, p);
  });
  return out;
}
#else
VideoPixels read_video(const std::string& path, int, int, Turn) {
  throw Error(ErrorKind::kArgument,
              path +
                  ": this build has no video decoder: install FFmpeg's libraries (libavformat-dev, libavcodec-dev, "
                  "libswscale-dev, libavutil-dev, pkg-config) and build again, or give the frames as "
                  "F.safetensors:tensor");
}
#endif

run::VideoSource video_source() {
  return [](const std::string& path, int count, int side) {
    VideoPixels video = read_video(path, count, side);
    return run::VideoPixels{{video.width, video.height, video.frames}, std::move(video.pixels)};
  };
}

}  // namespace tool

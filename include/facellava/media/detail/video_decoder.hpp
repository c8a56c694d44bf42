// Packets to frames (libavcodec) and frames to RGB (libswscale), with the conversion that decord does: the matrix and
// the range that the frame names, bicubic where sizes or chroma are scaled, no dithering of our own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "facellava/media/detail/video_input.hpp"
#include "facellava/media/image.hpp"

extern "C" {
#include <libswscale/swscale.h>
}

namespace facellava::media::detail {

class VideoDecoder {
 public:
  // Errors: kFormat (a codec that cannot be opened), kCapacity.
  VideoDecoder(const VideoInput& input, int threads, std::int64_t max_pixels) {
    context_.reset(avcodec_alloc_context3(&input.codec()));
    frame_.reset(av_frame_alloc());
    if (!context_ || !frame_) throw Error(ErrorKind::kCapacity, input.path() + ": no memory for a decoder");
    int code = avcodec_parameters_to_context(context_.get(), input.stream().codecpar);
    if (code < 0) throw_ffmpeg(ErrorKind::kFormat, input.path() + ": the video's parameters", code);
    context_->pkt_timebase = input.stream().time_base;
    context_->thread_count = threads;
    context_->max_pixels = max_pixels;
    context_->log_level_offset = kSilent;
    code = avcodec_open2(context_.get(), &input.codec(), nullptr);
    if (code < 0) throw_ffmpeg(ErrorKind::kFormat, input.path() + ": the decoder " + input.codec().name, code);
  }

  // nullptr: there are no more packets. 0, or why the packet is refused.
  int send(const AVPacket* packet) { return avcodec_send_packet(context_.get(), packet); }
  // 0: frame() is the next one in the order of showing. AVERROR(EAGAIN): wants a packet. AVERROR_EOF, or an error.
  int receive() { return avcodec_receive_frame(context_.get(), frame_.get()); }
  const AVFrame& frame() const { return *frame_; }
  // Parts of the frame were made up, because its data or a frame that it builds on is broken.
  bool damaged() const { return frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT); }
  void flush() { avcodec_flush_buffers(context_.get()); }

 private:
  static constexpr int kSilent = 1 << 10;  // above every level that av_log lets through
  struct ContextDeleter {
    void operator()(AVCodecContext* c) const { avcodec_free_context(&c); }
  };
  struct FrameDeleter {
    void operator()(AVFrame* f) const { av_frame_free(&f); }
  };
  std::unique_ptr<AVCodecContext, ContextDeleter> context_;
  std::unique_ptr<AVFrame, FrameDeleter> frame_;
};

class RgbConverter {
 public:
  RgbConverter() = default;
  RgbConverter(int width, int height) : width_(width), height_(height) {}

  // The frame in the converter's size. The pixels are valid until the next call. Errors: kFormat (a format of pixels
  // that cannot be converted), kCapacity.
  PixelView operator()(const AVFrame& frame, const std::string& origin) {
    prepare(frame, origin);
    std::uint8_t* to[4] = {rgb_.data(), nullptr, nullptr, nullptr};
    const int strides[4] = {stride(), 0, 0, 0};
    const int rows = sws_scale(context_.get(), frame.data, frame.linesize, 0, frame.height, to, strides);
    if (rows != height_)
      throw Error(ErrorKind::kFormat,
                  origin + ": expected " + std::to_string(height_) + " rows of RGB, found " + std::to_string(rows));
    return {rgb_.data(), width_, height_, stride(), PixelFormat::kRgb};
  }

 private:
  struct ContextDeleter {
    void operator()(SwsContext* c) const { sws_freeContext(c); }
  };

  // swscale writes rows in whole vectors: they get room for that.
  int stride() const { return (width_ * 3 + 127) / 64 * 64; }

  // Without the formats that mean a full range by their name, which swscale warns of.
  static AVPixelFormat plain(AVPixelFormat format) {
    switch (format) {
      case AV_PIX_FMT_YUVJ420P: return AV_PIX_FMT_YUV420P;
      case AV_PIX_FMT_YUVJ422P: return AV_PIX_FMT_YUV422P;
      case AV_PIX_FMT_YUVJ444P: return AV_PIX_FMT_YUV444P;
      case AV_PIX_FMT_YUVJ440P: return AV_PIX_FMT_YUV440P;
      case AV_PIX_FMT_YUVJ411P: return AV_PIX_FMT_YUV411P;
      default: return format;
    }
  }

  void prepare(const AVFrame& frame, const std::string& origin) {
    const auto format = plain(AVPixelFormat(frame.format));
    const bool full = frame.color_range == AVCOL_RANGE_JPEG || format != frame.format;
    if (frame.width < 1 || frame.height < 1 || sws_isSupportedInput(format) <= 0)
      throw Error(ErrorKind::kFormat, origin + ": a frame has no pixels that can be converted to RGB");
    rgb_.resize(std::size_t(stride()) * std::size_t(height_) + 64);
    context_.reset(sws_getCachedContext(context_.release(), frame.width, frame.height, format, width_, height_,
                                        AV_PIX_FMT_RGB24, SWS_BICUBIC, nullptr, nullptr, nullptr));
    if (!context_)
      throw Error(ErrorKind::kCapacity, origin + ": a frame of " + std::to_string(frame.width) + " x " +
                                            std::to_string(frame.height) + " cannot be converted to RGB");
    int *inverse = nullptr, *table = nullptr, from_full = 0, to_full = 0, brightness = 0, contrast = 0, saturation = 0;
    if (sws_getColorspaceDetails(context_.get(), &inverse, &from_full, &table, &to_full, &brightness, &contrast,
                                 &saturation) < 0)
      return;  // RGB already
    sws_setColorspaceDetails(context_.get(), sws_getCoefficients(frame.colorspace), full, table, to_full, brightness,
                             contrast, saturation);
  }

  int width_ = 0, height_ = 0;
  std::unique_ptr<SwsContext, ContextDeleter> context_;
  std::vector<std::uint8_t> rgb_;
};

}  // namespace facellava::media::detail

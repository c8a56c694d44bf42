// The packets of one video stream of one local file, by FFmpeg's libavformat. The file is read through a context of our
// own and no protocol is allowed, so that nothing a file says can open another file or an address; formats that are
// lists of other files, scripts or single pictures are refused before their reader runs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/eval.h>
}

#include "facellava/core/error.hpp"

namespace facellava::media::detail {

// "path: what: FFmpeg's reason"
[[noreturn]] inline void throw_ffmpeg(ErrorKind kind, const std::string& what, int code) {
  char reason[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, reason, sizeof reason);
  throw Error(code == AVERROR(ENOMEM) ? ErrorKind::kCapacity : kind, what + ": " + reason);
}

struct PacketDeleter {
  void operator()(AVPacket* p) const { av_packet_free(&p); }
};
using PacketPtr = std::unique_ptr<AVPacket, PacketDeleter>;
inline PacketPtr new_packet() {
  PacketPtr p(av_packet_alloc());
  if (!p) throw Error(ErrorKind::kCapacity, "video: no memory for a packet");
  return p;
}

// A regular file as FFmpeg reads it.
class VideoFile {
 public:
  explicit VideoFile(const std::string& path) {
    std::error_code failed;
    if (!std::filesystem::is_regular_file(path, failed))
      throw Error(ErrorKind::kFile, path + ": expected a video file, found " +
                                        (failed ? failed.message() : std::string("something else")));
    size_ = std::int64_t(std::filesystem::file_size(path, failed));
    file_.open(path, std::ios::binary);
    if (failed || !file_) throw Error(ErrorKind::kFile, path + ": cannot read the file");
    constexpr int kBuffer = 1 << 16;
    auto* buffer = static_cast<unsigned char*>(av_malloc(kBuffer));
    if (buffer) context_ = avio_alloc_context(buffer, kBuffer, 0, this, &read, nullptr, &seek);
    if (!context_) {
      av_free(buffer);
      throw Error(ErrorKind::kCapacity, path + ": no memory to read the file");
    }
  }
  VideoFile(const VideoFile&) = delete;
  VideoFile& operator=(const VideoFile&) = delete;
  ~VideoFile() {
    av_freep(&context_->buffer);
    avio_context_free(&context_);
  }
  AVIOContext* context() const { return context_; }

 private:
  static int read(void* self, std::uint8_t* to, int n) {
    auto& file = static_cast<VideoFile*>(self)->file_;
    file.read(reinterpret_cast<char*>(to), n);
    return file.gcount() > 0 ? int(file.gcount()) : AVERROR_EOF;
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    VideoFile& f = *static_cast<VideoFile*>(self);
    if (whence == AVSEEK_SIZE) return f.size_;
    f.file_.clear();  // of the end of the file
    if (whence == SEEK_CUR) offset += std::int64_t(f.file_.tellg());
    if (whence == SEEK_END) offset += f.size_;
    if (offset < 0 || offset > f.size_ || !f.file_.seekg(offset)) return AVERROR(EINVAL);
    return offset;
  }

  std::ifstream file_;
  std::int64_t size_ = 0;
  AVIOContext* context_ = nullptr;
};

// What a file of a format is instead of a video; nothing for a format that is welcome. Readers of lists and scripts
// would open other files, run programs or ask the network.
inline const char* refusal(const AVInputFormat& format) {
  const std::string name = format.name;
  const auto one_of = [&](const char* names) { return av_match_name(name.c_str(), names) != 0; };
  if (one_of("hls,applehttp,dash,concat,concatf,imf,sdp,rtsp,rtp,webm_dash_manifest")) return "a list of other files";
  if (one_of("avisynth,vapoursynth")) return "a script";
  if (one_of("tty,bin,xbin,adf,idf")) return "text";
  if (one_of("image2,image2pipe") || name.ends_with("_pipe")) return "a picture";
  return nullptr;
}

class VideoInput {
 public:
  // Errors: kFile (missing, unreadable, not a regular file), kFormat (no video that FFmpeg can read), kCapacity.
  VideoInput(const std::string& path, std::int64_t max_pixels) : path_(path), file_(path) {
    open();
    read_streams(max_pixels);
    const AVCodec* codec = nullptr;
    number_ = av_find_best_stream(format_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (number_ == AVERROR_DECODER_NOT_FOUND)
      throw Error(ErrorKind::kFormat, path_ + ": this build of FFmpeg has no decoder for the video");
    if (number_ < 0 || (stream().disposition & AV_DISPOSITION_ATTACHED_PIC))
      throw Error(ErrorKind::kFormat,
                  path_ + ": expected a video, found none in the file (" + format_->iformat->name + ")");
    codec_ = codec;
    check_size(stream().codecpar->width, stream().codecpar->height, max_pixels);
    for (unsigned i = 0; i < format_->nb_streams; ++i)
      if (int(i) != number_) format_->streams[i]->discard = AVDISCARD_ALL;
  }

  const std::string& path() const { return path_; }
  AVStream& stream() const { return *format_->streams[number_]; }
  const AVCodec& codec() const { return *codec_; }
  // Times of packets may jump: transport and program streams.
  bool steady() const { return !(format_->iformat->flags & (AVFMT_TS_DISCONT | AVFMT_NOTIMESTAMPS)); }

  // The next packet of the video: 0; or AVERROR_EOF, or why the file cannot be read further.
  int read(AVPacket& packet) {
    for (;;) {
      av_packet_unref(&packet);
      const int code = av_read_frame(format_.get(), &packet);
      if (code < 0 || packet.stream_index == number_) return code;
    }
  }
  // To a key packet at a time or before it, as far as the format's reader can.
  bool seek(std::int64_t time) { return av_seek_frame(format_.get(), number_, time, AVSEEK_FLAG_BACKWARD) >= 0; }

 private:
  struct FormatDeleter {
    void operator()(AVFormatContext* c) const { avformat_close_input(&c); }
  };

  void open() {
    const AVInputFormat* found = nullptr;
    const std::string name = std::filesystem::path(path_).filename().string();
    int code = av_probe_input_buffer2(file_.context(), &found, name.c_str(), nullptr, 0, 0);
    if (code < 0) throw_ffmpeg(ErrorKind::kFormat, path_ + ": expected a video, found a file of no known format", code);
    if (const char* what = refusal(*found))
      throw Error(ErrorKind::kFormat, path_ + ": expected a video, found " + what + " (" + found->name + ")");
    AVFormatContext* context = avformat_alloc_context();
    if (!context) throw Error(ErrorKind::kCapacity, path_ + ": no memory to open the file");
    context->pb = file_.context();
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    code = avformat_open_input(&context, name.c_str(), found, &options);  // frees the context where it fails
    av_dict_free(&options);
    if (code < 0) throw_ffmpeg(ErrorKind::kFormat, path_ + ": the video cannot be opened", code);
    format_.reset(context);
  }

  // Sizes and time bases, for which FFmpeg may decode a few frames: within the limit, where the header names the
  // streams.
  void read_streams(std::int64_t max_pixels) {
    std::vector<AVDictionary*> options(format_->nb_streams, nullptr);
    for (AVDictionary*& o : options) av_dict_set_int(&o, "max_pixels", max_pixels, 0);
    const int code = avformat_find_stream_info(format_.get(), options.empty() ? nullptr : options.data());
    for (AVDictionary*& o : options) av_dict_free(&o);
    if (code < 0) throw_ffmpeg(ErrorKind::kFormat, path_ + ": the video's streams cannot be read", code);
  }

  void check_size(int width, int height, std::int64_t max_pixels) const {
    if (width < 1 || height < 1)
      throw Error(ErrorKind::kFormat, path_ + ": expected a video of a known size, found " + std::to_string(width) +
                                          " x " + std::to_string(height));
    if (width > max_pixels / height)
      throw Error(ErrorKind::kCapacity, path_ + ": expected at most " + std::to_string(max_pixels) + " pixels, found " +
                                            std::to_string(width) + " x " + std::to_string(height));
  }

  std::string path_;
  VideoFile file_;  // outlives the format's reader
  std::unique_ptr<AVFormatContext, FormatDeleter> format_;
  int number_ = -1;
  const AVCodec* codec_ = nullptr;
};

// The display matrix of a stream, or nullptr. (libavutil/display.h: x' = a x + c y, y' = b x + d y; a, b, _, c, d
// first)
inline const std::int32_t* display_matrix(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_MAJOR >= 61
  const AVPacketSideData* data = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data && data->size >= 36 ? reinterpret_cast<const std::int32_t*>(data->data) : nullptr;
#else
  std::size_t size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return data && size >= 36 ? reinterpret_cast<const std::int32_t*>(data) : nullptr;
#endif
}

// Degrees clockwise, 0 to 359, as decord reads them: the tag "rotate", or the turn of the display matrix.
inline int clockwise_degrees(const AVStream& stream) {
  const AVDictionaryEntry* tag = av_dict_get(stream.metadata, "rotate", nullptr, 0);
  double degrees = tag ? av_strtod(tag->value, nullptr) : 0;
  if (const std::int32_t* matrix = display_matrix(stream); matrix && !(std::abs(degrees) > 0))
    degrees = -av_display_rotation_get(matrix);
  if (!std::isfinite(degrees)) return 0;
  degrees = std::fmod(degrees, 360);
  return int(degrees < 0 ? degrees + 360 : degrees) % 360;
}

// The EXIF orientation (1 to 8) that means the same as a display matrix of quarter turns and mirrors; 1 for any other.
inline int exif_orientation(const std::int32_t* m) {
  if (!m) return 1;
  const auto sign = [](std::int32_t v) { return (v > 0) - (v < 0); };
  const int a = sign(m[0]), b = sign(m[1]), c = sign(m[3]), d = sign(m[4]);
  if (b == 0 && c == 0 && a != 0 && d != 0) return a > 0 ? (d > 0 ? 1 : 4) : (d > 0 ? 2 : 3);
  if (a == 0 && d == 0 && b != 0 && c != 0) return b > 0 ? (c > 0 ? 5 : 6) : (c > 0 ? 8 : 7);
  return 1;
}

}  // namespace facellava::media::detail

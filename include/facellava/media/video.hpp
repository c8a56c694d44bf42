// Video files by FFmpeg: any container and codec that its libraries read, frame by frame, as RGB.
//
//   media::VideoReader video("clip.mp4");
//   const auto eight = media::linspace_indices(video.frames(), 8);
//   video.read(eight, [&](std::size_t i, const media::PixelView& frame) { ... });   // eight[i]
//   while (const auto frame = video.next()) ...                                     // frame->index, frame->pixels
//
// Frame i is the i-th that a decoder gives which is fed the whole file from its start. The packets are read once at
// opening. Where each is a frame with a time of its own (H.264, HEVC, VP9, AV1 and intra codecs in MP4, Matroska and
// their like), they say how many frames there are, and reading decodes from the key frame before the wanted one; every
// packet and frame after a jump is compared with what the first reading found, and where they differ, decoding starts
// again from the beginning of the file. All other videos (program and transport streams, raw streams, VP8, MPEG-4 in
// AVI, repeated or missing times) are decoded once at opening to count the frames, and always from the start on.
//
// Pixels equal decord's, which the released code uses, on the goldens (the test of this header). decord numbers the
// frames of some MPEG files wrongly; we do not follow it there. The sample aspect ratio is not applied, as in decord.
//
// Only the named file is read (detail/video_input.hpp). FFmpeg's log is global to a process and is the host's: decoders
// are silent here, but demuxers may speak on stderr unless the host calls av_log_set_level or av_log_set_callback.
// A reader belongs to one thread at a time.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "facellava/media/decode.hpp"
#include "facellava/media/detail/video_decoder.hpp"
#include "facellava/media/detail/video_index.hpp"
#include "facellava/media/detail/video_input.hpp"

namespace facellava::media {

// What is done with the turn that a file asks to be shown with.
enum class Rotation {
  kReference,      // quarter turns as decord 0.6.0 makes them: the tag "rotate", else the turn of the display matrix
  kDisplayMatrix,  // turned and mirrored as the display matrix says
  kStored,         // pixels as they are stored
};

enum class BrokenFrame {
  kError,  // a frame that does not decode whole, or a file that ends early, is an error
  kSkip,   // such frames are left out, and kept count of: VideoReader::broken
};

struct VideoLimits {
  std::int64_t max_pixels = std::int64_t(1) << 26;  // of a frame; a decoder keeps up to about 20 frames
  std::int64_t max_frames = std::int64_t(1) << 22;  // 32 bytes of memory each
};

struct VideoOptions {
  Rotation rotation = Rotation::kReference;
  BrokenFrame broken = BrokenFrame::kError;
  int threads = 1;  // of the decoder; 0: one for each core
  VideoLimits limits = {};
};

struct VideoFrame {
  int index;
  double seconds;    // after the first frame
  PixelView pixels;  // valid until the reader is asked again
};

class VideoReader {
 public:
  // Errors: kFile (missing, unreadable), kFormat (no video that can be read, no frame in it), kCapacity (beyond the
  // limits); with BrokenFrame::kError also kFormat where the file is cut off, or a frame that must be decoded now is
  // broken.
  explicit VideoReader(const std::string& path, const VideoOptions& options = {}) : path_(path), options_(options) {
    restart();
    read_packets();
    restart();
    if (!by_packets_ || !packets_keep_their_word()) count_by_decoding();
    if (frames() == 0) throw Error(ErrorKind::kFormat, path_ + ": expected a video, found no frame in it");
    const AVStream& stream = input_->stream();
    rotation_ = detail::clockwise_degrees(stream);
    rotation_ = rotation_ % 90 == 0 ? rotation_ : 0;
    if (options_.rotation == Rotation::kReference)
      orientation_ = rotation_ == 90 ? 6 : rotation_ == 180 ? 3 : rotation_ == 270 ? 8 : 1;
    if (options_.rotation == Rotation::kDisplayMatrix)
      orientation_ = detail::exif_orientation(detail::display_matrix(stream));
    converter_ = detail::RgbConverter(stream.codecpar->width, stream.codecpar->height);
  }

  int frames() const { return int(times().size()); }
  // Of the frames as they are given, turned by options.rotation.
  int width() const { return orientation_ < 5 ? stored_width() : stored_height(); }
  int height() const { return orientation_ < 5 ? stored_height() : stored_width(); }
  // What the file asks for, whatever options.rotation is: 0, 90, 180 or 270 degrees clockwise.
  int rotation() const { return rotation_; }
  // Frames a second on average; 0 where the file does not say.
  double average_rate() const {
    const AVRational rate = input_->stream().avg_frame_rate;
    return rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
  }
  // When a frame is shown, in seconds after the first. Errors: kArgument.
  double time(int frame) const {
    check_frame(frame);
    return double(times()[std::size_t(frame)] - times()[0]) * av_q2d(input_->stream().time_base);
  }
  // Frames met so far that are broken, ascending; only with BrokenFrame::kSkip.
  const std::vector<int>& broken() const { return broken_; }
  // Packets that the decoder refused at opening, where they may have held frames that are not counted.
  int refused_packets() const { return refused_packets_; }
  // Packets given to the decoder so far, counting at opening included: what reading has cost.
  std::int64_t decoded_packets() const { return decoded_packets_; }
  // The file ends before the packets that its header lists; only with BrokenFrame::kSkip.
  bool cut_off() const { return cut_off_; }

  // Calls f(i, pixels) for each i with the frame indices[i], in the order of the frames; each frame is decoded once.
  // Broken ones are left out with BrokenFrame::kSkip. next() goes on behind the last. Errors: kArgument (an index that
  // is no frame), kFormat (a broken frame, a file that changed), kCapacity. After an error the reader can be used
  // again.
  template <class F>
  void read(std::span<const int> indices, F&& f) {
    for (const int index : indices) check_frame(index);
    std::vector<std::size_t> order(indices.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return indices[a] < indices[b]; });
    std::optional<VideoFrame> frame;
    for (const std::size_t i : order) {
      if (i == order.front() || indices[i] != frame_wanted_) frame = at(indices[i]);
      if (frame) f(i, frame->pixels);
    }
  }

  // The frame behind the one given last, at first frame 0; nothing at the end. Errors: as read.
  std::optional<VideoFrame> next() {
    while (frame_wanted_ + 1 < frames())
      if (auto frame = at(frame_wanted_ + 1)) return frame;
    return std::nullopt;
  }
  void rewind() { frame_wanted_ = -1; }

 private:
  enum class Step { kFrame, kEnd, kAstray };  // astray: the file gives other packets or frames than at opening

  const std::vector<std::int64_t>& times() const { return by_packets_ ? index_.times() : times_; }
  int stored_width() const { return input_->stream().codecpar->width; }
  int stored_height() const { return input_->stream().codecpar->height; }
  void check_frame(int frame) const {
    if (frame < 0 || frame >= frames())
      throw Error(ErrorKind::kArgument,
                  path_ + ": expected a frame below " + std::to_string(frames()) + ", found " + std::to_string(frame));
  }
  void check_count(std::int64_t frames) const {
    const std::int64_t most = std::min<std::int64_t>(options_.limits.max_frames, std::numeric_limits<int>::max() / 2);
    check_at_most(most, frames, path_ + ": frames");
  }
  [[noreturn]] void broken_file(const std::string& what) const { throw Error(ErrorKind::kFormat, path_ + ": " + what); }

  // Codecs of which a packet is a frame, whatever made it.
  static bool pairs_frames_and_packets(const AVCodecParameters& p) {
    constexpr AVCodecID kKnown[] = {AV_CODEC_ID_H264,  AV_CODEC_ID_HEVC,    AV_CODEC_ID_VP9,  AV_CODEC_ID_AV1,
                                    AV_CODEC_ID_MJPEG, AV_CODEC_ID_PNG,     AV_CODEC_ID_FFV1, AV_CODEC_ID_PRORES,
                                    AV_CODEC_ID_DNXHD, AV_CODEC_ID_RAWVIDEO};
    return std::find(std::begin(kKnown), std::end(kKnown), p.codec_id) != std::end(kKnown) &&
           (p.field_order == AV_FIELD_PROGRESSIVE || p.field_order == AV_FIELD_UNKNOWN);
  }

  void read_packets() {
    by_packets_ = input_->steady() && pairs_frames_and_packets(*input_->stream().codecpar);
    std::int64_t count = 0;
    int code = 0;
    bool whole = true;
    for (; (code = input_->read(*packet_)) >= 0; ++count) {
      check_count(count + 1);
      whole = !(packet_->flags & AV_PKT_FLAG_CORRUPT);
      by_packets_ = by_packets_ && packet_->pts != AV_NOPTS_VALUE;
      if (by_packets_)
        index_.add({packet_->pts, packet_->dts, packet_->size, (packet_->flags & AV_PKT_FLAG_KEY) != 0,
                    (packet_->flags & AV_PKT_FLAG_DISCARD) == 0});
    }
    cut_off_ = code != AVERROR_EOF || !whole;
    if (cut_off_ && options_.broken == BrokenFrame::kError)
      broken_file("the file is cut off or corrupt after " + std::to_string(count) + " packets of video");
    if (by_packets_) by_packets_ = index_.number_frames();
  }

  // Whether the first frames are those that the packets announced.
  bool packets_keep_their_word() {
    constexpr int kLookedAt = 16;
    while (upcoming_ < std::min(frames(), kLookedAt)) {
      const int expected = upcoming_;
      const Step step = decode();
      if (step == Step::kAstray || (refused_ == 0 && (step == Step::kEnd || current_ != expected))) return false;
      if (step == Step::kEnd) break;
    }
    return true;
  }

  void count_by_decoding() {
    by_packets_ = false;
    index_ = {};
    refused_ = 0;
    restart();
    while (decode() == Step::kFrame) {
      check_count(std::int64_t(current_) + 1);
      const std::int64_t time = decoder_->frame().best_effort_timestamp;
      times_.push_back(time != AV_NOPTS_VALUE ? time : guessed_time());
      if (decoder_->damaged()) note_broken(current_);
    }
    if (refused_ > 0 && options_.broken == BrokenFrame::kError)
      broken_file("the decoder refuses " + std::to_string(refused_) + " packets of video");
    refused_packets_ = refused_;
    restart();
  }

  // Where a stream tells no times: as far behind the last frame as the average rate says.
  std::int64_t guessed_time() const {
    if (times_.empty()) return 0;
    const AVStream& s = input_->stream();
    const AVRational rate = s.avg_frame_rate.num > 0 ? s.avg_frame_rate : AVRational{25, 1};
    return times_.back() + std::max<std::int64_t>(1, av_rescale_q(1, av_inv_q(rate), s.time_base));
  }

  void restart() {
    decoder_.reset();
    input_.reset();
    input_ = std::make_unique<detail::VideoInput>(path_, options_.limits.max_pixels);
    decoder_ = std::make_unique<detail::VideoDecoder>(*input_, options_.threads, options_.limits.max_pixels);
    at_packet(0, 0);
    jumped_ = false;
  }
  void at_packet(int packet, int frame) {
    next_packet_ = packet;
    upcoming_ = first_ = frame;
    current_ = -1;
    draining_ = false;
  }

  // Feeds the decoder its next packet, or tells it that there is none.
  Step feed() {
    if (draining_) return Step::kEnd;
    const int code = input_->read(*packet_);
    if (code < 0) {
      draining_ = true;
      return decoder_->send(nullptr) < 0 ? Step::kEnd : Step::kFrame;
    }
    if (by_packets_) {
      const auto& known = index_.packets();
      const auto at = std::size_t(next_packet_);
      if (at >= known.size() || known[at].pts != packet_->pts || known[at].size != packet_->size) return Step::kAstray;
    }
    ++next_packet_;
    ++decoded_packets_;
    if (decoder_->send(packet_.get()) < 0) ++refused_;
    return Step::kFrame;
  }

  // One frame further: current_ is its number, upcoming_ the next one's.
  Step decode() {
    constexpr int kMostErrors = 64;  // in a row, without a packet between them
    current_ = -1;
    for (int errors = 0; errors < kMostErrors;) {
      const int code = decoder_->receive();
      if (code == AVERROR_EOF) return Step::kEnd;
      if (code == AVERROR(EAGAIN)) {
        if (const Step step = feed(); step != Step::kFrame) return step;
        errors = 0;
        continue;
      }
      if (code < 0) {
        ++errors;
        ++refused_;
        continue;
      }
      const int frame = by_packets_ ? index_.frame_at(decoder_->frame().pts) : upcoming_;
      if (frame < 0 || (frame >= first_ && frame < upcoming_)) return Step::kAstray;
      if (frame < first_) continue;  // shown before the key frame that decoding began at
      current_ = frame;
      upcoming_ = frame + 1;
      return Step::kFrame;
    }
    return Step::kEnd;
  }

  // To the key packet before a frame, if that is nearer than going on. false: the file cannot be trusted to do that.
  bool jump(int frame) {
    const int key = index_.key_before(frame);
    if (frame >= upcoming_ && (key < next_packet_ || key == 0)) return true;
    const auto& packets = index_.packets();
    const detail::VideoPacket& k = packets[std::size_t(key)];
    for (const std::int64_t time : {k.pts, std::min(k.pts, k.dts)}) {
      if (time == AV_NOPTS_VALUE || !input_->seek(time)) continue;
      if (input_->read(*packet_) < 0) continue;
      const int found = index_.find(packet_->pts, packet_->size);
      if (found < 0 || found > key) continue;
      decoder_->flush();
      const auto first = std::lower_bound(times().begin(), times().end(), packets[std::size_t(found)].pts);
      at_packet(found + 1, int(first - times().begin()));
      jumped_ = true;
      ++decoded_packets_;
      return first_ <= frame && decoder_->send(packet_.get()) >= 0;
    }
    return false;
  }

  // Decodes until a frame is the current one. false: the way there is not as it was found at opening, or broken.
  bool decode_to(int frame) {
    while (upcoming_ <= frame) {
      const int expected = upcoming_;
      const Step step = decode();
      if (step == Step::kAstray) return false;
      const int reached = step == Step::kEnd ? frames() : current_;
      const bool damaged = step == Step::kFrame && decoder_->damaged();
      if (jumped_ && (damaged || reached > expected)) return false;
      for (int missing = expected; missing < reached; ++missing) note_broken(missing);
      if (damaged) note_broken(current_);
      if (step == Step::kEnd) {
        upcoming_ = frames();
        break;
      }
    }
    return true;
  }

  bool is_broken(int frame) const { return std::binary_search(broken_.begin(), broken_.end(), frame); }
  void note_broken(int frame) {
    if (is_broken(frame)) return;
    if (options_.broken == BrokenFrame::kError)
      broken_file("frame " + std::to_string(frame) + " cannot be decoded whole");
    broken_.insert(std::upper_bound(broken_.begin(), broken_.end(), frame), frame);
  }

  // A frame, or nothing if it is broken and to be skipped.
  std::optional<VideoFrame> at(int frame) {
    frame_wanted_ = frame;
    if (is_broken(frame)) return std::nullopt;
    if (frame != current_) {
      try {
        go_to(frame);
      } catch (...) {
        lost_ = true;
        throw;
      }
    }
    if (is_broken(frame)) return std::nullopt;
    if (current_ != frame) broken_file("the file gives other frames than when it was opened");
    return VideoFrame{frame, time(frame), pixels()};
  }

  void go_to(int frame) {
    if (std::exchange(lost_, false)) restart();
    if (by_packets_ && may_jump_) {
      if (jump(frame) && decode_to(frame)) return;
      may_jump_ = false;
      restart();
    } else if (frame < upcoming_) {
      restart();
    }
    if (!decode_to(frame)) broken_file("the file gives other frames than when it was opened");
  }

  PixelView pixels() {
    const PixelView rgb = converter_(decoder_->frame(), path_);
    if (orientation_ == 1) return rgb;
    turned_ = detail::turned(to_rgb(rgb), orientation_);
    return turned_.view();
  }

  std::string path_;
  VideoOptions options_;
  std::unique_ptr<detail::VideoInput> input_;
  std::unique_ptr<detail::VideoDecoder> decoder_;
  detail::PacketPtr packet_ = detail::new_packet();
  detail::RgbConverter converter_;
  Image turned_;
  int rotation_ = 0, orientation_ = 1;  // EXIF's
  bool cut_off_ = false;

  bool by_packets_ = false;  // what index_ says holds; else times_ were found by decoding
  detail::VideoIndex index_;
  std::vector<std::int64_t> times_;  // in units of the stream's time base
  std::vector<int> broken_;
  int refused_ = 0, refused_packets_ = 0;
  std::int64_t decoded_packets_ = 0;

  int next_packet_ = 0;              // the number of the packet that is read next
  int upcoming_ = 0, current_ = -1;  // the frame that the decoder gives next, and that it gave last
  int first_ = 0;                    // frames before it are left out after a jump
  bool draining_ = false, jumped_ = false, may_jump_ = true, lost_ = false;
  int frame_wanted_ = -1;
};

}  // namespace facellava::media

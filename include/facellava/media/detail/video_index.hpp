// Which packet of a video file holds which frame, known from the packets alone, without decoding. Frames are numbered
// in the order in which they are shown. Decoding of a frame may begin at a key packet that is shown no later, and
// before which nothing is stored that is shown later.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace facellava::media::detail {

struct VideoPacket {
  std::int64_t pts = 0, dts = 0;  // in units of the stream's time base
  int size = 0;
  bool key = false;
  bool shown = true;  // false: decoded for the sake of others only (edit lists)
};

class VideoIndex {
 public:
  void add(const VideoPacket& packet) { packets_.push_back(packet); }

  // Numbers the frames. false: two frames have the same time, or decoding cannot begin at the first packet.
  bool number_frames() {
    times_.clear();
    keys_.clear();
    std::int64_t latest = 0;
    for (std::size_t i = 0; i < packets_.size(); ++i) {
      const VideoPacket& p = packets_[i];
      if (p.shown) times_.push_back(p.pts);
      if (p.key && (i == 0 || p.pts > latest)) keys_.push_back(int(i));
      latest = i == 0 ? p.pts : std::max(latest, p.pts);
    }
    std::sort(times_.begin(), times_.end());
    return !times_.empty() && packets_[0].key && std::adjacent_find(times_.begin(), times_.end()) == times_.end();
  }

  const std::vector<VideoPacket>& packets() const { return packets_; }
  const std::vector<std::int64_t>& times() const { return times_; }  // of the frames, ascending
  // The frame shown at a time, or -1.
  int frame_at(std::int64_t pts) const {
    const auto at = std::lower_bound(times_.begin(), times_.end(), pts);
    return at == times_.end() || *at != pts ? -1 : int(at - times_.begin());
  }
  // The number of the packet at which decoding begins soonest before a frame.
  int key_before(int frame) const {
    const auto after = std::upper_bound(keys_.begin(), keys_.end(), times_[std::size_t(frame)],
                                        [&](std::int64_t t, int key) { return t < packets_[std::size_t(key)].pts; });
    return after == keys_.begin() ? 0 : *(after - 1);
  }
  // The number of a packet found in the file, or -1. A packet is known by its time, which no other has, and its size.
  int find(std::int64_t pts, int size) const {
    const auto at = std::lower_bound(keys_.begin(), keys_.end(), pts,
                                     [&](int key, std::int64_t t) { return packets_[std::size_t(key)].pts < t; });
    if (at == keys_.end() || packets_[std::size_t(*at)].pts != pts || packets_[std::size_t(*at)].size != size)
      return -1;
    return *at;
  }

 private:
  std::vector<VideoPacket> packets_;  // in the order of the file
  std::vector<std::int64_t> times_;
  std::vector<int> keys_;  // packets that decoding may begin at; later in the file is later shown
};

}  // namespace facellava::media::detail

#include <random>

#include "facellava/media/preprocess_video.hpp"
#include "media_video/clips.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::all_frames;
using facellava::test::clip;
using facellava::test::numbers;
using facellava::test::real_clip;
using facellava::test::shown_number;

namespace {

struct Clip {
  const char* name;
  int frames, first;  // the number that frame 0 shows
};
// The program is the host of FFmpeg's log, and wants none.
[[maybe_unused]] const bool quiet = (av_log_set_level(AV_LOG_QUIET), true);

// B-frames behind key frames far apart; the same in Matroska, and cut by an edit list in the middle of a group; times
// that vary, and that repeat; 10 bits with frames shown before the key frame they follow; no key frames but a moving
// refresh; frames without times of their own; hidden frames in packets of their own; odd sizes; one frame.
constexpr Clip kClips[] = {
    {"bframes.mp4", 120, 0}, {"bframes.mkv", 120, 0},       {"front.mp4", 120, 0},          {"edited.mp4", 82, 38},
    {"variable.mkv", 60, 0}, {"repeated.mkv", 60, 0},       {"ten_bit.mkv", 40, 0},         {"refresh.mp4", 40, 0},
    {"raw.h264", 40, 0},     {"program_stream.mpg", 40, 0}, {"transport_stream.ts", 40, 0}, {"old.avi", 40, 0},
    {"hidden.webm", 40, 0},  {"odd.webm", 20, 0},           {"stills.mkv", 12, 0},          {"one.mp4", 1, 0},
};

}  // namespace

TEST_CASE("every frame in turn is the frame of its number, in any clip, with any number of threads") {
  for (const Clip& c : kClips)
    for (const int threads : {1, 3}) {
      CAPTURE(c.name);
      CAPTURE(threads);
      VideoReader video(clip(c.name), {.threads = threads});
      REQUIRE(video.frames() == c.frames);
      int expected = 0;
      while (const auto frame = video.next()) {
        REQUIRE(frame->index == expected);
        REQUIRE(shown_number(frame->pixels) == c.first + expected);
        ++expected;
      }
      CHECK(expected == c.frames);
      CHECK(!video.next());
      video.rewind();
      CHECK(video.next()->index == 0);
    }
}

TEST_CASE("frames in any order, jumps included, are those that reading in turn gives") {
  for (const Clip& c : kClips) {
    CAPTURE(c.name);
    const auto expected = all_frames(clip(c.name));
    VideoReader video(clip(c.name));
    std::mt19937 random(7);
    for (int round = 0; round < 40; ++round) {
      const int t = int(random() % unsigned(c.frames));
      CAPTURE(t);
      video.read(std::vector<int>{t}, [&](std::size_t, const PixelView& frame) {
        REQUIRE(test::same_pixels(to_rgb(frame), expected[std::size_t(t)]));
      });
    }
  }
}

TEST_CASE("a list of indices: each gets its frame, repeated and unsorted ones too") {
  VideoReader video(clip("bframes.mp4"));
  const std::vector<int> indices{119, 3, 3, 60, 0, 3, 61};
  CHECK(numbers(video, indices) == indices);
  CHECK(!video.next());  // 119 is the last
  CHECK(numbers(video, {}).empty());
  for (const int wrong : {-1, 120}) {
    const auto [kind, what] = test::error_of([&] { numbers(video, {5, wrong}); });
    CHECK(kind == ErrorKind::kArgument);
    CHECK(test::has(what, "120"));
    CHECK_THROWS_AS(video.time(wrong), Error);
  }
  CHECK(numbers(video, {5}) == std::vector<int>{5});
}

TEST_CASE("no more is decoded than from the key frame before the wanted one") {
  // A key frame every 30 frames; the decoder may hold back as many as it reorders.
  constexpr int kHeldBack = 2;
  for (const char* name : {"bframes.mp4", "bframes.mkv"}) {
    CAPTURE(name);
    VideoReader video(clip(name));
    const auto cost = [&](int frame) {
      const auto before = video.decoded_packets();
      CHECK(numbers(video, {frame}) == std::vector<int>{frame});
      return video.decoded_packets() - before;
    };
    CHECK(video.decoded_packets() <= 16 + kHeldBack);  // opening looks at 16 frames
    CHECK(cost(92) <= 3 + kHeldBack);
    CHECK(cost(94) <= 2 + kHeldBack);
    CHECK(cost(31) <= 2 + kHeldBack);
    CHECK(cost(59) <= 28 + kHeldBack);
    CHECK(cost(119) <= 30);
    CHECK(cost(0) <= 1 + kHeldBack);
  }
}

TEST_CASE("a real clip: any frame after a jump equals the one of reading in turn") {
  const auto expected = all_frames(real_clip("single_face.mp4"));
  REQUIRE(expected.size() == 72);
  VideoReader video(real_clip("single_face.mp4"));
  for (const int t : {71, 0, 40, 39, 70, 12})
    video.read(std::vector<int>{t}, [&](std::size_t, const PixelView& frame) {
      CHECK(test::same_pixels(to_rgb(frame), expected[std::size_t(t)]));
    });
}

TEST_CASE("times, rate and size") {
  VideoReader even(clip("bframes.mp4"));
  CHECK(even.average_rate() == doctest::Approx(25));
  CHECK(even.time(0) == 0);
  CHECK(even.time(119) == doctest::Approx(119 / 25.0));
  CHECK(even.width() == 128);
  CHECK(even.height() == 48);
  VideoReader variable(clip("variable.mkv"));
  for (const int n : {0, 1, 2, 7, 33, 59})  // data/make.sh, in milliseconds
    CHECK(variable.time(n) == doctest::Approx((40 * n + 16 * (n % 3) + 120 * (n / 7)) / 1000.0));
  const VideoReader raw(clip("raw.h264"));
  for (int n = 1; n < raw.frames(); ++n) CHECK(raw.time(n) > raw.time(n - 1));
  const VideoReader odd(clip("odd.webm"));
  CHECK(odd.width() == 131);
  CHECK(odd.height() == 47);
}

TEST_CASE("rotation: as decord, as the display matrix says, as stored") {
  const Image stored = all_frames(clip("one.mp4"))[0];
  struct Case {
    const char* name;
    int rotation, reference, matrix;  // the last two: EXIF orientations of what is given
  };
  for (const Case& c : {Case{"one.mp4", 0, 1, 1}, Case{"turned_90.mp4", 90, 6, 6}, Case{"turned_180.mp4", 180, 3, 3},
                        Case{"turned_270.mp4", 270, 8, 8}, Case{"mirrored.mp4", 180, 3, 2}}) {
    CAPTURE(c.name);
    for (const auto& [rotation, orientation] :
         {std::pair{Rotation::kReference, c.reference}, {Rotation::kDisplayMatrix, c.matrix}, {Rotation::kStored, 1}}) {
      VideoReader video(clip(c.name), {.rotation = rotation});
      CHECK(video.rotation() == c.rotation);
      const auto frame = video.next();
      CHECK(test::same_pixels(to_rgb(frame->pixels), media::detail::turned(stored, orientation)));
      CHECK(video.width() == frame->pixels.width);
      CHECK(video.height() == frame->pixels.height);
    }
  }
}

TEST_CASE("a reader can be moved, and FFmpeg's global log level is left alone") {
  const int level = av_log_get_level();
  VideoReader first(clip("bframes.mp4"));
  CHECK(numbers(first, {40}) == std::vector<int>{40});
  VideoReader second = std::move(first);
  CHECK(numbers(second, {41, 7}) == std::vector<int>{41, 7});
  CHECK(av_log_get_level() == level);
}

// Files that are broken, cut off, hostile or no videos.
#include <cstring>
#include <fstream>
#include <random>

#include "facellava/media/write_png.hpp"
#include "media_video/clips.hpp"

using namespace facellava;
using namespace facellava::media;
using facellava::test::clip;
using facellava::test::error_of;
using facellava::test::has;
using facellava::test::real_clip;

namespace {

std::string contents(const std::string& path) {
  const auto bytes = test::file_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Opens and reads a file to its end.
int read_through(const std::string& path, const VideoOptions& options = {}) {
  VideoReader video(path, options);
  int frames = 0;
  while (video.next()) ++frames;
  return frames;
}

void refused(const std::string& path, ErrorKind expected, const std::string& word) {
  CAPTURE(path);
  const auto [kind, what] = error_of([&] { read_through(path); });
  CHECK(kind == expected);
  CHECK(has(what, path));
  CAPTURE(what);
  CHECK(has(what, word));
}

// Where the data of a packet of single_face.mp4 lies. The packets are shown in another order than they are stored.
constexpr std::size_t kPacket40 = 120014, kPacket40Size = 366;
constexpr int kFrameOfPacket40 = 39;

}  // namespace

TEST_CASE("what is no video") {
  const test::Folder folder;
  refused(folder.file("none.mp4"), ErrorKind::kFile, "expected a video file");
  std::filesystem::create_directory(folder.file("folder.mp4"));
  refused(folder.file("folder.mp4"), ErrorKind::kFile, "expected a video file");
  refused(folder.file("nothing.mp4", ""), ErrorKind::kFormat, "cannot be opened");
  const std::string text = "Four score and seven years ago our fathers brought forth.\n";
  refused(folder.file("text.mp4", text), ErrorKind::kFormat, "cannot be opened");
  refused(folder.file("text.txt", text), ErrorKind::kFormat, "no known format");
  refused(folder.file("zeros.mp4", std::string(5000, '\0')), ErrorKind::kFormat, "cannot be opened");
  refused(clip("sound.wav"), ErrorKind::kFormat, "found none");
  refused(clip("empty.mp4"), ErrorKind::kFormat, "no frame");
  const auto png = encode_png(test::noise(20, 10, 1));
  refused(folder.file("picture.mp4", {reinterpret_cast<const char*>(png.data()), png.size()}), ErrorKind::kFormat,
          "a picture");
}

TEST_CASE("lists of other files are refused, under any name, before anything they name is opened") {
  const test::Folder folder;
  const std::string one = clip("one.mp4");
  const std::string hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n" + one + "\n#EXT-X-ENDLIST\n";
  const std::string concat = "ffconcat version 1.0\nfile '" + one + "'\n";
  for (const char* name : {"list.m3u8", "list.ffconcat", "list.mp4"}) {
    refused(folder.file(name, hls), ErrorKind::kFormat, "a list of other files");
    refused(folder.file(name, concat), ErrorKind::kFormat, "a list of other files");
  }
  refused(folder.file("list.mpd",
                      "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                      "profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"></MPD>"),
          ErrorKind::kFormat, "a list of other files");
  refused("http://127.0.0.1/one.mp4", ErrorKind::kFile, "expected a video file");
  refused("file:" + one, ErrorKind::kFile, "expected a video file");
  refused("concat:" + one + "|" + one, ErrorKind::kFile, "expected a video file");
}

TEST_CASE("a name that looks like an address is a file's name") {
  const test::Folder folder;
  CHECK(read_through(folder.file("tcp:1%03d.mp4", contents(clip("one.mp4")))) == 1);
}

TEST_CASE("claims of absurd size are refused before memory is asked for") {
  const test::Folder folder;
  const auto y4m = [](const std::string& size) {
    return "YUV4MPEG2 " + size + " F25:1 Ip A1:1 C420jpeg\nFRAME\n" + std::string(1000, 'x');
  };
  refused(folder.file("a.y4m", y4m("W60000 H60000")), ErrorKind::kFormat, "cannot be opened");
  refused(folder.file("b.y4m", y4m("W16000 H16000")), ErrorKind::kCapacity, "67108864 pixels");
  // Motion JPEG whose frames all claim 60000 x 60000: the size stands behind each marker ff c0, length and depth.
  std::string frames = contents(clip("stills.mkv"));
  for (auto at = frames.find("\xff\xc0"); at != std::string::npos; at = frames.find("\xff\xc0", at + 2))
    frames.replace(at + 5, 4, "\xea\x60\xea\x60");
  refused(folder.file("c.mkv", frames), ErrorKind::kFormat, "frame 0 cannot be decoded");
  const auto [kind, what] = error_of([] { VideoReader(clip("one.mp4"), {.limits = {.max_pixels = 128 * 48 - 1}}); });
  CHECK(kind == ErrorKind::kCapacity);
  for (const char* name : {"bframes.mp4", "raw.h264"}) {
    CAPTURE(name);
    CHECK(error_of([&] { VideoReader(clip(name), {.limits = {.max_frames = 39}}); }).first == ErrorKind::kCapacity);
  }
  CHECK(read_through(clip("raw.h264"), {.limits = {.max_pixels = 128 * 48, .max_frames = 40}}) == 40);
}

TEST_CASE("a broken frame is an error, or is left out and named; the frames before it stay as they are") {
  const test::Folder folder;
  const std::string whole = contents(real_clip("single_face.mp4"));
  std::string part = whole, all = whole;
  part.replace(kPacket40 + kPacket40Size / 2, kPacket40Size / 4, kPacket40Size / 4, '\xa5');
  all.replace(kPacket40, kPacket40Size, kPacket40Size, '\0');
  const auto expected = test::all_frames(real_clip("single_face.mp4"));
  for (const auto& [name, bytes] : {std::pair{"part.mp4", part}, {"all.mp4", all}}) {
    CAPTURE(name);
    const std::string path = folder.file(name, bytes);
    refused(path, ErrorKind::kFormat, "frame 39");

    VideoReader strict(path);
    CHECK(strict.frames() == 72);
    CHECK_THROWS_AS(strict.read(std::vector<int>{kFrameOfPacket40}, [](std::size_t, const PixelView&) {}), Error);
    strict.read(std::vector<int>{5, 20}, [&](std::size_t i, const PixelView& frame) {
      CHECK(test::same_pixels(to_rgb(frame), expected[i == 0 ? 5 : 20]));
    });

    VideoReader lenient(path, {.broken = BrokenFrame::kSkip});
    std::vector<int> given;
    lenient.read(std::vector<int>{38, 39, 40, 39}, [&](std::size_t i, const PixelView&) { given.push_back(int(i)); });
    CHECK(given == std::vector<int>{0, 2});
    CHECK(lenient.broken() == std::vector<int>{kFrameOfPacket40});
    CHECK(!lenient.cut_off());
    lenient.rewind();
    int frames = 0;
    while (const auto frame = lenient.next()) {
      CHECK(frame->index != kFrameOfPacket40);
      if (frame->index < 36) CHECK(test::same_pixels(to_rgb(frame->pixels), expected[std::size_t(frame->index)]));
      ++frames;
    }
    CHECK(frames == 71);
  }
}

TEST_CASE("a broken stretch of a program stream") {
  const test::Folder folder;
  const std::string path =
      folder.file("a.mpg", contents(real_clip("grid_id2_swwp2s.mpg")).replace(250000, 400, 400, 'Z'));
  refused(path, ErrorKind::kFormat, "frame 47");
  VideoReader video(path, {.broken = BrokenFrame::kSkip});
  CHECK(video.frames() == 75);
  CHECK(video.broken() == std::vector<int>{47});
}

TEST_CASE("files that end early") {
  const test::Folder folder;
  refused(folder.file("a.mp4", contents(real_clip("single_face.mp4")).substr(0, 100000)), ErrorKind::kFormat,
          "cannot be opened");  // the header stands at the end
  const std::string front = contents(clip("front.mp4"));
  for (const std::size_t kept : {front.size() - 1, front.size() * 3 / 4}) {
    const std::string path = folder.file("b.mp4", front.substr(0, kept));
    refused(path, ErrorKind::kFormat, "cut off");
    VideoReader video(path, {.broken = BrokenFrame::kSkip});
    CHECK(video.cut_off());
    int expected = 0;
    while (const auto frame = video.next()) CHECK(test::shown_number(frame->pixels) == (expected = frame->index));
    CHECK(expected + 1 + int(video.broken().size()) >= video.frames());
  }
}

TEST_CASE("bytes changed at random never do more than throw") {
  const test::Folder folder;
  std::mt19937 random(11);
  for (const char* name : {"front.mp4", "bframes.mkv", "ten_bit.mkv", "program_stream.mpg", "hidden.webm", "old.avi",
                           "transport_stream.ts", "edited.mp4", "stills.mkv"}) {
    CAPTURE(name);
    const std::string whole = contents(clip(name));
    for (int round = 0; round < 12; ++round) {
      std::string bytes = whole;
      for (int change = 0; change < 6; ++change) bytes[random() % bytes.size()] = char(random() & 255);
      const std::string path = folder.file("changed" + std::filesystem::path(name).extension().string(), bytes);
      for (const BrokenFrame broken : {BrokenFrame::kError, BrokenFrame::kSkip}) try {
          VideoReader video(path, {.broken = broken, .limits = {.max_pixels = 1 << 20, .max_frames = 1000}});
          for (int frame : {video.frames() - 1, 0, video.frames() / 2}) test::numbers(video, {frame});
        } catch (const Error& e) {
          CHECK(has(e.what(), path));
        }
    }
  }
}

// A picture of the caller's, in any of the pixel formats and however its rows lie, gives one answer; bad ones give
// errors.
#include "facellava/run/pipeline.hpp"

#include <doctest/doctest.h>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/models/configs.hpp"
#include "media/pictures.hpp"
#include "support/counting_memory.hpp"
#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

const std::string kExamples = std::string(FACELLAVA_TEST_DATA) + "/assets/probe/";

const run::Pipeline& pipeline() {
  static const run::ModelFolder folder({kExamples + "model"});
  static const auto p = run::open_pipeline<configs::kProbe, cpu::Device>(folder, {}, cpu::Options{.threads = 2});
  return p;
}
const media::Image& photograph() {
  static const media::Image image = media::read_image(kExamples + "faces/astronaut.png");
  return image;
}
std::span<const faces::Point> landmarks() {
  static const auto points = faces::read_landmarks(kExamples + "faces/astronaut.json").at(0);
  return points;
}

// The same picture in another format, with `padding` bytes after each row; bottom-up where `flipped`.
enum class Rows { kTopDown, kBottomUp };
struct Copy {
  std::vector<std::uint8_t> bytes;
  media::PixelView view;

  Copy(const media::PixelView& rgb, media::PixelFormat format, std::ptrdiff_t padding, Rows order) {
    const int step = media::channels(format);
    const std::ptrdiff_t stride = std::ptrdiff_t(rgb.width) * step + padding;
    bytes.assign(std::size_t(stride * rgb.height), 0xa5);
    std::uint8_t* first = bytes.data() + (order == Rows::kBottomUp ? stride * (rgb.height - 1) : 0);
    view = {first, rgb.width, rgb.height, order == Rows::kBottomUp ? -stride : stride, format};
    for (int y = 0; y < rgb.height; ++y)
      for (int x = 0; x < rgb.width; ++x)
        for (int c = 0; c < 3; ++c)
          first[y * view.stride + x * step + media::channel_of(format, c)] = rgb.row(y)[3 * x + c];
  }
};

struct Answer {
  std::vector<float> attention;
  std::vector<int> ids;
  float score;
  bool operator==(const Answer&) const = default;
};
Answer ask(const media::PixelView& picture) {
  auto face = pipeline().look(picture, landmarks(), 200);
  const std::vector<std::string> labels{"happy", "sad"};
  const float score = face.score("What emotion does this face show?", labels)[0].log_probability;
  face.ask("What emotion does this face show?", {.max_new_tokens = 8});
  return {face.region_attention(), face.generations[0].ids, score};
}

}  // namespace

TEST_CASE("every pixel format and stride gives the answer of plain RGB") {
  using enum media::PixelFormat;
  const Answer want = ask(photograph().view());
  CHECK(want.attention.size() == std::size_t(64 * kRegionCount));
  for (media::PixelFormat format : {kRgb, kBgr, kRgba, kBgra})
    for (std::ptrdiff_t padding : {0, 13})
      for (Rows order : {Rows::kTopDown, Rows::kBottomUp}) {
        CAPTURE(int(format));
        CAPTURE(padding);
        CAPTURE(order == Rows::kBottomUp);
        const Copy copy(photograph().view(), format, padding, order);
        CHECK(ask(copy.view) == want);
      }
}

TEST_CASE("a grey picture gives the answer of the RGB picture with three equal channels") {
  media::Image equal(photograph().width(), photograph().height());
  for (int y = 0; y < equal.height(); ++y)
    for (int x = 0; x < equal.width(); ++x) std::fill_n(equal.pixel(x, y), 3, photograph().pixel(x, y)[1]);
  const Answer want = ask(equal.view());
  for (std::ptrdiff_t padding : {0, 13})
    for (Rows order : {Rows::kTopDown, Rows::kBottomUp})
      CHECK(ask(Copy(equal.view(), media::PixelFormat::kGray, padding, order).view) == want);
}

TEST_CASE("pictures that are none are errors, and the pipeline goes on") {
  const auto refuse = [](media::PixelView v, ErrorKind kind) {
    try {
      pipeline().look(v, landmarks(), 200);
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.kind() == kind);
    }
  };
  const media::PixelView good = photograph().view();
  media::PixelView v = good;
  v.data = nullptr;
  refuse(v, ErrorKind::kArgument);
  v = good;
  v.width = 0;
  refuse(v, ErrorKind::kArgument);
  v = good;
  v.height = -4;
  refuse(v, ErrorKind::kArgument);
  v = good;
  v.stride = 3 * v.width - 1;
  refuse(v, ErrorKind::kShape);
  v.stride = -v.stride;
  refuse(v, ErrorKind::kShape);
  v = good;
  v.stride = std::numeric_limits<std::ptrdiff_t>::min();
  refuse(v, ErrorKind::kShape);
  v = good;
  v.format = media::PixelFormat::kRgba;  // rows of three bytes a pixel have no room for four
  refuse(v, ErrorKind::kShape);
  CHECK_THROWS_AS(pipeline().look(good, landmarks().first(67), 200), Error);
  CHECK_THROWS_AS(pipeline().look(good, landmarks(), 10), Error);  // fewer rows than the picture takes
  CHECK(pipeline().look(good, landmarks(), 200).region_attention().size() == std::size_t(64 * kRegionCount));
}

TEST_CASE("memory, limit and log of the host reach the sessions of a pipeline") {
  test::CountingMemory memory;
  int said = 0;
  const run::ModelFolder folder({kExamples + "model"});
  run::LoadOptions options{.services = {.memory = &memory, .log = [&](LogLevel, std::string_view) { ++said; }}};
  {
    const auto own = run::open_pipeline<configs::kProbe, cpu::Device>(folder, options, cpu::Options{.threads = 1});
    const int loaded = said;
    auto face = own.look(photograph().view(), landmarks(), 200);
    CHECK(memory.peak() > 200 * 3 * 2 * 128 * sizeof(float));
    CHECK(loaded > 0);
    CHECK(said > loaded);
  }
  CHECK(memory.live() == 0);
  options.services.memory_limit = memory.peak();  // too little for the weights besides
  try {
    const auto own = run::open_pipeline<configs::kProbe, cpu::Device>(folder, options, cpu::Options{.threads = 1});
    own.look(photograph().view(), landmarks(), 200);
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kCapacity);
  }
}

TEST_CASE("a clip through the pipeline is the request by hand") {
  const auto tiny = run::open_pipeline<configs::kTiny, cpu::Device>(bf16_folder(), {}, cpu::Options{.threads = 2});
  std::vector<media::Image> images;
  std::vector<media::PixelView> frames;
  std::vector<faces::Landmarks> points(8);
  for (unsigned f = 0; f < 8; ++f) {
    images.push_back(noise(31 + int(f), 40, f + 1));
    for (std::size_t i = 0; i < points[f].size(); ++i) points[f][i] = {float(i % 7) + float(f), 0.5f * float(i)};
  }
  for (const media::Image& i : images) frames.push_back(i.view());
  constexpr const char* kQuestion = "What changes?";
  auto clip = tiny.look(frames, points);
  clip.ask(kQuestion, {.max_new_tokens = 5});

  constexpr text::Medium kKind = text::Medium::kVideo;
  run::MediumInput m{kKind, {}, {}};
  for (std::size_t f = 0; f < 8; ++f) {
    const auto pixels = media::preprocess_video_frame(frames[f]);
    const auto numbers = faces::normalise(points[f], faces::LandmarkNormalisation::kBy256, 0, 0);
    m.pixels.insert(m.pixels.end(), pixels.begin(), pixels.end());
    m.points.insert(m.points.end(), numbers.begin(), numbers.end());
  }
  const run::Settings& settings = tiny.settings();
  const auto prompt = text::question_prompt(settings.prompt_template, kQuestion, std::span(&kKind, 1));
  run::Request request{text::encode_prompt(tiny.tokenizer(), prompt, settings.bos), {m}};
  const auto session = tiny.model().open({.kv_rows = settings.positions, .positions = settings.positions});
  const auto ids = session->prefill(std::span(&request, 1), 8);
  const auto want =
      run::generate(*session, ids, {.max_new_tokens = 5, .ends = settings.ends}, settings.positions)[0].ids;
  CHECK(clip.generations[0].ids == want);
  CHECK(want.size() > 1);

  frames.pop_back();
  CHECK_THROWS_AS(tiny.look(frames, points), Error);
  CHECK_THROWS_AS(pipeline().look(frames, {}), Error);  // has no tower for videos
}

TEST_CASE("attention of a clip is kept of every frame, the mean over heads of each") {
  run::RegionAttentionMean seen;
  const Index frames = 2, heads = 3, tokens = 2, n = tokens * kRegionCount;
  std::vector<float> weights(std::size_t(frames * heads * n));
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = float(i);
  seen.see(0, "tower", {1}, weights.data());
  CHECK(seen.mean.empty());
  seen.see(0, "region_attention", {frames, heads, tokens, kRegionCount}, weights.data());
  REQUIRE(seen.mean.size() == std::size_t(frames * n));
  // Of numbers that follow one another the mean over heads is that of the middle one.
  for (Index f = 0; f < frames; ++f)
    for (Index i = 0; i < n; ++i)
      CHECK(double(seen.mean[std::size_t(f * n + i)]) == doctest::Approx(double((f * heads + 1) * n + i)));
}

#include "facellava/train/data_set.hpp"

#include <cmath>

#include "train/data_files.hpp"

using namespace facellava;
using namespace facellava::test;
using namespace facellava::train;

namespace {

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, double(std::abs(a[i] - b[i])));
  return worst;
}

}  // namespace

TEST_CASE("pictures are padded to squares as the released trainer does") {
  Json record = picture_record("0");
  record["image"] = golden_path("preprocess/inputs/obama_small_decoded.png");  // 320 x 240
  const Sample s = data_set(Json::array({record})).load(0);
  const auto sub8 = Golden("preprocess/image_obama_small_320x240.safetensors").floats("padded.pixel_values.sub8");
  std::vector<float> ours;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t y = 0; y < 224; y += 8)
      for (std::size_t x = 0; x < 224; x += 8) ours.push_back(s.request.media[0].pixels[(c * 224 + y) * 224 + x]);
  CHECK(largest_difference(ours, sub8) <= 1.5e-4);  // goldens/README.md, normalised units
}

TEST_CASE("a video of frames, and the landmarks of the frames that are looked at") {
  const Sample s = data_set(Json::array({video_record("v")})).load(0);
  CHECK(s.rows_of_slot == 257);
  CHECK(std::count(s.request.ids.begin(), s.request.ids.end(), text::kMediaSlot) == 8);
  CHECK(rows_of(s) == Index(s.request.ids.size()) - 8 + 8 * 257);
  REQUIRE(s.request.media.size() == 1);
  const Golden golden("preprocess/video_face_256_24fps.safetensors");
  const auto expected = run::detail::frames_first(golden.floats("pixel_values"), 8, Index(224) * 224);
  CHECK(largest_difference(s.request.media[0].pixels, expected) <= 2.5e-4);  // goldens/README.md
  const auto all = faces::read_landmarks(kClipPoints);
  std::vector<float> points;
  for (const std::int64_t frame : golden.integers("frame_indices"))
    for (const faces::Point& p : all[std::size_t(frame)]) points.insert(points.end(), {p.x / 256, p.y / 256});
  CHECK(s.request.media[0].points == points);
}

TEST_CASE("preprocessed pixels from a tensor are taken as they are") {
  Json record = video_record("v");
  record["video"] = golden_path("preprocess/video_face_256_24fps.safetensors:pixel_values");
  const Sample s = data_set(Json::array({record})).load(0);
  const Golden golden("preprocess/video_face_256_24fps.safetensors");
  CHECK(s.request.media[0].pixels == run::detail::frames_first(golden.floats("pixel_values"), 8, Index(224) * 224));
}

TEST_CASE("ids and labels are those of the conversation by v1") {
  const Sample s = data_set(Json::array({picture_record("0")})).encode(0);
  const text::Turn turns[] = {{text::Role::kUser, "<image>\nHow old is the person?"},
                              {text::Role::kAssistant, "About thirty."}};
  const auto expected = text::label_conversation(*llama(), text::Template::kV1, turns);
  CHECK(s.request.ids == expected.ids);
  CHECK(s.labels == expected.labels);
  CHECK(supervised(s) == 4);  // About, thirty, the point, </s>
}

TEST_CASE("relative paths begin at the folder of the file, or at the root that is given") {
  const Scratch folder;
  Json record = picture_record("0");
  record["image"] = "face_a_256.png";
  const std::string file = folder.write("data.json", Json::array({record}).dump());
  CHECK(DataSet(file, llama(), tiny_options())[0].media[0] == folder.at("face_a_256.png"));
  DataOptions o = tiny_options();
  o.root = golden_path("preprocess/inputs");
  CHECK(DataSet(file, llama(), o).load(0).request.media[0].pixels.size() == 3 * 224 * 224);
}

TEST_CASE("several conversations about one picture are a sample each") {
  Json record = picture_record("0");
  record["conversations"] = Json::array({talk("<image>\nHow old?", "Thirty."), talk("<image>\nWho?", "A man.")});
  const DataSet data = data_set(Json::array({record, picture_record("1")}));
  CHECK(data.records() == 2);
  REQUIRE(data.size() == 3);
  CHECK(data[1].record == 0);
  CHECK(data[1].turns[1].text == "A man.");
  CHECK(data[2].record == 1);
}

TEST_CASE("no data") {
  CHECK(error_of(ErrorKind::kFormat, [] { data_set(Json::array()); }).find("an empty one") != std::string::npos);
  CHECK(error_of(ErrorKind::kFormat, [] { data_set(Json::object()); }).find("object") != std::string::npos);
  error_of(ErrorKind::kFile, [] { DataSet("/nowhere/data.json", llama(), tiny_options()); });
  DataOptions o = tiny_options();
  o.prompt_template = text::Template::kPlain;
  CHECK(error_of(ErrorKind::kArgument, [&] { data_set(Json::array({picture_record("0")}), o); }).find("corrected") !=
        std::string::npos);
}

TEST_CASE("a faulty sample is an error when it is loaded, and no other takes its place") {
  Json broken = picture_record("b");
  broken["image"] = "nowhere.png";
  const DataSet data = data_set(Json::array({picture_record("a"), broken, 7}));
  CHECK(data.size() == 3);
  data.load(0);
  const std::string missing = error_of(ErrorKind::kFormat, [&] { data.load(1); });
  for (const char* word : {"record 1 (id \"b\")", "image", "nowhere.png"})
    CHECK(missing.find(word) != std::string::npos);
  CHECK(error_of(ErrorKind::kFormat, [&] {
          data.load(2);
        }).find("record 2, record: expected an object, found number") != std::string::npos);
  error_of(ErrorKind::kShape, [&] { data.load(3); });
}

TEST_CASE("lengths as the released sampler counts words") {
  const DataSet data = data_set(Json::array({picture_record("0", "<image>\n  How\told\xC2\xA0is\xE3\x80\x80she?"),
                                             {{"conversations", talk("One two", "3")}}}));
  CHECK(modality_length(data[0]) == 5 + 2);
  CHECK(modality_length(data[1]) == -3);
}

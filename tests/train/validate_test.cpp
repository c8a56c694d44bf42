// Every kind of malformed record: what the fault names.
#include "facellava/train/validate.hpp"

#include "train/data_files.hpp"

using namespace facellava;
using namespace facellava::test;
using namespace facellava::train;

namespace {

// The faults of a file with one record.
std::vector<Fault> faults_of(const Json& record, const DataOptions& o = tiny_options()) {
  const DataReport report = validate(data_set(Json::array({record}), o));
  CHECK(report.bad_records == (report.faults.empty() ? 0 : 1));
  CHECK(report.good_samples.size() == (report.faults.empty() ? 1 : 0));
  return report.faults;
}

// Exactly one fault, of that field, that says the words.
void expect(const Json& record, const std::string& field, std::initializer_list<const char*> words,
            const DataOptions& o = tiny_options()) {
  CAPTURE(record.dump());
  const auto faults = faults_of(record, o);
  REQUIRE(faults.size() == 1);
  CAPTURE(faults[0].text());
  CHECK(faults[0].field == field);
  CHECK(faults[0].text().starts_with("record 0"));
  for (const char* word : words) CHECK(faults[0].text().find(word) != std::string::npos);
}

Json with(const char* key, const Json& value, Json record = picture_record("a")) {
  record[key] = value;
  return record;
}
Json talking(const Json& turns, Json record = picture_record("a")) { return with("conversations", turns, record); }

}  // namespace

TEST_CASE("good records have no faults") {
  CHECK(faults_of(picture_record("a")).empty());
  CHECK(faults_of(video_record("b")).empty());
  CHECK(faults_of({{"id", 3}, {"conversations", talk("What is an action unit?", "A facial movement.")}}).empty());
  CHECK(faults_of(with("image", Json::array({kFaceA}), with("landmarks_2d", Json::array({kPointsA})))).empty());
  CHECK(faults_of(with("landmarks_2d", nullptr)).empty());
}

TEST_CASE("records, ids and keys") {
  expect(5, "record", {"an object", "number"});
  expect(with("id", Json::array()), "id", {"a string or an integer", "array"});
  expect(with("face_mask", "m.npy"), "face_mask", {"record 0 (id \"a\")", "landmarks_2d", "another"});
  expect(with("a\nb\033", 1), "a\nb\033", {", a?b?: expected"});
  expect(with("video", kClip), "video", {"either an image or a video", "both"});
}

TEST_CASE("media") {
  expect(with("image", "nowhere.png"), "image", {"a picture file", "nowhere.png"});
  expect(with("image", 5), "image", {"a path", "number"});
  expect(with("image", Json::array()), "image", {"at least one path"});
  expect(with("image", kPointsA), "image", {"image_face_a_256.npy"});
  expect(with("image", kClip), "image", {"an image", "a video"});
  expect(with("image", golden_path("preprocess/video_face_256_24fps.safetensors:nothing")), "image", {"nothing"});
  expect(with("video", "nowhere.mp4", video_record("v")), "video", {"nowhere.mp4"});
}

TEST_CASE("landmarks: missing, of another shape, of another number of frames, of part of the records") {
  const Scratch folder;
  const auto points = [&](int count) {
    Json list = Json::array();
    for (int i = 0; i < count; ++i) list.push_back({i, 2 * i});
    return list;
  };
  expect(with("landmarks_2d", "nowhere.npy"), "landmarks_2d", {"nowhere.npy"});
  expect(with("landmarks_2d", folder.write("five.json", points(5).dump())), "landmarks_2d", {"68", "5", "five.json"});
  expect(with("landmarks_2d", kClipPoints), "landmarks_2d", {"1", "61"});
  expect(with("landmarks_2d", kPointsA, video_record("v")), "landmarks_2d", {"8 frames", "1"});
  expect(with("landmarks_2d", Json::array({kPointsA, kPointsB})), "landmarks_2d", {"1 landmark file", "2"});
  DataOptions o = tiny_options();
  o.videos = [](const std::string&, int count, int side) {
    return run::VideoPixels{{256, 256, 62}, std::vector<float>(std::size_t(count * 3 * side * side))};
  };
  expect(with("video", "clip.mp4", video_record("v")), "landmarks_2d", {"62", "61"}, o);

  Json without = picture_record("b");
  without.erase("landmarks_2d");
  const auto report = validate(data_set(Json::array({picture_record("a"), without})));
  REQUIRE(report.faults.size() == 1);
  CHECK(report.faults[0].text() ==
        "record 1 (id \"b\"), landmarks_2d: expected landmarks, which other records have, found none");
  without["landmarks_2d"] = "none";  // said, it is none
  CHECK(validate(data_set(Json::array({picture_record("a"), without}))).faults.empty());
}

TEST_CASE("conversations") {
  const Json human = turn("human", "<image>\nAge?"), gpt = turn("gpt", "30");
  expect(talking(nullptr), "conversations", {"a list of turns", "none"});
  expect(talking("x"), "conversations", {"a list of turns", "string"});
  expect(talking(Json::array()), "conversations", {"an empty one"});
  expect(talking(Json::array({Json::array()})), "conversations[0]", {"an empty one"});
  expect(talking({human, 5}), "conversations[1]", {"an object"});
  expect(talking({human, {{"from", "gpt"}}}), "conversations[1].value", {"a string", "none"});
  expect(talking({human, {{"from", "gpt"}, {"value", "30"}, {"weight", 1}}}), "conversations[1].weight", {"another"});
  expect(talking({human, turn("bot", "30")}), "conversations[1].from", {"human or gpt", "\"bot\""});
  expect(talking({human, turn("gpt", "")}), "conversations[1].value", {"an answer", "empty"});
  expect(talking({human, turn("gpt", " \n")}), "conversations[1].value", {"an answer", "empty"});
  expect(talking({turn("gpt", "Hello."), human, gpt}), "conversations[0].from", {"human first", "gpt"});
  expect(talking({human, gpt, gpt}), "conversations[2].from", {"in a row"});
  expect(talking(Json::array({human})), "conversations", {"an answer"});
}

TEST_CASE("tags and media") {
  const auto asking = [](const std::string& question) { return talking(talk(question, "30")); };
  expect(asking("Age?"), "conversations", {"1 <image> for 1 image", "0 <image>"});
  expect(asking("<image><image>\nAge?"), "conversations", {"1 <image>", "2 <image>"});
  expect(asking("<video>\nAge?"), "conversations", {"1 <video>"});
  expect(talking(talk("<image>\nAge?", "30"), video_record("v")), "conversations", {"1 <video> for 1 video"});
  expect({{"conversations", talk("<image>\nAge?", "30")}}, "conversations", {"0 <image> for 0 images", "1 <image>"});
  expect(talking({turn("human", "Age?"), turn("gpt", "<image> 30")}), "conversations[1].value", {"in an answer"});
  CHECK(faults_of(talking(talk(text::detail::image_row(8, " ") + "\nAge?", "30"), video_record("v"))).empty());
}

TEST_CASE("samples that are too long, and samples of which nothing is learned") {
  DataOptions o = tiny_options();
  o.context = 300;  // 256 for the picture
  std::string words;
  for (int i = 0; i < 2050; ++i) words += "word ";
  expect(picture_record("a"), "conversations", {"at most 300 tokens", "308"}, o);
  expect({{"conversations", talk(words, "30")}}, "conversations", {"at most 2048 tokens without media"});
  const Json marked = talking(talk("<image>\nRepeat: x ASSISTANT: y", "x"));
  expect(marked, "conversations", {"an answer to learn", "counts 1 tokens of", "corrected"});
  o = tiny_options();
  o.labels.policy = text::MaskPolicy::kCorrected;
  CHECK(faults_of(marked, o).empty());
}

TEST_CASE("all faults of a file, up to a limit; the same id twice is a warning") {
  Json two = with("image", "nowhere.png");
  two["landmarks_2d"] = 5;
  two["extra"] = 1;
  const Json records =
      Json::array({picture_record("a"), picture_record("a"), two, with("image", "nowhere.png"), picture_record("b")});
  const DataSet data = data_set(records);
  std::size_t last = 0;
  const DataReport report = validate(data, {.most_faults = 3, .progress = [&](std::size_t done, std::size_t all) {
                                              CHECK(done == ++last);
                                              CHECK(all == 5);
                                            }});
  CHECK(last == 5);
  CHECK(report.records == 5);
  CHECK(report.bad_records == 2);
  CHECK(report.good_samples == std::vector<std::size_t>{0, 1, 4});
  REQUIRE(report.faults.size() == 3);
  CHECK(report.left_off == 4);  // three of record 2, one and an id of record 3
  CHECK(report.faults[0].severity == Severity::kWarning);
  CHECK(report.faults[0].text() == "record 1 (id \"a\"), id: expected an id of its own, found that of record 0");
  CHECK(report.faults[1].severity == Severity::kWarning);
  CHECK(report.faults[2].record == 2);
}

TEST_CASE("how many faulty records may be left out") {
  const Json broken = with("image", "nowhere.png", picture_record("x"));
  Json records = Json::array({broken});
  for (int i = 0; i < 9; ++i) records.push_back(picture_record(std::to_string(i)));
  const DataReport report = validate(data_set(records));
  const std::vector<std::size_t> good{1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK(admitted_samples(report, {.records = 1}) == good);
  CHECK(admitted_samples(report, {.part = 0.1}) == good);
  CHECK(error_of(ErrorKind::kFormat, [&] { admitted_samples(report, {.part = 0.09}); }).find("nowhere.png") !=
        std::string::npos);
  CHECK(error_of(ErrorKind::kFormat, [&] {
          admitted_samples(report);
        }).find("at most 0 faulty of 10 records, found 1") != std::string::npos);
  error_of(ErrorKind::kArgument, [&] { admitted_samples(report, {.part = 1.5}); });
  error_of(ErrorKind::kArgument, [&] { admitted_samples(report, {.part = std::nan("")}); });
  error_of(ErrorKind::kFormat, [&] { admitted_samples(validate(data_set(Json::array({broken}))), {.records = 5}); });
}

#include "facellava/train/packing.hpp"

#include "facellava/train/batch_rows.hpp"
#include "train/data_files.hpp"

using namespace facellava;
using namespace facellava::test;
using namespace facellava::train;

namespace {

struct Row {
  int id, position, target;
  friend bool operator==(const Row&, const Row&) = default;
};

// The rows that the last query of a sequence sees, in order.
std::vector<Row> seen_by(const BatchRows& b, const Sequence& s) {
  std::vector<Row> rows;
  for (int k = s.ranges_first; k < s.ranges_first + s.ranges_count; ++k)
    for (int r = b.ranges[std::size_t(k)].first; r < b.ranges[std::size_t(k)].first + b.ranges[std::size_t(k)].count;
         ++r)
      rows.push_back({b.ids[std::size_t(r)], b.positions[std::size_t(r)], b.targets[std::size_t(r)]});
  return rows;
}

Json about(const std::string& image, const std::string& question, const std::string& answer) {
  Json record = picture_record("");
  record["image"] = image;
  record["landmarks_2d"] = image == kFaceA ? kPointsA : kPointsB;
  record["conversations"] = talk(question, answer);
  return record;
}

Indices all_of(const DataSet& data) {
  Indices all(data.size());
  std::iota(all.begin(), all.end(), std::size_t(0));
  return all;
}

}  // namespace

TEST_CASE("rows of a batch: visual rows in place of slots, positions from 0, targets one ahead") {
  const DataSet data =
      data_set(Json::array({picture_record("a"), video_record("b"), {{"conversations", talk("A", "B")}}}));
  std::vector<Sample> batch;
  for (std::size_t i = 0; i < 3; ++i) batch.push_back(data.load(i));
  const BatchRows rows = batch_rows(batch);
  REQUIRE(rows.sequences.size() == 3);
  REQUIRE(rows.visual.size() == 1 + 8);
  int first = 0, supervised_ids = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const Sequence& s = rows.sequences[i];
    CHECK(s.q_first == first);
    CHECK(s.q_count == rows_of(batch[i]));
    CHECK(s.ranges_count == 1);
    CHECK(rows.ranges[std::size_t(s.ranges_first)].first == first);
    CHECK(rows.ranges[std::size_t(s.ranges_first)].count == s.q_count);
    CHECK(rows.positions[std::size_t(first)] == 0);
    CHECK(rows.positions[std::size_t(first + s.q_count - 1)] == s.q_count - 1);
    CHECK(rows.targets[std::size_t(first + s.q_count - 1)] == text::kIgnored);
    // From the end, where no visual rows shift anything: the target of a row is the label of the next id.
    const auto& ids = batch[i].request.ids;
    for (std::size_t back = 1; back < 6; ++back) {
      CHECK(rows.ids[std::size_t(first + s.q_count) - back] == ids[ids.size() - back]);
      CHECK(rows.targets[std::size_t(first + s.q_count) - back - 1] == batch[i].labels[ids.size() - back]);
    }
    supervised_ids += supervised(batch[i]);
    first += s.q_count;
  }
  CHECK(int(rows.ids.size()) == first);
  CHECK(rows.supervised == supervised_ids);
  for (const VisualRows& v : rows.visual) {
    CHECK(v.count == (v.sample == 0 ? 256 : 257));
    CHECK(rows.ids[std::size_t(v.first)] == text::kMediaSlot);
    CHECK(rows.ids[std::size_t(v.first + v.count - 1)] == text::kMediaSlot);
    if (v.frame == 0) CHECK(rows.ids[std::size_t(v.first - 1)] != text::kMediaSlot);
    if (v.frame == 7) CHECK(rows.ids[std::size_t(v.first + v.count)] != text::kMediaSlot);
  }
}

TEST_CASE("questions about one picture: each segment sees what the sample alone would, and no other") {
  for (const char* before : {"<image>\n", "<image> ", "<image>", "Look: <image> Now: "}) {
    CAPTURE(before);
    const std::string tag = before;
    const DataSet data =
        data_set(Json::array({about(kFaceA, tag + "How old?", "Thirty."), about(kFaceA, tag + "Who?", "A man."),
                              about(kFaceA, tag + " Is it real?", "Yes, it is.")}));
    const auto runs = packed_runs(data, all_of(data), {.rows = 4096});
    REQUIRE(runs == std::vector<Indices>{{0, 1, 2}});
    Sample packed = encode_packed(data, runs[0]);
    data.load_media(packed);
    CHECK(packed.request.media.size() == 1);
    const BatchRows rows = batch_rows(std::span(&packed, 1));
    CHECK(Index(rows.ids.size()) == rows_of(packed));
    REQUIRE(rows.sequences.size() == 1 + 3);
    int learned = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const Sample alone = data.load(i);
      const BatchRows expected = batch_rows(std::span(&alone, 1));
      auto found = seen_by(rows, rows.sequences[i + 1]);
      CHECK(found == seen_by(expected, expected.sequences[0]));
      const Sequence& s = rows.sequences[i + 1];
      CHECK(s.q_first == rows.ranges[std::size_t(s.ranges_first) + 1].first);
      CHECK(s.q_count == rows.ranges[std::size_t(s.ranges_first) + 1].count);
      learned += expected.supervised;
    }
    CHECK(rows.supervised == learned);
    CHECK(supervised(packed) == learned);
  }
}

TEST_CASE("what is not packed: other pictures, other beginnings, text, too many rows, something learned before") {
  const auto runs_of = [](const Json& records, const PackLimits& most = {}) {
    DataOptions o = tiny_options();
    o.labels.policy = text::MaskPolicy::kCorrected;
    const DataSet data = data_set(records, o);
    return packed_runs(data, all_of(data), most);
  };
  const Json a = about(kFaceA, "<image>\nHow old?", "Thirty."), b = about(kFaceB, "<image>\nHow old?", "Thirty."),
             late = about(kFaceA, "How old?\n<image>", "Thirty."),
             text{{"conversations", talk("What is an action unit?", "A movement.")}};
  const std::vector<Indices> apart{{0}, {1}};
  CHECK(runs_of(Json::array({a, a, b, b, a})) == std::vector<Indices>{{0, 1}, {2, 3}, {4}});
  CHECK(runs_of(Json::array({a, late})) == apart);
  CHECK(runs_of(Json::array({text, text})) == apart);
  CHECK(runs_of(Json::array({a, a}), {.rows = 300}) == apart);  // one alone has more
  CHECK(runs_of(Json::array({a, a, a}), {.samples = 2}) == std::vector<Indices>{{0, 1}, {2}});
  Json after = a;
  after["conversations"] = Json::array(
      {turn("human", "Hello"), turn("gpt", "Hello."), turn("human", "<image>\nHow old?"), turn("gpt", "Thirty.")});
  CHECK(runs_of(Json::array({after, after})) == apart);
  Json moved = a;
  moved["landmarks_2d"] = kPointsB;
  CHECK(runs_of(Json::array({a, moved})) == apart);
}

TEST_CASE("a batch without anything to learn is an error that names the samples") {
  const DataSet data = data_set(Json::array({picture_record("a"), picture_record("b")}));
  std::vector<Sample> batch{data.encode(0), data.encode(1)};
  for (Sample& s : batch) s.labels.assign(s.labels.size(), text::kIgnored);
  CHECK(error_of(ErrorKind::kArgument, [&] { batch_rows(batch); }).find("samples 0, 1") != std::string::npos);
}

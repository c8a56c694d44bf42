// Packing in training: the same losses and gradients for less work, and segments that do not see each other.
#include <algorithm>

#include "train/released_run.hpp"

using namespace facellava;
using namespace facellava::test;
using train::Indices;

namespace {

// Four questions about one picture, and one about another.
train::DataSet packed_data() {
  Json records = Json::array();
  for (const char* question : {"How old?", "Which emotion is it?", "Who?", "Is it real?"}) {
    records.push_back(picture_record("", std::string("<image>\n") + question));
    records.back()["conversations"][1]["value"] = std::string("An answer to ") + question;
  }
  records.push_back(picture_record("", "<image>\nAnd this one?"));
  records.back()["image"] = kFaceB;
  return data_set(records);
}

struct Trained {
  std::unique_ptr<train::AnyModel> model =
      tiny_in_training(run::ModelFolder({golden_path("model_tiny/ckpt_bin_fp16"), "", "", 4}),
                       {.trained = {run::Part::kLandmarks, run::Part::kProjector, run::Part::kDecoder}});
  train::DataSet data = packed_data();
  train::Batcher batcher{data, *model, std::size_t(1) << 30};

  train::Batch batch(const std::vector<Indices>& packs) { return batcher.finish(batcher.read(packs)); }
  double loss(const train::Batch& b) { return model->backward(b, 0); }
  std::vector<float> gradients(const train::Batch& b) {
    model->zero_gradients();
    model->backward(b, 1);
    std::vector<float> all;
    for (const auto& t : model->parameters().trained()) all.insert(all.end(), t.dw.data, t.dw.data + t.dw.count());
    return all;
  }
};

// Only the targets of one sequence are kept.
train::Batch supervised_alone(train::Batch b, std::size_t sequence) {
  const Sequence& s = b.rows.sequences[sequence];
  for (int r = 0; r < int(b.rows.targets.size()); ++r)
    if (r < s.q_first || r >= s.q_first + s.q_count) b.rows.targets[std::size_t(r)] = text::kIgnored;
  return b;
}

}  // namespace

TEST_CASE("a packed batch: the loss of every answer is that of the sample alone, and so are the gradients") {
  Trained t;
  const train::Batch apart = t.batch({{0}, {1}, {2}, {3}, {4}}), packed = t.batch({{0, 1, 2, 3}, {4}});
  CHECK(apart.rows.supervised == packed.rows.supervised);
  CHECK(packed.rows.ids.size() + 3 * 256 < apart.rows.ids.size());
  // Every answer has the same keys in the same order: the same bits.
  CHECK(t.loss(packed) == t.loss(apart));
  for (std::size_t i = 0; i < 4; ++i) CHECK(t.loss(supervised_alone(packed, 1 + i)) == t.loss(t.batch({{i}})));
  // Sums over the rows of the prefix are added in another order: some hundred terms of fp32.
  const auto want = t.gradients(apart), got = t.gradients(packed);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double off = std::abs(double(want[i]) - double(got[i]));
    worst = off <= worst ? worst : off;  // a NaN sticks
    largest = std::max(largest, std::abs(double(want[i])));
  }
  CHECK(worst < 2e-6 * largest);
}

TEST_CASE("segments of a pack do not see each other") {
  Trained t;
  const train::Batch packed = t.batch({{0, 1, 2}});
  train::Batch changed = packed;
  const Sequence& middle = packed.rows.sequences[2];
  for (int r = middle.q_first; r < middle.q_first + middle.q_count; ++r) changed.rows.ids[std::size_t(r)] = 5 + r % 7;
  CHECK(t.loss(changed) != t.loss(packed));
  for (const std::size_t other : {1, 3})
    CHECK(t.loss(supervised_alone(changed, other)) == t.loss(supervised_alone(packed, other)));
}

// Loss and every gradient of the first step of the official training, stage 1 and stage 2: the tiny Face-LLaVA on two
// pictures. Demands: loss 2e-5, gradients 2e-5 of the largest (noise floors 2e-6 and 2.5e-6).
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <memory>

#include "facellava/io/weights.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"
#include "facellava/models/stages.hpp"
#include "facellava/models/text_rows.hpp"
#include "support/devices.hpp"
#include "support/golden.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

constexpr FaceLlavaConfig kConfig = configs::kTiny;
using M = FaceLlava<kConfig>;
using A = Act<float, Host>;
using Path = M::ImagePath;
constexpr Index kFeatures = kConfig.image.features();

// The weights that both stages begin with: fp32 where they are trained, as the file has them, bf16, where not.
template <class Parts>
struct Initial {
  std::unique_ptr<M::PartParams<Parts>> p = std::make_unique<M::PartParams<Parts>>();
  io::Weights weights;

  Initial() {
    weights.add(std::make_shared<io::Checkpoint>(golden_path("model_tiny/ckpt_safetensors_bf16"), io::Load::kMap),
                io::kOfficial, [](std::string_view) { return true; });
    REQUIRE(weights.bind(leaves_of<M>(*p)).complete());
  }
};

// The first batch as rows of the decoder.
struct Batch {
  TextRows rows;
  std::vector<int> ids, splice;    // one is −1
  std::vector<int> index, labels;  // rows that are supervised, and the tokens that they should say
  std::vector<float> pixels, points;
  Index pictures = 0;

  explicit Batch(const Golden& g) {
    const auto padded = g.integers("batch0.input_ids"), mask = g.integers("batch0.attention_mask"),
               targets = g.integers("batch0.labels");
    pictures = g.shape("batch0.input_ids")[0];
    const Index length = g.shape("batch0.input_ids")[1];
    for (Index b = 0; b < pictures; ++b) {
      const int first = int(ids.size());
      for (Index i = b * length; i < (b + 1) * length; ++i) {
        const auto at = std::size_t(i);
        if (!mask[at]) continue;
        if (padded[at] != -200) {
          if (targets[at] >= 0) {
            index.push_back(int(ids.size()) - 1);
            labels.push_back(int(targets[at]));
          }
          ids.push_back(int(padded[at]));
          splice.push_back(-1);
          continue;
        }
        for (Index k = 0; k < kFeatures; ++k) {
          ids.push_back(-1);
          splice.push_back(int(b * kFeatures + k));
        }
      }
      rows.add(int(ids.size()) - first);
      for (float v : g.floats("batch0.landmarks." + std::to_string(b))) points.push_back(v);
    }
    for (const char* face : {"b", "a"}) {  // samples 5 and 6 of data.json
      const Golden picture(std::string("preprocess/image_face_") + face + "_256.safetensors");
      for (float v : picture.floats("pixel_values")) pixels.push_back(v);
    }
  }
};

// Gradients in Params' shape; gives them by their official names.
template <class G>
struct Gradients {
  std::unique_ptr<M::PartParams<G>> of = std::make_unique<M::PartParams<G>>();
  Workspace memory;

  explicit Gradients(auto& dev) {
    memory.carve([&](Arena& a) { carve_leaves<M>(a, *of); });
    M::visit([&](std::string_view, auto& leaf) { fill(dev, leaf, 0); }, "", *of);
  }
  // f(official name, rows of the leaf)
  void each(auto f) {
    M::visit(
        [&](const std::string& name, auto& leaf) {
          if constexpr (kPresent<decltype(leaf)>) f(io::rename(io::kOfficial, name)->name, leaf);
        },
        "", *of);
  }
  std::vector<float> values() {
    std::vector<float> all;
    each([&](const std::string&, auto leaf) { all.insert(all.end(), leaf.data, leaf.data + leaf.count()); });
    return all;
  }
};

// Mean loss over the supervised tokens; gradients are added to dp.
double train(auto& dev, Batch& batch, const auto& p, auto& dp, Keep keep) {
  using Text = M::Text;
  const Index n = batch.rows.count(), visual_rows = batch.pictures * kFeatures, supervised = Index(batch.index.size());
  const auto at = batch.rows.layout();
  const TowerRows tower(kConfig.image, batch.pictures);
  const View<const float, Host, kDyn, 2 * kPoints> points(batch.points.data(), batch.pictures);

  Path::Cache<A> eye;
  Path::Training<A> vision, dvision;
  Text::Training<A> text;
  Text::LossCache<A> loss;
  Text::Table<A> table;
  Tensor<A, kDyn, M::kDim> visual, dvisual, hidden, dhidden, dx;
  Statistic<A, kDyn> nll;
  Workspace tower_memory, memory;
  tower_memory.carve([&](Arena& a) { Path::carve(a, eye, batch.pictures); });
  memory.carve([&](Arena& a) {
    for (auto* c : {&vision, &dvision}) Path::carve_training(a, *c, batch.pictures);
    Text::carve_training(a, text, n, keep);
    Text::carve_loss(a, loss, 5);
    a.take(table, n);
    for (auto* t : {&visual, &dvisual}) a.take(*t, visual_rows);
    for (auto* t : {&hidden, &dhidden, &dx}) a.take(*t, n);
    a.take(nll, supervised);
  });
  Text::fill_table(table);

  const View<const float, Host, kDyn, 3 * kConfig.image.side * kConfig.image.side> pixels(batch.pixels.data(),
                                                                                          batch.pictures);
  Path::encode(dev, eye, pixels, p, p.image_tower, tower.layout(), silent);  // frozen: features alone are kept
  Path::forward_training(dev, visual, vision, eye.features, points, p);
  M::embed_rows(dev, text.x[0], array(batch.ids), visual, array(batch.splice), p);
  Text::forward_training(dev, hidden, text, table, p.llama, at, silent);
  Text::loss(dev, nll, dhidden, dp.llama, loss, hidden, array(batch.index), array(batch.labels),
             1.f / float(supervised), p.llama);
  Text::backward(dev, dx, dp.llama, dhidden, text, table, p.llama, at, silent);
  M::embed_rows_backward(dev, dvisual, dp, dx, array(batch.ids), array(batch.splice));
  Path::backward(dev, None{}, dp, dvisual, dvision, vision, eye.features, points, p);
  double sum = 0;
  for (Index i = 0; i < supervised; ++i) sum += double(nll(i));
  return sum / double(supervised);
}

using Trained = Plain<float, Host>;
using Frozen = Stored<Host>;

template <template <class...> class Stage>
void check_stage(const std::string& name) {
  using G = Stage<Trained>;
  const Initial<Stage<Trained, Frozen>> initial;
  const Golden g("train_step/" + name + ".safetensors");
  const auto meta = nlohmann::json::parse(std::ifstream(golden_path("train_step/" + name + ".json")));
  const auto some = g.integers("rows_of_embed_and_lm_head");
  Batch batch(g);
  on_every_device([&](auto& dev) {
    Gradients<G> all(dev), recomputed(dev);
    const double loss = train(dev, batch, *initial.p, *all.of, Keep::kAll);
    CHECK(std::abs(loss - meta["steps"][0]["loss_fp64"].get<double>()) < 2e-5);
    CHECK(train(dev, batch, *initial.p, *recomputed.of, Keep::kInputs) == loss);

    double worst = 0, largest = 0, squares = 0;
    std::size_t compared = 0;
    all.each([&](const std::string& official, auto leaf) {
      sum_squares(dev, View<double, Host, 1>(&squares), leaf);
      const bool whole = g.has("grad0." + official);
      if (!whole && !g.has("grad0." + official + ".rows")) {  // the layer norm that the released code never uses
        CHECK(official.starts_with("model.landmarks_cross_attn.ln."));
        return;
      }
      const auto want = g.floats("grad0." + official + (whole ? "" : ".rows"));
      std::vector<float> mine;
      for (Index r = 0; r < (whole ? leaf.rows() : Index(some.size())); ++r) {
        const float* row = leaf.row(whole ? r : Index(some[std::size_t(r)]));
        mine.insert(mine.end(), row, row + leaf.row_size());
      }
      REQUIRE(mine.size() == want.size());
      for (std::size_t i = 0; i < want.size(); ++i) {
        const double off = std::abs(double(mine[i]) - double(want[i]));
        worst = off <= worst ? worst : off;  // a NaN sticks
        largest = std::max(largest, std::abs(double(want[i])));
      }
      ++compared;
    });
    CHECK(worst < 2e-5 * largest);
    CHECK(compared == meta["grad0_norms"].size());
    CHECK(std::sqrt(squares) ==
          doctest::Approx(meta["steps"][0]["grad_norm_fp64"].get<double>()).epsilon(1e-4));  // of all, not some rows

    CHECK(recomputed.values() == all.values());
  });
}

}  // namespace

TEST_CASE("stage 1: the landmark modules alone") { check_stage<Stage1>("stage1"); }
TEST_CASE("stage 2: all but the towers") { check_stage<Stage2>("stage2"); }

TEST_CASE("bf16 weights give the same bits as fp32 weights of the same values") {
  using G = Stage2<Trained>;
  Batch batch(Golden("train_step/stage2.safetensors"));
  cpu::Device dev({.threads = 2});
  const Initial<Stage2<Trained, Frozen>> wide;
  const Initial<Stage2<Brain<Host>, Frozen>> half;
  Gradients<G> a(dev), b(dev);
  CHECK(train(dev, batch, *wide.p, *a.of, Keep::kInputs) == train(dev, batch, *half.p, *b.of, Keep::kInputs));
  CHECK(a.values() == b.values());
}

// The whole way back, exactly, by dual numbers: from the loss through decoder, splice, fusion, landmark projector and
// projector into both towers, every part trained. The fusion folds in inference and must not in training.
#include <doctest/doctest.h>

#include <memory>

#include "facellava/models/face_llava.hpp"
#include "facellava/models/text_rows.hpp"
#include "support/dual_layer.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

constexpr FaceLlavaConfig kWhole{
    .image = {.side = 2, .patch = 1, .layers = 1, .run_layers = 1, .block = {.dim = 4, .ffn = 3, .heads = 2}},
    .video = {.side = 2,
              .patch = 1,
              .layers = 1,
              .run_layers = 1,
              .output = ClassToken::kFirst,
              .block = {.dim = 4, .ffn = 3, .heads = 1, .frames = 2}},
    .llama = {.vocab = 7, .layers = 1, .block = {.dim = 64, .ffn = 5, .heads = 4, .kv_heads = 2}},
    .landmarks = Landmarks::kRegions,
    .fusion = {.dim = 64, .heads = 1}};
using Whole = FaceLlava<kWhole>;
static_assert(!std::is_same_v<Whole::Fusion, TrainingOf<Whole::Fusion>>);

// One medium of a batch: from pixels to visual tokens and back.
template <TowerConfig T>
struct Medium {
  using Path = Whole::Vision<T>;
  using Eye = Tower<T>;
  static constexpr Index kFrames = T.block.frames, kRows = kFrames * T.features();

  TowerRows rows{T, 1};
  Duals pixels{kFrames, 3 * T.side*T.side, 1}, points{kFrames, 2 * kPoints, 2, 0, 0.3f}, features{kRows, 4, 3},
      dfeatures{kRows, 4, 4}, dx{kFrames * T.tokens(), 4, 5};
  typename Eye::template Training<DualAct> eye;
  typename Path::template Training<DualAct> vision, d;
  Workspace memory;

  Medium() {
    memory.carve([&](Arena& a) {
      Eye::carve_training(a, eye, kFrames, Keep::kInputs);
      Path::carve_training(a, vision, kFrames);
      Path::carve_training(a, d, kFrames);
    });
  }
  void forward(auto visual, const auto& tower, const auto& p, auto landmarks) {
    Eye::forward_training(dev, eye, pixels.matrix(), tower, rows.layout());
    gather_rows(dev, features.matrix(), eye.x.back(), rows.layout().selected);
    Path::forward_training(dev, visual, vision, features.matrix(), landmarks, p);
  }
  void backward(auto dvisual, auto& dtower, auto& dp, const auto& tower, const auto& p, auto landmarks) {
    Path::backward(dev, dfeatures.matrix(), dp, dvisual, d, vision, features.matrix(), landmarks, p);
    fill(dev, dx.matrix(), 0);
    scatter_add_rows(dev, dx.matrix(), dfeatures.matrix(), rows.layout().selected);
    Eye::backward(dev, dx.matrix(), dtower, eye, tower, rows.layout());
  }
};

void check_whole(bool with_landmarks) {
  using Text = Whole::Text;
  const auto params = std::make_unique<DualParams<Whole>>();
  const auto& p = params->p;
  auto& dp = params->dp;
  Medium<kWhole.image> image;
  Medium<kWhole.video> video;
  constexpr int kImageRows = int(image.kRows), kVisual = kImageRows + int(video.kRows);

  std::vector<int> ids{1}, splice{-1};  // BOS, picture, clip, words
  for (int i = 0; i < kVisual; ++i) {
    ids.push_back(-1);
    splice.push_back(i);
  }
  for (int id : {5, 2, 6}) {
    ids.push_back(id);
    splice.push_back(-1);
  }
  const Index n = Index(ids.size());
  const std::vector<int> index{int(n) - 3, int(n) - 2}, labels{2, 6};
  TextRows text;
  text.add(int(n));
  const auto at = text.layout();

  Text::Training<DualAct> c;
  Text::LossCache<DualAct> loss;
  Tensor<DualAct, kDyn, Whole::kDim> visual, dvisual, hidden, dhidden, dx;
  Tensor<DualAct, kDyn, Text::kHeadDim> table;
  Workspace memory;
  memory.carve([&](Arena& a) {
    Text::carve_training(a, c, n, Keep::kInputs);
    Text::carve_loss(a, loss, 2);
    for (auto* t : {&visual, &dvisual}) a.take(*t, kVisual);
    for (auto* t : {&hidden, &dhidden, &dx}) a.take(*t, n);
    a.take(table, n);
  });
  Text::fill_table(table);
  const auto run = [&](auto image_points, auto video_points) {
    image.forward(rows(visual, 0, kImageRows), p.image_tower, p, image_points);
    video.forward(rows(visual, kImageRows, video.kRows), p.video_tower, p, video_points);
    Whole::embed_rows(dev, c.x[0], array(ids), visual, array(splice), p);
    Text::forward_training(dev, hidden, c, table, p.llama, at, silent);
    Duals nll(1, 2, 1);
    Text::loss(dev, nll.vector(), dhidden, dp.llama, loss, hidden, array(index), array(labels), 0.5f, p.llama);
    Text::backward(dev, dx, dp.llama, dhidden, c, table, p.llama, at, silent);
    Whole::embed_rows_backward(dev, dvisual, dp, dx, array(ids), array(splice));
    image.backward(rows(dvisual, 0, kImageRows), dp.image_tower, dp, p.image_tower, p, image_points);
    video.backward(rows(dvisual, kImageRows, video.kRows), dp.video_tower, dp, p.video_tower, p, video_points);
    check_slope(0.5 * (nll.values[0].slope + nll.values[1].slope), params->inner_product());
  };
  with_landmarks ? run(image.points.matrix(), video.points.matrix()) : run(None{}, None{});
}

}  // namespace

TEST_CASE("with landmarks") { check_whole(true); }
TEST_CASE("without landmarks") { check_whole(false); }

TEST_CASE("training sees what inference sees, where inference folds") {
  const auto params = std::make_unique<DualParams<Whole>>();
  Medium<kWhole.image> image;
  constexpr Index kRows = image.kRows;
  Duals trained(kRows, Whole::kDim, 1), inferred(kRows, Whole::kDim, 2);
  image.forward(trained.matrix(), params->p.image_tower, params->p, image.points.matrix());
  Whole::ImagePath::Cache<DualAct> c;
  Workspace memory;
  memory.carve([&](Arena& a) { Whole::ImagePath::carve(a, c, 1); });
  Whole::ImagePath::encode(dev, c, image.pixels.matrix(), params->p, params->p.image_tower, image.rows.layout(),
                           silent);
  Whole::ImagePath::fuse(dev, inferred.matrix(), c, image.points.matrix(), params->p);
  for (std::size_t i = 0; i + 1 < trained.values.size(); ++i)
    CHECK(trained.values[i].value == doctest::Approx(inferred.values[i].value).epsilon(1e-10));
}

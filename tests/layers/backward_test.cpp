// The backward of every layer, exactly, by dual numbers: <dy, y> along a direction of inputs and parameters.
#include <doctest/doctest.h>

#include "facellava/layers/fusion.hpp"
#include "facellava/layers/landmarks.hpp"
#include "facellava/layers/llama_block.hpp"
#include "facellava/layers/projector.hpp"
#include "facellava/layers/vit_block.hpp"
#include "facellava/models/text_rows.hpp"
#include "facellava/models/tower.hpp"
#include "support/dual_layer.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

// carve(arena, cache), forward(y, cache, x, p), backward(dx, dp, dy, d, cache, x, p)
template <class L, Index in, Index out>
void check_layer(Index rows, auto carve, auto forward, auto backward) {
  DualParams<L> params;
  typename L::template Cache<DualAct> c, d;
  Tensor<DualAct, kDyn, in> x, dx;
  Tensor<DualAct, kDyn, out> y, dy;
  Workspace memory;
  memory.carve([&](Arena& a) {
    carve(a, c);
    carve(a, d);
    for (auto* t : {&x, &dx}) a.take(*t, rows);
    for (auto* t : {&y, &dy}) a.take(*t, rows);
  });
  randomise(x);
  randomise(dy);
  forward(y, c, x, params.p);
  const double want = inner(dy, y);
  backward(dx, params.dp, dy, d, c, x, params.p);
  check_slope(want, inner(dx, x) + params.inner_product());
}

}  // namespace

TEST_CASE("projector") {
  using P = Projector<ProjectorConfig{5, 4}>;
  check_layer<P, 5, 4>(
      3, [](auto& a, auto& c) { P::carve(a, c, 3); },
      [](auto y, auto& c, auto x, auto& p) { P::forward(dev, y, c, x, p); },
      [](auto dx, auto& dp, auto dy, auto& d, auto& c, auto x, auto& p) { P::backward(dev, dx, dp, dy, d, c, x, p); });
}
TEST_CASE("landmark projector, to the points too") {
  using L = LandmarkProjector<LandmarkProjectorConfig{3}>;
  DualParams<L> params;
  L::Cache<DualAct> c, d;
  Duals points(2, 2 * kPoints, 1, 3), dpoints = points, y(18, 3, 2), dy(18, 3, 3);
  randomise(points.matrix());
  Workspace memory;
  memory.carve([&](Arena& a) {
    L::carve(a, c, 2);
    L::carve(a, d, 2);
  });
  L::forward(dev, y.matrix(), c, points.matrix(), params.p);
  L::backward(dev, dpoints.matrix(), params.dp, dy.matrix(), d, points.matrix(), params.p);
  check_slope(inner(dy, y), inner(dpoints, points) + params.inner_product());
  const double whole = params.inner_product();
  L::backward(dev, None{}, params.dp, dy.matrix(), d, points.matrix(), params.p);
  CHECK(params.inner_product() == doctest::Approx(2 * whole));
  L::Params<Absent> frozen;
  auto again = points;
  L::backward(dev, again.matrix(), frozen, dy.matrix(), d, points.matrix(), params.p);
  CHECK(inner(again, points) == inner(dpoints, points));
}

namespace {

template <VitBlockConfig C>
void check_vit(Index clips, int tokens) {
  using B = VitBlock<C>;
  const TowerConfig tower{.side = 1, .patch = 1, .block = C};
  REQUIRE(tower.tokens() == tokens);
  const TowerRows built(tower, clips);
  const auto at = built.layout();
  const Index rows = clips * C.frames * tokens;
  const auto run = [&](bool in_place) {
    check_layer<B, C.dim, C.dim>(
        rows, [&](auto& a, auto& c) { B::carve(a, c, rows); },
        [&](auto y, auto& c, auto x, auto& p) { B::forward(dev, y, c, x, p, at); },
        [&](auto dx, auto& dp, auto dy, auto& d, auto& c, auto x, auto& p) {
          if (in_place) copy(dev, dx, dy);
          B::backward(dev, dx, dp, in_place ? dx : dy, d, c, x, p, at);
        });
  };
  run(false);
  run(true);
}

}  // namespace

TEST_CASE("tower block of images") { check_vit<VitBlockConfig{.dim = 6, .ffn = 5, .heads = 2}>(3, 2); }
TEST_CASE("tower block of videos") { check_vit<VitBlockConfig{.dim = 6, .ffn = 5, .heads = 3, .frames = 3}>(2, 2); }

TEST_CASE("decoder block: a prefix, two answers behind it, another sequence; grouped heads") {
  using B = LlamaBlock<LlamaBlockConfig{.dim = 8, .ffn = 5, .heads = 4, .kv_heads = 2}>;
  TextRows text;
  const int answers[] = {2, 3};
  text.add(3, answers);
  text.add(2);
  const auto at = text.layout();
  const Index rows = text.count();
  REQUIRE(rows == 10);
  Duals table(6, 2, 7);
  check_layer<B, 8, 8>(
      rows, [&](auto& a, auto& c) { B::carve(a, c, rows); },
      [&](auto y, auto& c, auto x, auto& p) {
        auto own = B::own_rows(c);
        B::forward(dev, y, c, own, x, table.matrix(), p, at);
      },
      [&](auto dx, auto& dp, auto dy, auto& d, auto& c, auto x, auto& p) {
        B::backward(dev, dx, dp, dy, d, c, x, table.matrix(), p, at);
      });
}

namespace {

// Two frames of 2 × 2 patches, behind class tokens. A frozen copy gives the same gradients of x and r.
template <class F>
void check_fusion() {
  constexpr int kDim = 6;
  constexpr Grid grid{ClassToken::kFirst, 2};
  const Index rows = 2 * grid.tokens();
  DualParams<F> params;
  typename F::template Cache<DualAct> c, d;
  Workspace memory;
  memory.carve([&](Arena& a) {
    F::carve(a, c, rows, 2);
    F::carve(a, d, rows, 2);
  });
  Duals x(rows, kDim, 1, 1), r(18, kDim, 2), y(rows, kDim, 3), dy(rows, kDim, 4), dx = x, dr = r;
  Duals points(2, 2 * kPoints, 5, 0, .3f);
  randomise(x.matrix());
  randomise(r.matrix());
  F::forward(dev, y.matrix(), c, x.matrix(), r.matrix(), points.matrix(), grid, params.p);
  F::backward(dev, dx.matrix(), dr.matrix(), params.dp, dy.matrix(), d, c, x.matrix(), r.matrix(), points.matrix(),
              grid, params.p);
  check_slope(inner(dy, y), inner(dx, x) + inner(dr, r) + params.inner_product());

  typename F::template Params<Absent> frozen;
  auto dx_frozen = x, dr_frozen = r;
  F::backward(dev, dx_frozen.matrix(), dr_frozen.matrix(), frozen, dy.matrix(), d, c, x.matrix(), r.matrix(),
              points.matrix(), grid, params.p);
  CHECK(inner(dx_frozen, x) == inner(dx, x));
  CHECK(inner(dr_frozen, r) == inner(dr, r));
  const double once = params.inner_product();
  F::backward(dev, None{}, None{}, params.dp, dy.matrix(), d, c, x.matrix(), r.matrix(), points.matrix(), grid,
              params.p);
  CHECK(params.inner_product() == doctest::Approx(2 * once));
}
constexpr FusionConfig kSmallFusion{.dim = 6, .heads = 2};

}  // namespace

TEST_CASE("simple fusion") { check_fusion<Fusion<kSmallFusion>>(); }
TEST_CASE("masked fusion") { check_fusion<Fusion<FusionConfig{.dim = 6, .heads = 3, .kind = FusionKind::kMasked}>>(); }
TEST_CASE("paper fusion, its scale stored or configured") {
  check_fusion<
      Fusion<FusionConfig{.dim = 6, .heads = 2, .policy = Policy::kPaper, .distance_source = ScaleSource::kStored}>>();
  check_fusion<Fusion<FusionConfig{.dim = 6, .heads = 2, .policy = Policy::kPaper, .distance_scale = 1.5f}>>();
}
static_assert(std::is_same_v<Fusion<kSmallFusion>::Training, Fusion<kSmallFusion>>);
static_assert(!std::is_same_v<Fusion<FusionConfig{.dim = 64, .heads = 1}>::Training,
                              Fusion<FusionConfig{.dim = 64, .heads = 1}>>);

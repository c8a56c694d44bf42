// Backward of towers and decoder, exactly, by dual numbers; memory that is computed anew gives the same bits.
#include <doctest/doctest.h>

#include "facellava/models/llama.hpp"
#include "facellava/models/text_rows.hpp"
#include "facellava/models/tower.hpp"
#include "support/dual_layer.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

template <TowerConfig C>
void check_tower(Index clips) {
  using T = Tower<C>;
  const Index frames = clips * C.block.frames, rows = frames * C.tokens();
  const TowerRows built(C, clips);
  const auto at = built.layout();
  Duals pixels(frames, 3 * C.side * C.side, 1), dy(rows, C.block.dim, 2);
  DualParams<T> all, inputs;
  for (Keep keep : {Keep::kAll, Keep::kInputs}) {
    auto& dp = keep == Keep::kAll ? all.dp : inputs.dp;
    typename T::template Training<DualAct> c;
    Workspace memory;
    memory.carve([&](Arena& a) { T::carve_training(a, c, frames, keep); });
    T::forward_training(dev, c, pixels.matrix(), all.p, at);
    auto dx = dy;
    const double want = inner(dy.matrix(), c.x.back());
    T::backward(dev, dx.matrix(), dp, c, all.p, at);
    if (keep == Keep::kAll) check_slope(want, all.inner_product());
  }
  int leaves = 0;
  T::visit(
      [&](std::string_view, auto& a, auto& b) {
        ++leaves;
        for (Index r = 0; r < a.rows(); ++r)
          for (Index k = 0; k < a.row_size(); ++k) REQUIRE(a.row(r)[k].value == b.row(r)[k].value);
      },
      "", all.dp, inputs.dp);
  CHECK(leaves > 20);
}

}  // namespace

TEST_CASE("image tower, of which a layer does not run") {
  check_tower<TowerConfig{
      .side = 4, .patch = 2, .layers = 3, .run_layers = 2, .block = {.dim = 4, .ffn = 5, .heads = 2}}>(2);
}
TEST_CASE("video tower") {
  check_tower<TowerConfig{.side = 2,
                          .patch = 1,
                          .layers = 2,
                          .run_layers = 2,
                          .output = ClassToken::kFirst,
                          .block = {.dim = 4, .ffn = 3, .heads = 2, .frames = 2}}>(2);
}

namespace {

// Loss of the rows `index` of packed and unpacked sequences.
template <Head head>
void check_llama() {
  using L = Llama<LlamaConfig{
      .vocab = 7, .layers = 2, .block = {.dim = 8, .ffn = 5, .heads = 4, .kv_heads = 2}, .head = head}>;
  TextRows text;
  const int answers[] = {2, 3};
  text.add(3, answers);
  text.add(2);
  const Index rows = text.count(), n = 5;
  const auto at = text.layout();
  const std::vector<int> ids{1, 0, 6, 3, 3, 2, 4, 5, 1, 0}, index{9, 4, 3, 6, 7}, labels{2, 6, 0, 1, 5};
  const auto view = [](const std::vector<int>& v) { return View<const int, Host, kDyn>(v.data(), Index(v.size())); };
  DualParams<L> all, inputs;
  for (Keep keep : {Keep::kAll, Keep::kInputs}) {
    auto& dp = keep == Keep::kAll ? all.dp : inputs.dp;
    typename L::template Training<DualAct> c;
    typename L::template LossCache<DualAct> loss;
    Tensor<DualAct, kDyn, L::kDim> y, dy, dx;
    Tensor<DualAct, kDyn, L::kHeadDim> table;
    Workspace memory;
    memory.carve([&](Arena& a) {
      L::carve_training(a, c, rows, keep);
      L::carve_loss(a, loss, 2);
      for (auto* t : {&y, &dy, &dx}) a.take(*t, rows);
      a.take(table, 6);
    });
    L::fill_table(table);
    embed(dev, c.x[0], view(ids), all.p.embed_tokens);
    L::forward_training(dev, y, c, table, all.p, at, silent);
    Duals nll(1, n, 1);
    L::loss(dev, nll.vector(), dy, dp, loss, y, view(index), view(labels), 0.2f, all.p);
    double slope = 0;
    for (Index i = 0; i < n; ++i) slope += 0.2f * nll.values[std::size_t(i)].slope;
    L::backward(dev, dx, dp, dy, c, table, all.p, at, silent);
    embed_dw(dev, dp.embed_tokens, dx, view(ids));
    if (keep == Keep::kAll) check_slope(slope, all.inner_product());
  }
  L::visit(
      [&](std::string_view, auto& a, auto& b) {
        for (Index r = 0; r < a.rows(); ++r)
          for (Index k = 0; k < a.row_size(); ++k) REQUIRE(a.row(r)[k].value == b.row(r)[k].value);
      },
      "", all.dp, inputs.dp);
}

}  // namespace

TEST_CASE("decoder with its loss, the head its own or tied") {
  check_llama<Head::kOwn>();
  check_llama<Head::kTied>();
}

TEST_CASE("what recomputation saves") {
  using L = Llama<LlamaConfig{.vocab = 7, .layers = 4, .block = {.dim = 8, .ffn = 64, .heads = 4, .kv_heads = 2}}>;
  const auto peak = [](Keep keep) {
    L::Training<Act<float, Host>> c;
    Arena count;
    L::carve_training(count, c, 100, keep);
    return count.peak();
  };
  L::Block::Cache<Act<float, Host>> block;
  Arena count;
  L::Block::carve(count, block, 100);
  CHECK(peak(Keep::kAll) - peak(Keep::kInputs) == 3 * count.peak());
}

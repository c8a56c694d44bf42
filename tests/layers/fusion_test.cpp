// Projector, FRLP and FRGCA forward against the official code. Demand: 1e-5 of the largest value (noise floor 4e-7).
// The masked goldens keep the released code's transposed grid; their images carry a patch, written in
// masked_image.json.

#include "facellava/layers/landmarks.hpp"
#include "facellava/layers/projector.hpp"
#include "layers/fusion_goldens.hpp"
#include "support/devices.hpp"
#include "support/golden.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

using A = Act<float, Host>;
using Weights = Plain<const float, Host>;

template <FusionConfig C>
void check_fusion(const std::string& name, Grid grid, Index frames) {
  using P = Projector<ProjectorConfig{kTower, kDim}>;
  using L = LandmarkProjector<LandmarkProjectorConfig{kDim}>;
  using F = Fusion<C>;
  const Golden g("frlp_frgca/" + name + ".safetensors");
  Binder bind(g, "param.");
  typename P::template Params<Weights> projector;
  typename L::template Params<Weights> landmarks;
  typename F::template Params<Weights> fusion;
  P::visit(bind, "model.mm_projector", projector);
  L::visit(bind, "model", landmarks);
  F::visit(bind, "model.landmarks_cross_attn", fusion);
  std::size_t params = 0;
  for (const auto& [tensor, entry] : g.file().tensors()) params += tensor.starts_with("param.");
  CHECK(bind.names.size() == params);

  const Index rows = frames * grid.tokens();
  const auto features = g.floats("in.tower_features"), points = g.floats("in.landmarks");
  on_every_device([&](auto& dev) {
    typename P::template Cache<A> pc;
    typename L::template Cache<A> lc;
    typename F::template Cache<A> fc;
    Tensor<A, kDyn, kDim> x, r, y;
    Workspace memory;
    memory.carve([&](Arena& a) {
      P::carve(a, pc, rows);
      L::carve(a, lc, frames);
      F::carve(a, fc, rows, frames);
      a.take(x, rows);
      a.take(r, frames * kRegionCount);
      a.take(y, rows);
    });
    const View<const float, Host, kDyn, 136> z(points.data(), frames);
    P::forward(dev, x, pc, View<const float, Host, kDyn, kTower>(features.data(), rows), projector);
    CHECK(golden_error(x, g.floats("mid.mm_projector_out")) < 1e-5);
    L::forward(dev, r, lc, z, landmarks);
    CHECK(golden_error(lc.global, g.floats("mid.global_token")) < 1e-5);
    CHECK(golden_error(r, g.floats("mid.landmark_tokens")) < 1e-5);
    F::forward(dev, y, fc, x, r, z, grid, fusion);
    if (g.has("mid.mask")) CHECK(golden_error(fc.attention.bias, g.floats("mid.mask")) < 1e-5);
    CHECK(golden_error(fc.branch.c, g.floats("mid.cross_attn_ln_out")) < 1e-5);
    CHECK(golden_error(fc.branch.b, g.floats("mid.linear_proj_out")) < 1e-5);
    CHECK(golden_error(y, g.floats("out.frgca")) < 1e-5);

    const auto probs = g.floats("mid.attn_probs");  // of the first frame: [heads, tokens, 9]
    std::vector<float> mine;
    for (Index h = 0; h < C.heads; ++h)
      for (Index t = 0; t < grid.tokens(); ++t)
        for (Index i = 0; i < kRegionCount; ++i) mine.push_back(fc.attention.p(t, h, i));
    REQUIRE(mine.size() == probs.size());
    CHECK(relative_to_max(mine, probs, Index(probs.size())) < 1e-5);
  });
}

}  // namespace

TEST_CASE("simple fusion, images") { check_fusion<kSimple>("simple_image", {ClassToken::kNone, 16}, 2); }
TEST_CASE("simple fusion, video") { check_fusion<kSimple>("simple_video", {ClassToken::kFirst, 16}, 2); }
TEST_CASE("masked fusion, images") { check_fusion<kMasked>("masked_image", {ClassToken::kNone, 16}, 2); }
TEST_CASE("masked fusion, video") { check_fusion<kMasked>("masked_video", {ClassToken::kFirst, 16}, 2); }

TEST_CASE("corrected bias: transposing grid and points gives the reference's") {
  ref::Device dev;
  const int n = 4;
  Random<float> points(1, 136, 3, 0, 0.2f), mirrored = points;
  for (int i = 0; i < 68; ++i) std::swap(mirrored.values[2 * i], mirrored.values[2 * i + 1]);
  Random<float> a(n * n, kRegionCount, 1), b(n * n, kRegionCount, 2);
  region_bias(dev, a.matrix(), points.matrix(), None{}, 1.f, RegionBias::kSoftmaxTransposed, ClassToken::kNone, n);
  region_bias(dev, b.matrix(), mirrored.matrix(), None{}, 1.f, RegionBias::kSoftmax, ClassToken::kNone, n);
  double difference = 0;
  for (int i = 0; i < n * n; ++i)
    for (int g = 0; g < kRegionCount; ++g) {
      CHECK(a.matrix()(i, g) == doctest::Approx(b.matrix()(i, g)));
      difference = std::max(difference, std::abs(double(a.matrix()(i, g)) - a.matrix()(i % n * n + i / n, g)));
    }
  CHECK(difference > 1e-3);  // the transposition matters
}

TEST_CASE("paper fusion: y = x + W softmax(qk/√d − s · distance) v + b, by hand") {
  constexpr FusionConfig kStored{
      .dim = 6, .heads = 2, .policy = Policy::kPaper, .distance_source = ScaleSource::kStored};
  constexpr FusionConfig kConfigured{.dim = 6, .heads = 2, .policy = Policy::kPaper, .distance_scale = 2.5f};
  using Stored = Fusion<kStored>;
  using Configured = Fusion<kConfigured>;
  const Index side = 3, rows = side * side;
  Random<float> wq(6, 6, 1), wk(6, 6, 2), wv(6, 6, 3), wo(6, 6, 4), bias(1, 6, 5), x(rows, 6, 6), r(kRegionCount, 6, 7),
      points(1, 136, 8, 0, 0.4f), s(1, 1, 9), y(rows, 6, 10), z(rows, 6, 11);
  s.values[0] = 2.5f;
  using W = Plain<float, Host>;
  const auto set = [&](auto& p, Random<float>& w) {
    p.weight = View<float, Host, 6, 6>(w.values.data());
    p.bias = View<float, Host, 6>(bias.values.data());
  };
  const auto fill = [&](auto& p) {
    set(p.q_proj, wq);
    set(p.k_proj, wk);
    set(p.v_proj, wv);
    set(p.linear_proj, wo);
  };
  Stored::Params<W> stored;
  Configured::Params<W> configured;
  fill(stored);
  fill(configured);
  stored.distance_scale = View<float, Host, 1>(s.values.data());
  ref::Device dev;
  Stored::Cache<A> c;
  Workspace memory;
  memory.carve([&](Arena& a) { Stored::carve(a, c, rows, 1); });
  Stored::forward(dev, y.matrix(), c, x.matrix(), r.matrix(), points.matrix(), {ClassToken::kNone, int(side)}, stored);
  Configured::Cache<A> d;
  d.attention.q = c.attention.q, d.attention.k = c.attention.k, d.attention.v = c.attention.v,
  d.attention.o = c.attention.o;
  d.attention.p = c.attention.p, d.attention.bias = c.attention.bias;
  Configured::forward(dev, z.matrix(), d, x.matrix(), r.matrix(), points.matrix(), {ClassToken::kNone, int(side)},
                      configured);
  CHECK(y.values != z.values);  // only the padding value differs
  for (std::size_t i = 0; i + 1 < y.values.size(); ++i) REQUIRE(y.values[i] == z.values[i]);

  const auto project = [&](const Random<float>& w, const float* v, int o) {
    double t = bias.values[std::size_t(o)];
    for (int k = 0; k < 6; ++k) t += double(w.values[std::size_t(o * 6 + k)]) * v[k];
    return t;
  };
  for (Index t = 0; t < rows; ++t) {
    double o[6];
    for (int h = 0; h < 2; ++h) {
      double p[9], sum = 0;
      for (int g = 0; g < 9; ++g) {
        double score = 0, cx = 0, cy = 0;
        for (int k = 3 * h; k < 3 * h + 3; ++k)
          score += project(wq, &x.values[std::size_t(t * 6)], k) * project(wk, &r.values[std::size_t(g * 6)], k);
        for (int i = 0; i < kRegions[g].count; ++i) {
          cx += points.values[std::size_t(2 * (kRegions[g].first + i))] / kRegions[g].count;
          cy += points.values[std::size_t(2 * (kRegions[g].first + i) + 1)] / kRegions[g].count;
        }
        const double px = (double(t % side) + .5) / side, py = (double(t / side) + .5) / side;
        sum += p[g] = std::exp(score / std::sqrt(3.0) - 2.5 * std::hypot(px - cx, py - cy));
      }
      for (int k = 3 * h; k < 3 * h + 3; ++k) {
        o[k] = 0;
        for (int g = 0; g < 9; ++g) o[k] += p[g] / sum * project(wv, &r.values[std::size_t(g * 6)], k);
      }
    }
    for (int k = 0; k < 6; ++k) {
      double want = bias.values[std::size_t(k)] + x.values[std::size_t(t * 6 + k)];
      for (int j = 0; j < 6; ++j) want += double(wo.values[std::size_t(k * 6 + j)]) * o[j];
      CHECK(y.matrix()(t, k) == doctest::Approx(want).epsilon(1e-4));
    }
  }
}

// Gradients of projector, FRLP and FRGCA against the official code. Demand: 2e-5 of the largest value; of parameters,
// of the largest of all (noise floor 1e-6; the key bias has none in truth, softmax does not feel it).
#include "facellava/core/backward_ops.hpp"
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

// What stage 2 trains of the way from features to visual tokens.
template <FusionConfig C>
struct Way {
  using Project = Projector<ProjectorConfig{kTower, kDim}>;
  using Points = LandmarkProjector<LandmarkProjectorConfig{kDim}>;
  using Fuse = Fusion<C>;

  template <class P>
  struct Params {
    typename Project::template Params<P> projector;
    typename Points::template Params<P> points;
    typename Fuse::template Params<P> fusion;
  };
  template <class A>
  struct Cache {
    typename Project::template Cache<A> projector;
    typename Points::template Cache<A> points;
    typename Fuse::template Cache<A> fusion;
    Tensor<A, kDyn, kDim> x, r;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    Project::visit(f, join(at, "mm_projector"), p.projector...);
    Points::visit(f, at, p.points...);
    Fuse::visit(f, join(at, "landmarks_cross_attn"), p.fusion...);
  }
  static void carve(auto& arena, auto& c, Index rows, Index frames) {
    Project::carve(arena, c.projector, rows);
    Points::carve(arena, c.points, frames);
    Fuse::carve(arena, c.fusion, rows, frames);
    arena.take(c.x, rows);
    arena.take(c.r, frames * kRegionCount);
  }
};

template <FusionConfig C>
void check_gradients(const std::string& name, Grid grid, Index frames) {
  using W = Way<C>;
  const Golden g("frlp_frgca/" + name + ".safetensors");
  Binder bind(g, "param.");
  typename W::template Params<Weights> p;
  W::visit(bind, "model", p);
  const Index rows = frames * grid.tokens();
  const auto features = g.floats("in.tower_features"), landmarks = g.floats("in.landmarks"),
             upstream = g.floats("in.upstream_grad");
  const View<const float, Host, kDyn, kTower> x(features.data(), rows);
  const View<const float, Host, kDyn, 2 * kPoints> points(landmarks.data(), frames);
  const View<const float, Host, kDyn, kDim> dy(upstream.data(), rows);
  on_every_device([&](auto& dev) {
    typename W::template Params<Plain<float, Host>> dp;
    typename W::template Cache<A> c, d;
    Tensor<A, kDyn, kDim> y;
    Tensor<A, kDyn, kTower> dx;
    Tensor<A, kDyn, 2 * kPoints> dpoints;
    Workspace memory, gradients;
    memory.carve([&](Arena& a) {
      W::carve(a, c, rows, frames);
      W::carve(a, d, rows, frames);
      a.take(y, rows);
      a.take(dx, rows);
      a.take(dpoints, frames);
    });
    gradients.carve([&](Arena& a) { W::visit([&](const auto&, auto& leaf) { a.take(leaf); }, "", dp); });
    W::visit([&](const auto&, auto& leaf) { fill(dev, leaf, 0); }, "", dp);

    W::Project::forward(dev, c.x, c.projector, x, p.projector);
    W::Points::forward(dev, c.r, c.points, points, p.points);
    W::Fuse::forward(dev, y, c.fusion, c.x, c.r, points, grid, p.fusion);
    W::Fuse::backward(dev, d.x, d.r, dp.fusion, dy, d.fusion, c.fusion, c.x, c.r, points, grid, p.fusion);
    W::Points::backward(dev, dpoints, dp.points, d.r, d.points, points, p.points);
    W::Project::backward(dev, dx, dp.projector, d.x, d.projector, c.projector, x, p.projector);

    CHECK(golden_error(d.x, g.floats("grad.mm_projector_out")) < 2e-5);
    CHECK(golden_error(d.r, g.floats("grad.landmark_tokens")) < 2e-5);
    CHECK(golden_error(dx, g.floats("grad.tower_features")) < 2e-5);
    CHECK(golden_error(dpoints, g.floats("grad.landmarks")) < 2e-5);
    double largest = 0, worst = 0;
    int compared = 0;
    W::visit(
        [&](const std::string& leaf, auto& gradient) {
          if (leaf.starts_with("model.landmarks_cross_attn.ln.")) return;  // never used by the released code
          const auto want = g.floats("grad." + leaf);
          double top = 0;
          for (float v : want) top = std::max(top, std::abs(double(v)));
          largest = std::max(largest, top);
          const double off = golden_error(gradient, want) * top;
          worst = off <= worst ? worst : off;  // a NaN sticks
          ++compared;
        },
        "model", dp);
    CHECK(worst < 2e-5 * largest);
    CHECK(compared > 25);
  });
}

}  // namespace

TEST_CASE("simple fusion, images") {
  check_gradients<FusionConfig{.dim = kDim}>("simple_image", {ClassToken::kNone, 16}, 2);
}
TEST_CASE("simple fusion, video") {
  check_gradients<FusionConfig{.dim = kDim}>("simple_video", {ClassToken::kFirst, 16}, 2);
}
TEST_CASE("masked fusion, images") {
  check_gradients<FusionConfig{.dim = kDim, .kind = FusionKind::kMasked}>("masked_image", {ClassToken::kNone, 16}, 2);
}
TEST_CASE("masked fusion, video") {
  check_gradients<FusionConfig{.dim = kDim, .kind = FusionKind::kMasked}>("masked_video", {ClassToken::kFirst, 16}, 2);
}

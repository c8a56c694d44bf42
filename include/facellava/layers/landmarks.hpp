// FRLP, the face-region landmark projector: the 68 points become nine region tokens.
//   y[f, i] = (W_i z[f, region i] + b_i) + (W z[f] + b)     local ⊕ global
// points z [frames, 136] (x, y interleaved, 0..1), y [frames · 9, dim].   Paper fig. 2; one linear layer each.
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/core/regions.hpp"
#include "facellava/layers/linear.hpp"

namespace facellava {

struct LandmarkProjectorConfig {
  int dim;
};

template <LandmarkProjectorConfig C>
struct LandmarkProjector {
  using Global = Linear<LinearConfig{2 * kPoints, C.dim}>;
  template <int i>
  using Local = Linear<LinearConfig{2 * kRegions[i].count, C.dim}>;

  template <class P>
  struct Params {
    template <int i>
    using LocalParams = typename Local<i>::template Params<P>;
    LocalParams<0> face;
    LocalParams<1> eyebrow1;
    LocalParams<2> eyebrow2;
    LocalParams<3> nose;
    LocalParams<4> nostril;
    LocalParams<5> eye1;
    LocalParams<6> eye2;
    LocalParams<7> lips;
    LocalParams<8> teeth;
    typename Global::template Params<P> global;
  };
  template <class A>
  struct Cache {
    Tensor<A, kDyn, C.dim> global;  // [frames, dim]
  };

  static void visit(auto&& f, std::string_view at, auto&... p) {
    for_each_region(
        [&]<int i>(auto&... r) {
          Local<i>::visit(f, join(join(at, "landmarks_projector.region_layers"), kRegions[i].name), r...);
        },
        p...);
    Global::visit(f, join(at, "global_landmarks_projector"), p.global...);
  }
  static void carve(auto& arena, auto& c, Index frames) { arena.take(c.global, frames); }
  static void forward(auto& dev, auto y, auto& c, auto points, const auto& p) {
    Global::forward(dev, c.global, points, p.global);
    for_each_region(
        [&]<int i>(const auto& r) {
          const auto z = columns<2 * kRegions[i].first, 2 * kRegions[i].count>(points);
          Local<i>::forward(dev, every(y, i, kRegionCount, points.rows()), z, r, c.global);
        },
        p);
  }
  // dpoints = (or None), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dpoints, auto& dp, auto dy, auto& d, auto points, const auto& p) {
    const auto of_region = [&](int i) { return every(dy, i, kRegionCount, points.rows()); };
    fill(dev, d.global, 0);
    for (int i = 0; i < kRegionCount; ++i) axpy(dev, d.global, of_region(i), 1.f);
    Global::backward(dev, dpoints, dp.global, d.global, points, p.global, Write::kAssign);
    for_each_region(
        [&]<int i>(auto& dr, const auto& r) {
          constexpr Index first = 2 * kRegions[i].first, n = 2 * kRegions[i].count;
          Local<i>::backward(dev, columns<first, n>(dpoints), dr, of_region(i), columns<first, n>(points), r,
                             Write::kAccumulate);
        },
        dp, p);
  }

 private:
  // f<i>(region i of p...) for the nine regions, in order
  static void for_each_region(auto&& f, auto&... p) {
    f.template operator()<0>(p.face...);
    f.template operator()<1>(p.eyebrow1...);
    f.template operator()<2>(p.eyebrow2...);
    f.template operator()<3>(p.nose...);
    f.template operator()<4>(p.nostril...);
    f.template operator()<5>(p.eye1...);
    f.template operator()<6>(p.eye2...);
    f.template operator()<7>(p.lips...);
    f.template operator()<8>(p.teeth...);
  }
};

}  // namespace facellava

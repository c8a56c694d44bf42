// FRGCA, face-region guided cross-attention: visual tokens ask the nine region tokens of their frame.
//   SimpleFusion   c = LN(x + out(MHA(x, r))),              y = x + scale (W c + b)      released code, `simple`
//   MaskedFusion   c = LN(x + softmax(QKᵀ/√D + m) V),       y = x + scale (W c + b)      released code, `masked`
//   PaperFusion    y = x + W softmax(QKᵀ/√D − s · distance) V + b                        paper, fig. 2
// x, y [rows, dim], r [frames · 9, dim], points [frames, 136]; the tokens of a frame stand one after another.
// m: kReference keeps the released code's transposed grid, kCorrected puts x and y in their places (docs/policies.md).
// A user's own fusion is any type with the same members (Parts in models/face_llava.hpp); one that is only run needs no
// backward.
#pragma once
#include "facellava/layers/linear.hpp"
#include "facellava/layers/norm.hpp"
#include "facellava/layers/region_attention.hpp"

namespace facellava {

enum class FusionKind { kSimple, kMasked };
enum class Policy { kReference, kPaper, kCorrected };
enum class ScaleSource { kConfigured, kStored };

struct FusionConfig {
  int dim = 0, heads = 8;
  FusionKind kind = FusionKind::kSimple;
  Policy policy = Policy::kReference;
  float branch_scale = 0.1f;                               // simple, masked
  float distance_scale = 1.f;                              // paper: s, where it is configured
  ScaleSource distance_source = ScaleSource::kConfigured;  // paper: whether the checkpoint holds s
  float eps = 1e-5f;
  friend constexpr bool operator==(const FusionConfig&, const FusionConfig&) = default;
};

// What a fusion is told about its rows: n × n patches a frame, behind a class token or not.
struct Grid {
  ClassToken token;
  int side;
  constexpr Index tokens() const { return side * side + (token == ClassToken::kFirst); }
};

// The branch of both released fusions: y = x + scale (W LN(h) + b).
template <FusionConfig C>
struct Branch {
  using Norm = LayerNorm<NormConfig{C.dim, C.eps}>;
  using Proj = Linear<LinearConfig{C.dim, C.dim}>;

  template <class P>
  struct Params {
    typename Proj::template Params<P> linear_proj;
    typename Norm::template Params<P> cross_ln, ln;  // ln: in the checkpoint, never used by the released code
  };
  template <class A>
  struct Cache {
    typename Norm::template Cache<A> norm;
    Tensor<A, kDyn, C.dim> h, c, b;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    Norm::visit(f, join(at, "cross_attn.ln"), p.cross_ln...);
    Proj::visit(f, join(at, "linear_proj"), p.linear_proj...);
    Norm::visit(f, join(at, "ln"), p.ln...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    Norm::carve(arena, c.norm, rows);
    arena.take(c.h, rows);
    arena.take(c.c, rows);
    arena.take(c.b, rows);
  }
  // From c.h.
  static void forward(auto& dev, auto y, auto& c, auto x, const auto& p) {
    Norm::forward(dev, c.c, c.norm, c.h, p.cross_ln);
    Proj::forward(dev, c.b, c.c, p.linear_proj);
    copy(dev, y, x);
    axpy(dev, y, c.b, C.branch_scale);
  }
  // d.h =, dp +=; x's own gradient is dy. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto& dp, auto dy, auto& d, const auto& c, const auto& p) {
    fill(dev, d.b, 0);
    axpy(dev, d.b, dy, C.branch_scale);
    Proj::backward(dev, d.c, dp.linear_proj, d.b, c.c, p.linear_proj, Write::kAssign);
    Norm::backward(dev, d.h, dp.cross_ln, d.c, c.norm, c.h, p.cross_ln, Write::kAssign);
  }
};

template <FusionConfig C, RegionPath path = best_path({C.dim, C.heads})>
struct SimpleFusion {
  using Training = SimpleFusion<C, RegionPath::kPlain>;  // the one that has backward
  using Attention = RegionAttention<RegionAttentionConfig{C.dim, C.heads}, path>;
  using Branch = facellava::Branch<C>;
  using Proj = Linear<LinearConfig{C.dim, C.dim}>;

  template <class P>
  struct Params {
    Matrix<P, 3 * C.dim, C.dim> in_proj_weight;  // q, k, v
    Vector<P, 3 * C.dim> in_proj_bias;
    typename Proj::template Params<P> out_proj;
    typename Branch::template Params<P> branch;
  };
  template <class A>
  struct Cache {
    typename Attention::template Cache<A> attention;
    typename Branch::template Cache<A> branch;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    f(join(at, "cross_attn.attn.in_proj_weight"), p.in_proj_weight...);
    f(join(at, "cross_attn.attn.in_proj_bias"), p.in_proj_bias...);
    Proj::visit(f, join(at, "cross_attn.attn.out_proj"), p.out_proj...);
    Branch::visit(f, at, p.branch...);
  }
  static void carve(auto& arena, auto& c, Index rows, Index frames) {
    Attention::carve(arena, c.attention, rows, frames);
    Branch::carve(arena, c.branch, rows);
  }
  static void forward(auto& dev, auto y, auto& c, auto x, auto r, auto /*points*/, Grid, const auto& p) {
    constexpr Index d = C.dim;
    auto& a = c.attention;
    linear(dev, a.k, r, rows<d, d>(p.in_proj_weight), rows<d, d>(p.in_proj_bias), None{});
    linear(dev, a.v, r, rows<2 * d, d>(p.in_proj_weight), rows<2 * d, d>(p.in_proj_bias), None{});
    Attention::look(dev, a, x, rows<0, d>(p.in_proj_weight), rows<0, d>(p.in_proj_bias), None{});
    Attention::project(dev, c.branch.h, a, p.out_proj.weight, p.out_proj.bias, x);
    Branch::forward(dev, y, c.branch, x, p.branch);
  }
  // dx, dr = (or None), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto dr, auto& dp, auto dy, auto& d, const auto& c, auto x, auto r,
                       auto /*points*/, Grid, const auto& p) {
    constexpr Index n = C.dim;
    auto& a = d.attention;
    Branch::backward(dev, dp.branch, dy, d.branch, c.branch, p.branch);
    copy(dev, dx, dy);
    axpy(dev, dx, d.branch.h, 1.f);
    Attention::project_backward(dev, a, dp.out_proj.weight, dp.out_proj.bias, d.branch.h, c.attention,
                                p.out_proj.weight);
    Attention::look_backward(dev, dx, rows<0, n>(dp.in_proj_weight), rows<0, n>(dp.in_proj_bias), a, c.attention, x,
                             rows<0, n>(p.in_proj_weight), None{});
    linear_dx(dev, dr, a.k, rows<n, n>(p.in_proj_weight), Write::kAssign);
    linear_dx(dev, dr, a.v, rows<2 * n, n>(p.in_proj_weight), Write::kAccumulate);
    linear_dw(dev, rows<n, n>(dp.in_proj_weight), rows<n, n>(dp.in_proj_bias), a.k, r);
    linear_dw(dev, rows<2 * n, n>(dp.in_proj_weight), rows<2 * n, n>(dp.in_proj_bias), a.v, r);
  }
};

template <FusionConfig C>
struct MaskedFusion {
  using Training = MaskedFusion;
  using Attention = RegionAttention<RegionAttentionConfig{C.dim, C.heads}, RegionPath::kPlain>;  // it has no Wo
  using Branch = facellava::Branch<C>;
  using Proj = Linear<LinearConfig{C.dim, C.dim}>;

  template <class P>
  struct Params {
    typename Proj::template Params<P> q_proj, k_proj, v_proj;
    typename Branch::template Params<P> branch;
  };
  template <class A>
  struct Cache {
    typename Attention::template Cache<A> attention;
    typename Branch::template Cache<A> branch;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    Proj::visit(f, join(at, "cross_attn.q_proj"), p.q_proj...);
    Proj::visit(f, join(at, "cross_attn.k_proj"), p.k_proj...);
    Proj::visit(f, join(at, "cross_attn.v_proj"), p.v_proj...);
    Branch::visit(f, at, p.branch...);
  }
  static void carve(auto& arena, auto& c, Index rows, Index frames) {
    Attention::carve(arena, c.attention, rows, frames);
    Branch::carve(arena, c.branch, rows);
  }
  static void forward(auto& dev, auto y, auto& c, auto x, auto r, auto points, Grid grid, const auto& p) {
    constexpr RegionBias kind = C.policy == Policy::kReference ? RegionBias::kSoftmaxTransposed : RegionBias::kSoftmax;
    auto& a = c.attention;
    Proj::forward(dev, a.k, r, p.k_proj);
    Proj::forward(dev, a.v, r, p.v_proj);
    region_bias(dev, a.bias, points, None{}, 1.f, kind, grid.token, grid.side);
    Attention::look(dev, a, x, p.q_proj.weight, p.q_proj.bias, a.bias);
    copy(dev, c.branch.h, x);
    axpy(dev, c.branch.h, a.o, 1.f);
    Branch::forward(dev, y, c.branch, x, p.branch);
  }
  // dx, dr = (or None), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto dr, auto& dp, auto dy, auto& d, const auto& c, auto x, auto r,
                       auto /*points*/, Grid, const auto& p) {
    auto& a = d.attention;
    Branch::backward(dev, dp.branch, dy, d.branch, c.branch, p.branch);
    copy(dev, dx, dy);
    axpy(dev, dx, d.branch.h, 1.f);
    copy(dev, a.o, d.branch.h);
    Attention::look_backward(dev, dx, dp.q_proj.weight, dp.q_proj.bias, a, c.attention, x, p.q_proj.weight, None{});
    Proj::backward(dev, dr, dp.k_proj, a.k, r, p.k_proj, Write::kAssign);
    Proj::backward(dev, dr, dp.v_proj, a.v, r, p.v_proj, Write::kAccumulate);
  }
};

template <FusionConfig C, RegionPath path = best_path({C.dim, C.heads})>
struct PaperFusion {
  using Training = PaperFusion<C, RegionPath::kPlain>;  // the one that has backward
  using Attention = RegionAttention<RegionAttentionConfig{C.dim, C.heads}, path>;
  using Proj = Linear<LinearConfig{C.dim, C.dim}>;

  template <class P, ScaleSource>
  struct DistanceScale {};
  template <class P>
  struct DistanceScale<P, ScaleSource::kStored> {
    Vector<P, 1> distance_scale;
  };
  template <class P>
  struct Params : DistanceScale<P, C.distance_source> {
    typename Proj::template Params<P> q_proj, k_proj, v_proj, linear_proj;
  };
  template <class A>
  struct Cache {
    typename Attention::template Cache<A> attention;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    Proj::visit(f, join(at, "cross_attn.q_proj"), p.q_proj...);
    Proj::visit(f, join(at, "cross_attn.k_proj"), p.k_proj...);
    Proj::visit(f, join(at, "cross_attn.v_proj"), p.v_proj...);
    if constexpr (C.distance_source == ScaleSource::kStored)
      f(join(at, "cross_attn.distance_scale"), p.distance_scale...);
    Proj::visit(f, join(at, "linear_proj"), p.linear_proj...);
  }
  static void carve(auto& arena, auto& c, Index rows, Index frames) {
    Attention::carve(arena, c.attention, rows, frames);
  }
  static void forward(auto& dev, auto y, auto& c, auto x, auto r, auto points, Grid grid, const auto& p) {
    auto& a = c.attention;
    Proj::forward(dev, a.k, r, p.k_proj);
    Proj::forward(dev, a.v, r, p.v_proj);
    if constexpr (C.distance_source == ScaleSource::kStored)
      region_bias(dev, a.bias, points, p.distance_scale, 1.f, RegionBias::kDistance, grid.token, grid.side);
    else
      region_bias(dev, a.bias, points, None{}, C.distance_scale, RegionBias::kDistance, grid.token, grid.side);
    Attention::look(dev, a, x, p.q_proj.weight, p.q_proj.bias, a.bias);
    Attention::project(dev, y, a, p.linear_proj.weight, p.linear_proj.bias, x);
  }
  // dx, dr = (or None), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto dr, auto& dp, auto dy, auto& d, const auto& c, auto x, auto r,
                       auto points, Grid grid, const auto& p) {
    auto& a = d.attention;
    copy(dev, dx, dy);
    Attention::project_backward(dev, a, dp.linear_proj.weight, dp.linear_proj.bias, dy, c.attention,
                                p.linear_proj.weight);
    Attention::look_backward(dev, dx, dp.q_proj.weight, dp.q_proj.bias, a, c.attention, x, p.q_proj.weight, a.bias);
    if constexpr (C.distance_source == ScaleSource::kStored)
      region_bias_backward(dev, dp.distance_scale, a.bias, points, 1.f, grid.token, grid.side);
    Proj::backward(dev, dr, dp.k_proj, a.k, r, p.k_proj, Write::kAssign);
    Proj::backward(dev, dr, dp.v_proj, a.v, r, p.v_proj, Write::kAccumulate);
  }
};

// The fusion that a configuration names.
template <FusionConfig C>
using Fusion = std::conditional_t<C.policy == Policy::kPaper, PaperFusion<C>,
                                  std::conditional_t<C.kind == FusionKind::kSimple, SimpleFusion<C>, MaskedFusion<C>>>;

}  // namespace facellava

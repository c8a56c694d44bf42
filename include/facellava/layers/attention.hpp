// Self-attention of the towers: y = residual + out(attention(q(x), k(x), v(x))).   HF: CLIPAttention.   x, y [rows,
// dim]
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/layers/layout.hpp"
#include "facellava/layers/linear.hpp"

namespace facellava {

struct AttentionConfig {
  int dim, heads;
};

template <AttentionConfig C>
struct SelfAttention {
  static_assert(C.heads > 0 && C.dim % C.heads == 0, "the width must be a multiple of the number of heads");
  using Proj = Linear<LinearConfig{C.dim, C.dim}>;

  template <class P>
  struct Params {
    typename Proj::template Params<P> q_proj, k_proj, v_proj, out_proj;
  };
  template <class A>
  struct Cache {
    Tensor<A, kDyn, C.dim> q, k, v, o;
    Statistic<A, kDyn, C.heads> lse;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    Proj::visit(f, join(at, "q_proj"), p.q_proj...);
    Proj::visit(f, join(at, "k_proj"), p.k_proj...);
    Proj::visit(f, join(at, "v_proj"), p.v_proj...);
    Proj::visit(f, join(at, "out_proj"), p.out_proj...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    arena.take(c.q, rows);
    arena.take(c.k, rows);
    arena.take(c.v, rows);
    arena.take(c.o, rows);
    arena.take(c.lse, rows);
  }
  // residual may be y
  static void forward(auto& dev, auto y, auto& c, auto x, auto residual, const auto& p, const auto& at) {
    Proj::forward(dev, c.q, x, p.q_proj);
    Proj::forward(dev, c.k, x, p.k_proj);
    Proj::forward(dev, c.v, x, p.v_proj);
    attention(dev, heads<C.heads>(c.o), c.lse, heads<C.heads>(c.q), heads<C.heads>(c.k), heads<C.heads>(c.v),
              at.sequences, at.ranges, Mask::kFull, inverse_root(C.dim / C.heads));
    Proj::forward(dev, y, c.o, p.out_proj, residual);
  }
  // dx = (of x, not of the residual), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto& d, const auto& c, auto x, const auto& p,
                       const auto& at) {
    Proj::backward(dev, d.o, dp.out_proj, dy, c.o, p.out_proj, Write::kAssign);
    fill(dev, d.k, 0);
    fill(dev, d.v, 0);
    attention_backward(dev, heads<C.heads>(d.q), heads<C.heads>(d.k), heads<C.heads>(d.v), heads<C.heads>(d.o),
                       heads<C.heads>(c.o), c.lse, heads<C.heads>(c.q), heads<C.heads>(c.k), heads<C.heads>(c.v),
                       at.sequences, at.ranges, Mask::kFull, inverse_root(C.dim / C.heads));
    Proj::backward(dev, dx, dp.q_proj, d.q, x, p.q_proj, Write::kAssign);
    Proj::backward(dev, dx, dp.k_proj, d.k, x, p.k_proj, Write::kAccumulate);
    Proj::backward(dev, dx, dp.v_proj, d.v, x, p.v_proj, Write::kAccumulate);
  }
};

}  // namespace facellava

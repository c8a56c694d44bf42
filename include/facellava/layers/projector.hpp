// P_V, from the tower's width to the decoder's: y = W₂ gelu(W₀ x + b₀) + b₂.   LLaVA: mlp2x_gelu.   x [rows, in], y
// [rows, out]
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/layers/linear.hpp"

namespace facellava {

struct ProjectorConfig {
  int in, out;
};

template <ProjectorConfig C>
struct Projector {
  using First = Linear<LinearConfig{C.in, C.out}>;
  using Second = Linear<LinearConfig{C.out, C.out}>;

  template <class P>
  struct Params {
    typename First::template Params<P> first;    // 0
    typename Second::template Params<P> second;  // 2
  };
  template <class A>
  struct Cache {
    Tensor<A, kDyn, C.out> u, g;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    First::visit(f, join(at, "0"), p.first...);
    Second::visit(f, join(at, "2"), p.second...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    arena.take(c.u, rows);
    arena.take(c.g, rows);
  }
  static void forward(auto& dev, auto y, auto& c, auto x, const auto& p) {
    First::forward(dev, c.u, x, p.first);
    gelu(dev, c.g, c.u);
    Second::forward(dev, y, c.g, p.second);
  }
  // dx = (or None), dp +=. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto& d, const auto& c, auto x, const auto& p) {
    Second::backward(dev, d.g, dp.second, dy, c.g, p.second, Write::kAssign);
    gelu_backward(dev, d.u, d.g, c.u);
    First::backward(dev, dx, dp.first, d.u, x, p.first, Write::kAssign);
  }
};

}  // namespace facellava

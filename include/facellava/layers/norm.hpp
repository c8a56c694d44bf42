// RMSNorm:   y = x / sqrt(mean(x²) + eps) · weight.                     HF: LlamaRMSNorm
// LayerNorm: y = (x − mean) / sqrt(var + eps) · weight + bias.          HF: nn.LayerNorm
// x, y [rows, dim]
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/core/ops.hpp"
#include "facellava/core/visit.hpp"

namespace facellava {

struct NormConfig {
  int dim;
  float eps = 1e-5f;
};

template <NormConfig C>
struct RmsNorm {
  template <class P>
  struct Params {
    Vector<P, C.dim> weight;
  };
  template <class A>
  struct Cache {
    Statistic<A, kDyn> rstd;  // [rows]
  };
  static void visit(auto&& f, std::string_view at, auto&... p) { f(join(at, "weight"), p.weight...); }
  static void carve(auto& arena, auto& c, Index rows) { arena.take(c.rstd, rows); }
  static void forward(auto& dev, auto y, auto& c, auto x, const auto& p) {
    rms_norm(dev, y, c.rstd, x, p.weight, C.eps);
  }
  // dx = or +=, dp +=
  static void backward(auto& dev, auto dx, auto& dp, auto dy, const auto& c, auto x, const auto& p, Write write) {
    rms_norm_backward(dev, dx, dp.weight, dy, c.rstd, x, p.weight, write);
  }
};

template <NormConfig C>
struct LayerNorm {
  template <class P>
  struct Params {
    Vector<P, C.dim> weight, bias;
  };
  template <class A>
  struct Cache {
    Statistic<A, kDyn> mean, rstd;  // [rows]
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    f(join(at, "weight"), p.weight...);
    f(join(at, "bias"), p.bias...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    arena.take(c.mean, rows);
    arena.take(c.rstd, rows);
  }
  static void forward(auto& dev, auto y, auto& c, auto x, const auto& p) {
    layer_norm(dev, y, c.mean, c.rstd, x, p.weight, p.bias, C.eps);
  }
  // dx = or +=, dp +=
  static void backward(auto& dev, auto dx, auto& dp, auto dy, const auto& c, auto x, const auto& p, Write write) {
    layer_norm_backward(dev, dx, dp.weight, dp.bias, dy, c.mean, c.rstd, x, p.weight, write);
  }
};

}  // namespace facellava

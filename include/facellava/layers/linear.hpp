// y = x Wᵀ + b (+ residual).   HF: nn.Linear.   x [rows, in], y [rows, out]
#pragma once
#include "facellava/core/ops.hpp"
#include "facellava/core/visit.hpp"

namespace facellava {

struct LinearConfig {
  int in, out;
  Bias bias = Bias::kYes;
};

template <LinearConfig C>
struct Linear {
  template <class P, Bias B>
  struct ParamsOf {
    Matrix<P, C.out, C.in> weight;
    Vector<P, C.out> bias;
  };
  template <class P>
  struct ParamsOf<P, Bias::kNone> {
    Matrix<P, C.out, C.in> weight;
    static constexpr None bias{};
  };
  template <class P>
  using Params = ParamsOf<P, C.bias>;

  static void visit(auto&& f, std::string_view at, auto&... p) {
    f(join(at, "weight"), p.weight...);
    if constexpr (C.bias == Bias::kYes) f(join(at, "bias"), p.bias...);
  }
  static void forward(auto& dev, auto y, auto x, const auto& p) { linear(dev, y, x, p.weight, p.bias, None{}); }
  // residual may be y
  static void forward(auto& dev, auto y, auto x, const auto& p, auto residual) {
    linear(dev, y, x, p.weight, p.bias, residual);
  }
  // dx = or +=, dp +=
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto x, const auto& p, Write write) {
    linear_dx(dev, dx, dy, p.weight, write);
    linear_dw(dev, dp.weight, dp.bias, dy, x);
  }
};

}  // namespace facellava

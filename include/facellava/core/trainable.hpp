// Policies of training where what is trained is known at run time, per tensor: one compiled model serves every choice.
//   Trainable<Space>  as Stored<Space>; a matrix may carry an Adapter
//   Gradients<Space>  fp32 in the shape of the weights; null where nothing is trained; of a matrix with an adapter,
//                     the gradients go to that
#pragma once
#include <cstdint>

#include "facellava/core/arena.hpp"
#include "facellava/core/backward_ops.hpp"
#include "facellava/core/rng.hpp"

namespace facellava {

// LoRA (Hu et al. 2021; HF: peft.LoraLayer): x Wᵀ + scale · drop(x) Aᵀ Bᵀ, where W is frozen, in any format.
struct Adapter {
  using Factor = View<float, Host, kDyn, kDyn>;
  Factor a, b;                   // [rank, in], [out, rank]
  Factor da, db;                 // += ; null: not trained
  float scale = 1, dropout = 0;  // alpha / rank; the part of x that is left out
  std::uint64_t seed = 0;        // of the dropout of this pass: forward and backward see the same
  Workspace* scratch = nullptr;  // shared by adapters, which work one behind the other
};

template <class S, Index... D>
struct TrainableTensor : StoredTensor<S, D...> {
  Adapter* adapter = nullptr;
};
template <class S, Index... D>
struct Gradient : View<float, S, D...> {
  Adapter* adapter = nullptr;  // of the matrix
};

template <class S>
struct Trainable {
  template <Index out, Index in>
  using MatrixOf = TrainableTensor<S, out, in>;
  template <Index n>
  using VectorOf = View<const float, S, n>;
};
template <class S>
struct Gradients {
  template <Index out, Index in>
  using MatrixOf = Gradient<S, out, in>;
  template <Index n>
  using VectorOf = Gradient<S, n>;
};

template <Index First, Index N, class S, Index D0, Index... D>
Gradient<S, N, D...> rows(const Gradient<S, D0, D...>& g) {
  Gradient<S, N, D...> part;
  if (g.data) static_cast<View<float, S, N, D...>&>(part) = rows<First, N>(static_cast<View<float, S, D0, D...>>(g));
  return part;
}

namespace detail {

// f(view), or f(None) where the gradient is not wanted.
template <class S, Index... D>
void if_wanted(const Gradient<S, D...>& g, auto&& f) {
  if (g.data)
    f(static_cast<const View<float, S, D...>&>(g));
  else
    f(None{});
}
void if_wanted(None, auto&& f) { f(None{}); }

template <class T>
inline constexpr bool kIsGradient = false;
template <class S, Index... D>
inline constexpr bool kIsGradient<Gradient<S, D...>> = true;

// What an adapter's products need: the input as it sees it, and two of the width of its rank.
struct AdapterRows {
  Adapter::Factor x, t, scaled;  // [rows, in], [rows, rank]

  // in: 0 where nothing is dropped
  void carve(Arena& arena, Index n, Index rank, Index in) {
    arena.take(t, n, rank);
    arena.take(scaled, n, rank);
    arena.take(x, in > 0 ? n : 0, in);
  }
};
inline AdapterRows carve(const Adapter& a, Index n) {
  AdapterRows r;
  a.scratch->carve([&](Arena& arena) { r.carve(arena, n, a.a.rows(), a.dropout > 0 ? a.a.size(1) : 0); });
  return r;
}
// y = x ∘ mask / (1 − p). The mask is a function of seed, row and column. y may be x.
inline void drop(Adapter::Factor y, View<const float, Host, kDyn, kDyn> x, const Adapter& a) {
  const float keep = 1 / (1 - a.dropout);
  for (Index r = 0; r < x.rows(); ++r) {
    Rng rng(Rng(a.seed + std::uint64_t(r)).next());
    for (Index c = 0; c < x.size(1); ++c) y(r, c) = float(rng.uniform()) < a.dropout ? 0 : x(r, c) * keep;
  }
}
inline View<const float, Host, kDyn, kDyn> seen_by(const Adapter& a, AdapterRows& rows,
                                                   View<const float, Host, kDyn, kDyn> x) {
  if (a.dropout <= 0) return x;
  drop(rows.x, x, a);
  return rows.x;
}
template <class D>
void scale(D& dev, Adapter::Factor y, Adapter::Factor x, float by) {
  fill(dev, y, 0);
  axpy(dev, y, x, by);
}

}  // namespace detail

template <class D, class Y, class X, class S, Index O, Index I, class B, class R>
void linear(D& dev, Y y, X x, const TrainableTensor<S, O, I>& w, const B& bias, R residual) {
  linear(dev, y, x, static_cast<const StoredTensor<S, O, I>&>(w), bias, residual);
  if (!w.adapter) return;
  const Adapter& a = *w.adapter;
  auto rows = detail::carve(a, x.rows());
  linear(dev, rows.t, detail::seen_by(a, rows, in(x)), a.a, None{}, None{});
  detail::scale(dev, rows.scaled, rows.t, a.scale);
  linear(dev, out(y), rows.scaled, a.b, None{}, out(y));
}

template <class D, class DX, class DY, class S, Index O, Index I>
void linear_dx(D& dev, DX dx, DY dy, const TrainableTensor<S, O, I>& w, Write write) {
  if constexpr (detail::kIsGradient<DX>) {
    detail::if_wanted(dx, [&](auto d) { linear_dx(dev, d, dy, w, write); });
  } else if constexpr (kPresent<DX>) {
    linear_dx(dev, dx, dy, static_cast<const StoredTensor<S, O, I>&>(w), write);
    if (!w.adapter) return;
    const Adapter& a = *w.adapter;
    auto rows = detail::carve(a, dy.rows());
    linear_dx(dev, rows.t, dy, a.b, Write::kAssign);
    detail::scale(dev, rows.scaled, rows.t, a.scale);
    if (a.dropout <= 0) return linear_dx(dev, out(dx), rows.scaled, a.a, Write::kAccumulate);
    linear_dx(dev, rows.x, rows.scaled, a.a, Write::kAssign);
    detail::drop(rows.x, rows.x, a);
    axpy(dev, out(dx), rows.x, 1.f);
  }
}

template <class D, class S, Index O, Index I, class DB, class DY, class X>
void linear_dw(D& dev, const Gradient<S, O, I>& dw, DB dbias, DY dy, X x) {
  detail::if_wanted(dbias, [&](auto db) { detail::if_wanted(dw, [&](auto g) { linear_dw(dev, g, db, dy, x); }); });
  if (!dw.adapter || !dw.adapter->da.data) return;
  const Adapter& a = *dw.adapter;
  auto rows = detail::carve(a, x.rows());
  const auto seen = detail::seen_by(a, rows, in(x));
  linear(dev, rows.t, seen, a.a, None{}, None{});
  detail::scale(dev, rows.scaled, rows.t, a.scale);
  linear_dw(dev, a.db, None{}, dy, rows.scaled);
  linear_dx(dev, rows.t, dy, a.b, Write::kAssign);
  detail::scale(dev, rows.scaled, rows.t, a.scale);
  linear_dw(dev, a.da, None{}, rows.scaled, seen);
}

template <class D, class S, Index... N, class DY, class I>
void embed_dw(D& dev, const Gradient<S, N...>& dw, DY dy, I ids) {
  detail::if_wanted(dw, [&](auto g) { embed_dw(dev, g, dy, ids); });
}
template <class D, class S, Index... N, class DY, class I>
void mean_rows_backward(D& dev, const Gradient<S, N...>& dx, DY dy, I index) {
  detail::if_wanted(dx, [&](auto g) { mean_rows_backward(dev, g, dy, index); });
}
template <class D, class DX, class S, Index N, class DY, class R, class X, class W>
void rms_norm_backward(D& dev, DX dx, const Gradient<S, N>& dw, DY dy, R rstd, X x, const W& w, Write write) {
  detail::if_wanted(dw, [&](auto g) { rms_norm_backward(dev, dx, g, dy, rstd, x, w, write); });
}
template <class D, class DX, class S, Index N, class DY, class M, class R, class X, class W>
void layer_norm_backward(D& dev, DX dx, const Gradient<S, N>& dw, const Gradient<S, N>& db, DY dy, M mean, R rstd, X x,
                         const W& w, Write write) {
  detail::if_wanted(dw, [&](auto g) {
    detail::if_wanted(db, [&](auto b) { layer_norm_backward(dev, dx, g, b, dy, mean, rstd, x, w, write); });
  });
}
template <class D, class S, Index N, class DB, class P>
void region_bias_backward(D& dev, const Gradient<S, N>& ds, DB dbias, P points, float a, ClassToken token, int n) {
  detail::if_wanted(ds, [&](auto g) { region_bias_backward(dev, g, dbias, points, a, token, n); });
}

}  // namespace facellava

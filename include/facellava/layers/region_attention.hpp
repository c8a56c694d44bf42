// The attention of visual tokens x [rows, dim] over the nine region tokens of their frame, between the projections of
// its query and its output:   y = residual + Wo softmax(scale (Wq x + bq) k + bias) v + bo. Plain: q and o are
// computed. Folded: nine keys are few, so Wq and k become one matrix of nine rows a head and frame, v and Wo likewise:
// x [rows, dim] meets 9 · heads rows in place of two dim × dim matrices. Same algebra, other rounding.
#pragma once
#include "facellava/core/arena.hpp"
#include "facellava/core/ops.hpp"
#include "facellava/layers/layout.hpp"

namespace facellava {

struct RegionAttentionConfig {
  int dim, heads;
  constexpr int head_dim() const { return dim / heads; }
};

// kFolded needs heads whose columns begin at whole blocks of every weight format.
enum class RegionPath { kPlain, kFolded };
constexpr RegionPath best_path(RegionAttentionConfig c) {
  return c.head_dim() % 64 == 0 ? RegionPath::kFolded : RegionPath::kPlain;
}

template <RegionAttentionConfig C, RegionPath path = best_path(C)>
struct RegionAttention {
  static_assert(C.heads > 0 && C.dim % C.heads == 0, "the width must be a multiple of the number of fusion heads");
  static constexpr bool kFolds = path == RegionPath::kFolded;

  template <class A, RegionPath>
  struct Way {
    Tensor<A, kDyn, C.dim> q, o;  // [rows, dim]
  };
  template <class A>
  struct Way<A, RegionPath::kFolded> {
    Tensor<A, kDyn, C.dim> keys, values;  // [frames · heads · 9, dim]
    Tensor<A, kDyn> offsets;              // [frames · heads · 9]
  };
  template <class A>
  struct Cache : Way<A, path> {
    Tensor<A, kDyn, C.dim> k, v;                  // [frames · 9, dim], the caller's to fill
    Statistic<A, kDyn, C.heads, kRegionCount> p;  // [rows, heads, 9]
    Statistic<A, kDyn, kRegionCount> bias;        // [rows, 9], the caller's to fill or to leave
  };
  static void carve(auto& arena, auto& c, Index rows, Index frames) {
    arena.take(c.k, frames * kRegionCount);
    arena.take(c.v, frames * kRegionCount);
    arena.take(c.p, rows);
    arena.take(c.bias, rows);
    if constexpr (kFolds) {
      arena.take(c.keys, frames * C.heads * kRegionCount);
      arena.take(c.values, frames * C.heads * kRegionCount);
      arena.take(c.offsets, frames * C.heads * kRegionCount);
    } else {
      arena.take(c.q, rows);
      arena.take(c.o, rows);
    }
  }
  // c.p, and in the plain way c.o. bias: c.bias or None.
  static void look(auto& dev, auto& c, auto x, const auto& query_weight, const auto& query_bias, auto bias) {
    const auto k = heads<C.heads>(c.k);
    const float scale = inverse_root(C.head_dim());
    if constexpr (kFolds) {
      fold_keys(dev, c.keys, c.offsets, k, query_weight, query_bias);
      region_scores(dev, c.p, x, c.keys, c.offsets, bias, scale);
    } else {
      linear(dev, c.q, x, query_weight, query_bias, None{});
      region_attention(dev, heads<C.heads>(c.o), c.p, heads<C.heads>(c.q), k, heads<C.heads>(c.v), bias, scale);
    }
  }
  // y from c.p. residual may be y.
  static void project(auto& dev, auto y, auto& c, const auto& weight, const auto& bias, auto residual) {
    if constexpr (kFolds) {
      fold_values(dev, c.values, heads<C.heads>(c.v), weight);
      region_sum(dev, y, c.p, c.values, bias, residual);
    } else {
      linear(dev, y, c.o, weight, bias, residual);
    }
  }

  // Backward, in the plain way. d: a second Cache, for the gradients of c.

  // Of project, into d.o; dweight, dbias +=. The residual's gradient is dy.
  static void project_backward(auto& dev, auto& d, auto dweight, auto dbias, auto dy, const auto& c,
                               const auto& weight) {
    linear_dx(dev, d.o, dy, weight, Write::kAssign);
    linear_dw(dev, dweight, dbias, dy, c.o);
  }
  // Of look, from d.o: d.k, d.v =; dx += (or None), dweight, dbias +=, attention_bias = (d.bias or None).
  static void look_backward(auto& dev, auto dx, auto dweight, auto dbias, auto& d, const auto& c, auto x,
                            const auto& weight, auto attention_bias) {
    static_assert(!kFolds, "training takes the plain way: the fusion's Training");
    region_attention_backward(dev, heads<C.heads>(d.q), heads<C.heads>(d.k), heads<C.heads>(d.v), attention_bias,
                              heads<C.heads>(d.o), c.p, heads<C.heads>(c.q), heads<C.heads>(c.k), heads<C.heads>(c.v),
                              inverse_root(C.head_dim()));
    linear_dx(dev, dx, d.q, weight, Write::kAccumulate);
    linear_dw(dev, dweight, dbias, d.q, x);
  }
};

}  // namespace facellava

// Pre-norm transformer block of the towers.   HF: CLIPEncoderLayer.   x, y [rows, dim]
//   h = x + attention(ln1 x),   y = h + fc2(gelu(fc1(ln2 h)))
// Video (LanguageBind): before that, for every layer,
//   x += temporal_embedding[frame],   x += temporal_attention(temporal_ln1 x) over the frames of each token
#pragma once
#include "facellava/layers/attention.hpp"
#include "facellava/layers/norm.hpp"

namespace facellava {

struct VitBlockConfig {
  int dim = 0, ffn = 0, heads = 0;
  int frames = 1;  // more than one: temporal embedding and attention
  float eps = 1e-5f;
  friend constexpr bool operator==(const VitBlockConfig&, const VitBlockConfig&) = default;
};

template <VitBlockConfig C>
struct VitBlock {
  static constexpr bool kTemporal = C.frames > 1;
  using Norm = LayerNorm<NormConfig{C.dim, C.eps}>;
  using Attention = SelfAttention<AttentionConfig{C.dim, C.heads}>;
  using Up = Linear<LinearConfig{C.dim, C.ffn}>;
  using Down = Linear<LinearConfig{C.ffn, C.dim}>;

  template <class P, bool temporal>
  struct Temporal {};
  template <class P>
  struct Temporal<P, true> {
    Matrix<P, C.frames, C.dim> temporal_embedding;
    typename Attention::template Params<P> temporal_attn;
    typename Norm::template Params<P> temporal_layer_norm1;
  };
  template <class P>
  struct Params : Temporal<P, kTemporal> {
    typename Attention::template Params<P> self_attn;
    typename Norm::template Params<P> layer_norm1, layer_norm2;
    typename Up::template Params<P> fc1;
    typename Down::template Params<P> fc2;
  };
  template <class A>
  struct Cache {
    typename Norm::template Cache<A> norm0, norm1, norm2;
    typename Attention::template Cache<A> temporal, attention;
    Tensor<A, kDyn, C.dim> t, n0, x1, n1, h, n2;  // t: x + temporal embedding, x1: after temporal attention
    Tensor<A, kDyn, C.ffn> u, g;
  };

  static void visit(auto&& f, std::string_view at, auto&... p) {
    if constexpr (kTemporal) {
      f(join(at, "temporal_embedding"), p.temporal_embedding...);
      Attention::visit(f, join(at, "temporal_attn"), p.temporal_attn...);
      Norm::visit(f, join(at, "temporal_layer_norm1"), p.temporal_layer_norm1...);
    }
    Attention::visit(f, join(at, "self_attn"), p.self_attn...);
    Norm::visit(f, join(at, "layer_norm1"), p.layer_norm1...);
    Up::visit(f, join(at, "mlp.fc1"), p.fc1...);
    Down::visit(f, join(at, "mlp.fc2"), p.fc2...);
    Norm::visit(f, join(at, "layer_norm2"), p.layer_norm2...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    if constexpr (kTemporal) {
      Norm::carve(arena, c.norm0, rows);
      Attention::carve(arena, c.temporal, rows);
      arena.take(c.t, rows);
      arena.take(c.n0, rows);
      arena.take(c.x1, rows);
    }
    Norm::carve(arena, c.norm1, rows);
    Norm::carve(arena, c.norm2, rows);
    Attention::carve(arena, c.attention, rows);
    arena.take(c.n1, rows);
    arena.take(c.h, rows);
    arena.take(c.n2, rows);
    arena.take(c.u, rows);
    arena.take(c.g, rows);
  }
  // at: TowerLayout (models/tower.hpp). y may be x.
  static void forward(auto& dev, auto y, auto& c, auto x, const auto& p, const auto& at) {
    fill_cache(dev, c, x, p, at);
    Down::forward(dev, y, c.g, p.fc2, c.h);
  }
  // All that backward needs: forward but for its last product.
  static void fill_cache(auto& dev, auto& c, auto x, const auto& p, const auto& at) {
    if constexpr (kTemporal) {
      copy(dev, c.t, x);
      add_rows(dev, c.t, at.frames, p.temporal_embedding);
      Norm::forward(dev, c.n0, c.norm0, c.t, p.temporal_layer_norm1);
      Attention::forward(dev, c.x1, c.temporal, c.n0, c.t, p.temporal_attn, at.temporal);
      spatial(dev, c, c.x1, p, at);
    } else {
      spatial(dev, c, x, p, at);
    }
  }
  // dx =, dp +=. dx may be dy. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto& d, const auto& c, auto x, const auto& p,
                       const auto& at) {
    copy(dev, dx, dy);  // the residual stream's gradient, from here on
    Down::backward(dev, d.g, dp.fc2, dx, c.g, p.fc2, Write::kAssign);
    gelu_backward(dev, d.u, d.g, c.u);
    Up::backward(dev, d.n2, dp.fc1, d.u, c.n2, p.fc1, Write::kAssign);
    Norm::backward(dev, dx, dp.layer_norm2, d.n2, c.norm2, c.h, p.layer_norm2, Write::kAccumulate);
    Attention::backward(dev, d.n1, dp.self_attn, dx, d.attention, c.attention, c.n1, p.self_attn, at.spatial);
    if constexpr (kTemporal) {
      Norm::backward(dev, dx, dp.layer_norm1, d.n1, c.norm1, c.x1, p.layer_norm1, Write::kAccumulate);
      Attention::backward(dev, d.n0, dp.temporal_attn, dx, d.temporal, c.temporal, c.n0, p.temporal_attn, at.temporal);
      Norm::backward(dev, dx, dp.temporal_layer_norm1, d.n0, c.norm0, c.t, p.temporal_layer_norm1, Write::kAccumulate);
      embed_dw(dev, dp.temporal_embedding, dx, at.frames);
    } else {
      Norm::backward(dev, dx, dp.layer_norm1, d.n1, c.norm1, x, p.layer_norm1, Write::kAccumulate);
    }
  }

 private:
  static void spatial(auto& dev, auto& c, auto x, const auto& p, const auto& at) {
    Norm::forward(dev, c.n1, c.norm1, x, p.layer_norm1);
    Attention::forward(dev, c.h, c.attention, c.n1, x, p.self_attn, at.spatial);
    Norm::forward(dev, c.n2, c.norm2, c.h, p.layer_norm2);
    Up::forward(dev, c.u, c.n2, p.fc1);
    gelu(dev, c.g, c.u);
  }
};

}  // namespace facellava

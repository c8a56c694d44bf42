// Decoder block.   HF: LlamaDecoderLayer.   x, y [rows, dim]
//   h = x + o(attention(rope(q(norm1 x)), rope(k(norm1 x)), v(norm1 x))),   y = h + down(silu(gate(norm2 h)) · up(norm2
//   h))
#pragma once
#include "facellava/layers/layout.hpp"
#include "facellava/layers/linear.hpp"
#include "facellava/layers/norm.hpp"

namespace facellava {

struct LlamaBlockConfig {
  int dim = 0, ffn = 0, heads = 0, kv_heads = 0;
  int head_dim = dim / (heads ? heads : 1);
  float eps = 1e-5f;
  friend constexpr bool operator==(const LlamaBlockConfig&, const LlamaBlockConfig&) = default;
};

// One layer's slab of keys and values.   [slab rows, kv heads, head dim]
template <class A, Index H, Index D>
struct KvSlab {
  Tensor<A, kDyn, H, D> k, v;
};

template <LlamaBlockConfig C>
struct LlamaBlock {
  static_assert(C.kv_heads > 0 && C.heads % C.kv_heads == 0, "kv_heads must divide heads");
  static_assert(C.head_dim % 2 == 0, "rotary embedding turns pairs: the head size must be even");
  static constexpr int kQ = C.heads * C.head_dim, kKv = C.kv_heads * C.head_dim;
  using Norm = RmsNorm<NormConfig{C.dim, C.eps}>;
  using Q = Linear<LinearConfig{C.dim, kQ, Bias::kNone}>;
  using K = Linear<LinearConfig{C.dim, kKv, Bias::kNone}>;
  using O = Linear<LinearConfig{kQ, C.dim, Bias::kNone}>;
  using Up = Linear<LinearConfig{C.dim, C.ffn, Bias::kNone}>;
  using Down = Linear<LinearConfig{C.ffn, C.dim, Bias::kNone}>;
  template <class A>
  using Kv = KvSlab<A, C.kv_heads, C.head_dim>;

  template <class P>
  struct Params {
    typename Norm::template Params<P> input_layernorm, post_attention_layernorm;
    typename Q::template Params<P> q_proj;
    typename K::template Params<P> k_proj, v_proj;
    typename O::template Params<P> o_proj;
    typename Up::template Params<P> gate_proj, up_proj;
    typename Down::template Params<P> down_proj;
  };
  template <class A>
  struct Cache {
    typename Norm::template Cache<A> norm1, norm2;
    Tensor<A, kDyn, C.dim> n1, h, n2;
    Tensor<A, kDyn, kQ> q, o;
    Tensor<A, kDyn, kKv> k, v;
    Tensor<A, kDyn, C.ffn> gate, up, g;
    Statistic<A, kDyn, C.heads> lse;
  };

  static void visit(auto&& f, std::string_view at, auto&... p) {
    Norm::visit(f, join(at, "input_layernorm"), p.input_layernorm...);
    Q::visit(f, join(at, "self_attn.q_proj"), p.q_proj...);
    K::visit(f, join(at, "self_attn.k_proj"), p.k_proj...);
    K::visit(f, join(at, "self_attn.v_proj"), p.v_proj...);
    O::visit(f, join(at, "self_attn.o_proj"), p.o_proj...);
    Norm::visit(f, join(at, "post_attention_layernorm"), p.post_attention_layernorm...);
    Up::visit(f, join(at, "mlp.gate_proj"), p.gate_proj...);
    Up::visit(f, join(at, "mlp.up_proj"), p.up_proj...);
    Down::visit(f, join(at, "mlp.down_proj"), p.down_proj...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    Norm::carve(arena, c.norm1, rows);
    Norm::carve(arena, c.norm2, rows);
    arena.take(c.n1, rows);
    arena.take(c.q, rows);
    arena.take(c.k, rows);
    arena.take(c.v, rows);
    arena.take(c.o, rows);
    arena.take(c.lse, rows);
    arena.take(c.h, rows);
    arena.take(c.n2, rows);
    arena.take(c.gate, rows);
    arena.take(c.up, rows);
    arena.take(c.g, rows);
  }
  // y may be x. table: cosines and sines (models/llama.hpp).
  static void forward(auto& dev, auto y, auto& c, auto& kv, auto x, auto table, const auto& p, const auto& at) {
    const auto q = heads<C.heads>(c.q);
    const auto k = heads<C.kv_heads>(c.k), v = heads<C.kv_heads>(c.v);
    Norm::forward(dev, c.n1, c.norm1, x, p.input_layernorm);
    Q::forward(dev, c.q, c.n1, p.q_proj);
    K::forward(dev, c.k, c.n1, p.k_proj);
    K::forward(dev, c.v, c.n1, p.v_proj);
    rope(dev, q, at.positions, table, Rotate::kForward);
    rope(dev, k, at.positions, table, Rotate::kForward);
    kv_append(dev, kv.k, kv.v, k, v, at.slots);
    attention(dev, heads<C.heads>(c.o), c.lse, q, kv.k, kv.v, at.sequences, at.ranges, Mask::kCausal,
              inverse_root(C.head_dim));
    O::forward(dev, c.h, c.o, p.o_proj, x);
    Norm::forward(dev, c.n2, c.norm2, c.h, p.post_attention_layernorm);
    Up::forward(dev, c.gate, c.n2, p.gate_proj);
    Up::forward(dev, c.up, c.n2, p.up_proj);
    swiglu(dev, c.g, c.gate, c.up);
    Down::forward(dev, y, c.g, p.down_proj, c.h);
  }
};

}  // namespace facellava

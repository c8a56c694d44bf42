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
    fill_cache(dev, c, kv, x, table, p, at);
    Down::forward(dev, y, c.g, p.down_proj, c.h);
  }
  // All that backward needs: forward but for its last product.
  static void fill_cache(auto& dev, auto& c, auto& kv, auto x, auto table, const auto& p, const auto& at) {
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
  }
  // The slab of training: the keys and values of the batch itself. Slot i is row i.
  template <class A>
  static Kv<A> own_rows(const Cache<A>& c) {
    return {heads<C.kv_heads>(c.k), heads<C.kv_heads>(c.v)};
  }
  // After a forward on own_rows(c). dx =, dp +=. dx may be dy. d: a second Cache, for the gradients of c.
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto& d, const auto& c, auto x, auto table, const auto& p,
                       const auto& at) {
    copy(dev, dx, dy);  // the residual stream's gradient, from here on
    Down::backward(dev, d.g, dp.down_proj, dx, c.g, p.down_proj, Write::kAssign);
    swiglu_backward(dev, d.gate, d.up, d.g, c.gate, c.up);
    Up::backward(dev, d.n2, dp.gate_proj, d.gate, c.n2, p.gate_proj, Write::kAssign);
    Up::backward(dev, d.n2, dp.up_proj, d.up, c.n2, p.up_proj, Write::kAccumulate);
    Norm::backward(dev, dx, dp.post_attention_layernorm, d.n2, c.norm2, c.h, p.post_attention_layernorm,
                   Write::kAccumulate);
    O::backward(dev, d.o, dp.o_proj, dx, c.o, p.o_proj, Write::kAssign);
    const auto dq = heads<C.heads>(d.q);
    const auto dk = heads<C.kv_heads>(d.k), dv = heads<C.kv_heads>(d.v);
    fill(dev, d.k, 0);
    fill(dev, d.v, 0);
    attention_backward(dev, dq, dk, dv, heads<C.heads>(d.o), heads<C.heads>(c.o), c.lse, heads<C.heads>(c.q),
                       heads<C.kv_heads>(c.k), heads<C.kv_heads>(c.v), at.sequences, at.ranges, Mask::kCausal,
                       inverse_root(C.head_dim));
    rope(dev, dq, at.positions, table, Rotate::kInverse);
    rope(dev, dk, at.positions, table, Rotate::kInverse);
    Q::backward(dev, d.n1, dp.q_proj, d.q, c.n1, p.q_proj, Write::kAssign);
    K::backward(dev, d.n1, dp.k_proj, d.k, c.n1, p.k_proj, Write::kAccumulate);
    K::backward(dev, d.n1, dp.v_proj, d.v, c.n1, p.v_proj, Write::kAccumulate);
    Norm::backward(dev, dx, dp.input_layernorm, d.n1, c.norm1, x, p.input_layernorm, Write::kAccumulate);
  }
};

}  // namespace facellava

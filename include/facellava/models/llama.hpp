// Llama decoder on embeddings.   HF: LlamaModel and lm_head.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "facellava/models/config.hpp"

namespace facellava {

template <LlamaConfig C>
struct Llama {
  static constexpr int kDim = C.block.dim, kHeadDim = C.block.head_dim;
  using Block = LlamaBlock<C.block>;
  using Norm = RmsNorm<NormConfig{kDim, C.block.eps}>;

  template <class P, Head>
  struct HeadParams {
    Matrix<P, C.vocab, kDim> lm_head;
  };
  template <class P>
  struct HeadParams<P, Head::kTied> {};
  template <class P>
  struct Params : HeadParams<P, C.head> {
    Matrix<P, C.vocab, kDim> embed_tokens;
    std::array<typename Block::template Params<P>, C.layers> layers;
    typename Norm::template Params<P> norm;
  };
  template <class A>
  struct Cache {
    Tensor<A, kDyn, kDim> x;  // the residual stream: embeddings on entry
    typename Block::template Cache<A> block;
    typename Norm::template Cache<A> norm;
  };
  template <class A>
  using Slabs = std::array<typename Block::template Kv<A>, C.layers>;
  template <class A>
  using Table = Statistic<A, kDyn, kHeadDim>;  // [positions, head dim]: cosines, then sines

  static void visit(auto&& f, std::string_view at, auto&... p) {
    f(join(at, "embed_tokens.weight"), p.embed_tokens...);
    for (std::size_t i = 0; i < C.layers; ++i) Block::visit(f, join(join(at, "layers"), i), p.layers[i]...);
    Norm::visit(f, join(at, "norm"), p.norm...);
    if constexpr (C.head == Head::kOwn) f(join(at, "lm_head.weight"), p.lm_head...);
  }
  static void carve(auto& arena, auto& c, Index rows) {
    arena.take(c.x, rows);
    Block::carve(arena, c.block, rows);
    Norm::carve(arena, c.norm, rows);
  }
  static void carve_slabs(auto& arena, auto& slabs, Index capacity) {
    for (auto& s : slabs) {
      arena.take(s.k, capacity);
      arena.take(s.v, capacity);
    }
  }
  // y: hidden states after the final norm. seen(k, x) is called with hidden state k (0: the embeddings).
  static void forward(auto& dev, auto y, auto& c, auto& slabs, auto table, const auto& p, const auto& at, auto&& seen) {
    seen(0, c.x);
    for (int i = 0; i < C.layers; ++i) {
      Block::forward(dev, c.x, c.block, slabs[i], c.x, table, p.layers[i], at);
      seen(i + 1, c.x);
    }
    Norm::forward(dev, y, c.norm, c.x, p.norm);
  }
  static void logits(auto& dev, auto y, auto hidden, const auto& p) { linear(dev, y, hidden, head(p), None{}, None{}); }

  // ---- training

  // What forward leaves for backward, and the gradients of one block on their way.
  template <class A>
  struct Training {
    std::array<Tensor<A, kDyn, kDim>, C.layers + 1> x;  // of every block its input, embeddings first; the last output
    std::array<typename Block::template Cache<A>, C.layers> blocks;
    typename Norm::template Cache<A> norm;
    typename Block::template Cache<A> d;
    Keep keep = Keep::kAll;
  };
  static void carve_training(auto& arena, auto& c, Index rows, Keep keep) {
    c.keep = keep;
    for (auto& x : c.x) arena.take(x, rows);
    carve_blocks<Block>(arena, c.blocks, rows, keep);
    Norm::carve(arena, c.norm, rows);
    Block::carve(arena, c.d, rows);
  }
  // y: hidden states after the final norm, from the embeddings in c.x[0]. at: slot i is row i (TextRows). seen as
  // above.
  static void forward_training(auto& dev, auto y, auto& c, auto table, const auto& p, const auto& at, auto&& seen) {
    seen(0, c.x[0]);
    for (std::size_t i = 0; i < C.layers; ++i) {
      auto own = Block::own_rows(c.blocks[i]);
      Block::forward(dev, c.x[i + 1], c.blocks[i], own, c.x[i], table, p.layers[i], at);
      seen(int(i) + 1, c.x[i + 1]);
    }
    Norm::forward(dev, y, c.norm, c.x[C.layers], p.norm);
  }
  // dx: the embeddings' gradient, from dy, that of the hidden states. dx =, dp +=. dx may not be dy.
  // seen(k, dx) is called with the gradient of hidden state k, the last first.
  static void backward(auto& dev, auto dx, auto& dp, auto dy, auto& c, auto table, const auto& p, const auto& at,
                       auto&& seen) {
    Norm::backward(dev, dx, dp.norm, dy, c.norm, c.x[C.layers], p.norm, Write::kAssign);
    seen(C.layers, dx);
    for (std::size_t i = C.layers; i-- > 0;) {
      auto& block = c.blocks[i];
      auto own = Block::own_rows(block);
      if (c.keep == Keep::kInputs) Block::fill_cache(dev, block, own, c.x[i], table, p.layers[i], at);
      Block::backward(dev, dx, dp.layers[i], dx, c.d, block, c.x[i], table, p.layers[i], at);
      seen(int(i), dx);
    }
  }

  // A chunk of supervised rows on its way through the loss.
  template <class A>
  struct LossCache {
    Tensor<A, kDyn, kDim> h, dh;
    Tensor<A, kDyn, C.vocab> logits;
  };
  static void carve_loss(auto& arena, auto& c, Index chunk) {
    arena.take(c.h, chunk);
    arena.take(c.dh, chunk);
    arena.take(c.logits, chunk);
  }
  // nll [n] of labels [n] at the rows index [n] of the hidden states y, a chunk at a time: logits of all rows are never
  // there. dy =, dp +=, both times scale (of a mean: 1 / supervised tokens).
  static void loss(auto& dev, auto nll, auto dy, auto& dp, auto& c, auto y, auto index, auto labels, float scale,
                   const auto& p) {
    fill(dev, dy, 0);
    for (Index first = 0; first < index.rows(); first += c.h.rows()) {
      const Index n = std::min(c.h.rows(), index.rows() - first);
      const auto h = rows(c.h, 0, n), dh = rows(c.dh, 0, n);
      const auto z = rows(c.logits, 0, n);
      const auto at = rows(index, first, n);
      gather_rows(dev, h, y, at);
      logits(dev, z, h, p);
      cross_entropy(dev, rows(nll, first, n), z, rows(labels, first, n), scale);
      linear_dx(dev, dh, z, head(p), Write::kAssign);
      linear_dw(dev, head(dp), None{}, z, h);
      scatter_add_rows(dev, dy, dh, at);
    }
  }

  // cos and sin of position · frequency, rounded as the released code does (frequency and angle in fp32). On the host.
  static void fill_table(auto table) {
    using R = typename decltype(table)::Element;
    for (int k = 0; k < kHeadDim / 2; ++k) {
      const float f = frequency(k);
      for (Index t = 0; t < table.rows(); ++t) {
        const float angle = C.rope.scaling == RopeScaling::kLinear ? float(t) / C.rope.factor * f : float(t) * f;
        table(t, k) = R(std::cos(angle));
        table(t, kHeadDim / 2 + k) = R(std::sin(angle));
      }
    }
  }

 private:
  static const auto& head(const auto& p) {
    if constexpr (C.head == Head::kOwn)
      return p.lm_head;
    else
      return p.embed_tokens;
  }
  // theta^(−2k/D); llama3 scaling slows the long wavelengths down by `factor` and blends in between.
  static float frequency(int k) {
    const double f = std::pow(double(C.rope.theta), -2.0 * k / kHeadDim);
    if constexpr (C.rope.scaling != RopeScaling::kLlama3) return float(f);
    const double turns = C.rope.original_positions * f / (2 * std::numbers::pi);
    const double low = C.rope.low_frequency_factor, high = C.rope.high_frequency_factor;
    if (turns < low) return float(f / C.rope.factor);
    if (turns > high) return float(f);
    const double smooth = (turns - low) / (high - low);
    return float((1 - smooth) * f / C.rope.factor + smooth * f);
  }
};

}  // namespace facellava

// Llama decoder on embeddings.   HF: LlamaModel and lm_head.
#pragma once
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
  static void logits(auto& dev, auto y, auto hidden, const auto& p) {
    if constexpr (C.head == Head::kOwn)
      linear(dev, y, hidden, p.lm_head, None{}, None{});
    else
      linear(dev, y, hidden, p.embed_tokens, None{}, None{});
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

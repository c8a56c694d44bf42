// CLIP vision tower up to the selected layer: pixels to hidden states.
// HF: CLIPVisionTransformer (image); LanguageBind video with temporal attention in every layer.
#pragma once
#include <array>
#include <vector>

#include "facellava/models/config.hpp"

namespace facellava {

// What the rows of a tower are: all tokens of frame 0, then of frame 1, ... A clip is block.frames frames.
template <class S>
struct TowerLayout {
  View<const int, S, kDyn> positions, frames;  // token of its frame, frame of its clip: of each row
  View<const int, S, kDyn> zeros;              // one 0 a frame: the class token's embedding row
  View<const int, S, kDyn> selected;           // rows that leave the tower
  Layout<S> spatial, temporal;
};

template <class D>
TowerLayout<typename D::Space> in(Staging<D>& staging, const TowerLayout<Host>& l) {
  return {staging.in(l.positions), staging.in(l.frames),   staging.in(l.zeros),
          staging.in(l.selected),  in(staging, l.spatial), in(staging, l.temporal)};
}

// Builds the layout of `clips` clips on the host.
class TowerRows {
 public:
  TowerRows(const TowerConfig& c, Index clips) {
    const int frames = c.block.frames, tokens = c.tokens();
    for (int clip = 0; clip < int(clips); ++clip) {
      for (int t = 0; t < frames; ++t) {
        const int first = (clip * frames + t) * tokens;
        spatial_.push_back({first, tokens, int(spatial_ranges_.size()), 1});
        spatial_ranges_.push_back({first, tokens});
        zeros_.push_back(0);
        for (int i = 0; i < tokens; ++i) {
          positions_.push_back(i);
          frames_.push_back(t);
          if (i > 0 || c.output == ClassToken::kFirst) selected_.push_back(first + i);
        }
      }
      for (int i = 0; i < tokens && frames > 1; ++i) {
        const int first = clip * frames * tokens + i;
        temporal_.push_back({first, frames, int(temporal_ranges_.size()), 1, tokens});
        temporal_ranges_.push_back({first, frames});
      }
    }
  }
  TowerLayout<Host> layout() const {
    return {view(positions_),
            view(frames_),
            view(zeros_),
            view(selected_),
            {view(spatial_), view(spatial_ranges_), {}, {}},
            {view(temporal_), view(temporal_ranges_), {}, {}}};
  }

 private:
  template <class T>
  static View<const T, Host, kDyn> view(const std::vector<T>& v) {
    return View<const T, Host, kDyn>(v.data(), Index(v.size()));
  }
  std::vector<int> positions_, frames_, zeros_, selected_;
  std::vector<Sequence> spatial_, temporal_;
  std::vector<KvRange> spatial_ranges_, temporal_ranges_;
};

template <TowerConfig C>
struct Tower {
  static_assert(C.patch > 0 && C.side % C.patch == 0, "the side must be a multiple of the patch");
  static_assert(0 < C.run_layers && C.run_layers <= C.layers, "a tower runs between one and all of its layers");
  static constexpr int kDim = C.block.dim, kPixels = 3 * C.patch * C.patch;
  using Block = VitBlock<C.block>;
  using Norm = LayerNorm<NormConfig{kDim, C.block.eps}>;

  template <class P>
  struct Params {
    Vector<P, kDim> class_embedding;
    Matrix<P, kDim, kPixels> patch_embedding;  // [dim, 3, patch, patch]
    Matrix<P, C.tokens(), kDim> position_embedding;
    typename Norm::template Params<P> pre_layrnorm, post_layernorm;  // post_layernorm: in the checkpoint, never used
    std::array<typename Block::template Params<P>, C.layers> layers;
  };
  template <class A>
  struct Cache {
    Tensor<A, kDyn, kPixels> cols;
    Tensor<A, kDyn, kDim> e, x;  // embeddings; the residual stream
    typename Norm::template Cache<A> norm;
    typename Block::template Cache<A> block;
  };

  static void visit(auto&& f, std::string_view at, auto&... p) {
    f(join(at, "embeddings.class_embedding"), p.class_embedding...);
    f(join(at, "embeddings.patch_embedding.weight"), p.patch_embedding...);
    f(join(at, "embeddings.position_embedding.weight"), p.position_embedding...);
    Norm::visit(f, join(at, "pre_layrnorm"), p.pre_layrnorm...);
    for (std::size_t i = 0; i < C.layers; ++i) Block::visit(f, join(join(at, "encoder.layers"), i), p.layers[i]...);
    Norm::visit(f, join(at, "post_layernorm"), p.post_layernorm...);
  }
  static void carve(auto& arena, auto& c, Index frames) {
    const Index rows = frames * C.tokens();
    arena.take(c.cols, rows);
    arena.take(c.e, rows);
    arena.take(c.x, rows);
    Norm::carve(arena, c.norm, rows);
    Block::carve(arena, c.block, rows);
  }
  // Leaves the output of layer run_layers − 1 in c.x [frames · tokens, dim]; pixels [frames, 3 · side²].
  // seen(k, x) is called with hidden state k (0: after pre_layrnorm).
  static void forward(auto& dev, auto& c, auto pixels, const auto& p, const auto& at, auto&& seen) {
    embed_pixels(dev, c.x, c, pixels, p, at);
    seen(0, c.x);
    for (int i = 0; i < C.run_layers; ++i) {
      Block::forward(dev, c.x, c.block, c.x, p.layers[i], at);
      seen(i + 1, c.x);
    }
  }

  // ---- training, of towers that are not frozen

  // What forward leaves for backward, and the gradients of one block on their way.
  template <class A>
  struct Training {
    Tensor<A, kDyn, kPixels> cols;
    Tensor<A, kDyn, kDim> e, de;
    typename Norm::template Cache<A> norm;
    std::array<Tensor<A, kDyn, kDim>, C.run_layers + 1> x;  // of every block its input; the last output
    std::array<typename Block::template Cache<A>, C.run_layers> blocks;
    typename Block::template Cache<A> d;
    Keep keep = Keep::kAll;
  };
  static void carve_training(auto& arena, auto& c, Index frames, Keep keep) {
    const Index rows = frames * C.tokens();
    c.keep = keep;
    arena.take(c.cols, rows);
    arena.take(c.e, rows);
    arena.take(c.de, rows);
    Norm::carve(arena, c.norm, rows);
    for (auto& x : c.x) arena.take(x, rows);
    carve_blocks<Block>(arena, c.blocks, rows, keep);
    Block::carve(arena, c.d, rows);
  }
  // Leaves the output of layer run_layers − 1 in c.x.back().
  static void forward_training(auto& dev, auto& c, auto pixels, const auto& p, const auto& at) {
    embed_pixels(dev, c.x[0], c, pixels, p, at);
    for (std::size_t i = 0; i < C.run_layers; ++i)
      Block::forward(dev, c.x[i + 1], c.blocks[i], c.x[i], p.layers[i], at);
  }
  // dx [frames · tokens, dim]: the gradient of c.x.back(); it becomes that of the first block's input. dp +=.
  static void backward(auto& dev, auto dx, auto& dp, auto& c, const auto& p, const auto& at) {
    for (std::size_t i = C.run_layers; i-- > 0;) {
      if (c.keep == Keep::kInputs) Block::fill_cache(dev, c.blocks[i], c.x[i], p.layers[i], at);
      Block::backward(dev, dx, dp.layers[i], dx, c.d, c.blocks[i], c.x[i], p.layers[i], at);
    }
    Norm::backward(dev, c.de, dp.pre_layrnorm, dx, c.norm, c.e, p.pre_layrnorm, Write::kAssign);
    embed_dw(dev, dp.position_embedding, c.de, at.positions);
    embed_dw(dev, as_row(dp.class_embedding), every(c.de, 0, C.tokens(), at.zeros.rows()), at.zeros);
    linear_dw(dev, dp.patch_embedding, None{}, c.de, c.cols);
  }

 private:
  static void embed_pixels(auto& dev, auto x, auto& c, auto pixels, const auto& p, const auto& at) {
    im2col(dev, c.cols, pixels, C.side, C.patch);
    linear(dev, c.e, c.cols, p.patch_embedding, None{}, None{});
    add_rows(dev, every(c.e, 0, C.tokens(), pixels.rows()), at.zeros, as_row(p.class_embedding));
    add_rows(dev, c.e, at.positions, p.position_embedding);
    Norm::forward(dev, x, c.norm, c.e, p.pre_layrnorm);
  }
};

}  // namespace facellava

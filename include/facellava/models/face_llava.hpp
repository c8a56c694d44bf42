// Face-LLaVA: tower → projector → FRGCA(·, FRLP(points)) → visual tokens, spliced into the decoder's embeddings.
#pragma once
#include "facellava/layers/landmarks.hpp"
#include "facellava/layers/projector.hpp"
#include "facellava/models/llama.hpp"
#include "facellava/models/tower.hpp"

namespace facellava {

// A part that a configuration may lack: then it has no parameters and nothing is visited.
template <bool has, class Layer>
struct Optional {
  template <class P>
  struct Params {};
  static void visit(auto&&, std::string_view, auto&...) {}
};
template <class Layer>
struct Optional<true, Layer> {
  template <class P>
  using Params = typename Layer::template Params<P>;
  static void visit(auto&& f, std::string_view at, auto&... p) { Layer::visit(f, at, p...); }
};

// The fusion with backward: F::Training where it names one, or itself.
template <class F>
struct TrainingOfFusion {
  using type = F;
};
template <class F>
requires requires { typename F::Training; }
struct TrainingOfFusion<F> {
  using type = typename F::Training;
};
template <class F>
using TrainingOf = typename TrainingOfFusion<F>::type;

// The parts that a researcher replaces: derive from it and name another type with the same members.
struct DefaultParts {
  template <FusionConfig C>
  using Fusion = facellava::Fusion<C>;
};

template <FaceLlavaConfig C, class Parts = DefaultParts>
struct FaceLlava {
  static constexpr FaceLlavaConfig kConfig = C;
  static constexpr int kDim = C.llama.block.dim;
  static constexpr bool kImage = C.image.layers > 0, kVideo = C.video.layers > 0;
  static constexpr bool kLandmarks = C.landmarks == Landmarks::kRegions;
  static_assert(!kLandmarks || C.fusion.dim == kDim, "the fusion works at the decoder's width");
  static_assert(!(kImage && kVideo) || C.image.block.dim == C.video.block.dim, "both towers feed one projector");
  static constexpr int kTowerDim = kImage ? C.image.block.dim : C.video.block.dim;

  using Text = Llama<C.llama>;
  using Projector = facellava::Projector<ProjectorConfig{kTowerDim, kDim}>;
  using Points = LandmarkProjector<LandmarkProjectorConfig{kDim}>;
  using Fusion = typename Parts::template Fusion<C.fusion>;
  using ImagePart = Optional<kImage, Tower<C.image>>;
  using VideoPart = Optional<kVideo, Tower<C.video>>;
  using ProjectorPart = Optional<kImage || kVideo, Projector>;
  using PointsPart = Optional<kLandmarks, Points>;
  using FusionPart = Optional<kLandmarks, Fusion>;

  template <class P>
  struct Params {
    typename ImagePart::template Params<P> image_tower;
    typename VideoPart::template Params<P> video_tower;
    typename ProjectorPart::template Params<P> mm_projector;
    typename PointsPart::template Params<P> landmarks_projector;
    typename FusionPart::template Params<P> landmarks_cross_attn;
    typename Text::template Params<P> llama;
  };
  static void visit(auto&& f, std::string_view at, auto&... p) {
    ImagePart::visit(f, join(at, "image_tower"), p.image_tower...);
    VideoPart::visit(f, join(at, "video_tower"), p.video_tower...);
    ProjectorPart::visit(f, join(at, "mm_projector"), p.mm_projector...);
    PointsPart::visit(f, at, p.landmarks_projector...);
    FusionPart::visit(f, join(at, "landmarks_cross_attn"), p.landmarks_cross_attn...);
    Text::visit(f, join(at, "llama"), p.llama...);
  }

  // Params whose parts have policies of their own, which G names: Towers, Projector, Landmarks, Text
  // (models/stages.hpp). Gradients are Absent where a part is frozen; its weights may be Stored.
  template <class G>
  struct PartParams {
    typename ImagePart::template Params<typename G::Towers> image_tower;
    typename VideoPart::template Params<typename G::Towers> video_tower;
    typename ProjectorPart::template Params<typename G::Projector> mm_projector;
    typename PointsPart::template Params<typename G::Landmarks> landmarks_projector;
    typename FusionPart::template Params<typename G::Landmarks> landmarks_cross_attn;
    typename Text::template Params<typename G::Text> llama;
  };

  // From pixels to visual tokens, for one of the two towers.
  template <TowerConfig T>
  struct Vision {
    using Eye = Tower<T>;
    template <class A, bool landmarks>
    struct LandmarkCache {};
    template <class A>
    struct LandmarkCache<A, true> {
      typename Points::template Cache<A> points;
      typename Fusion::template Cache<A> fusion;
      Tensor<A, kDyn, kDim> regions;  // [frames · 9, dim]
    };
    template <class A>
    struct Cache : LandmarkCache<A, kLandmarks> {
      typename Eye::template Cache<A> tower;
      typename Projector::template Cache<A> projector;
      Tensor<A, kDyn, T.block.dim> features;  // [frames · features, tower dim]
      Tensor<A, kDyn, kDim> projected;
    };
    static void carve(auto& arena, auto& c, Index frames) {
      const Index rows = frames * T.features();
      arena.take(c.features, rows);
      arena.take(c.projected, rows);
      const auto mark = arena.mark();
      Eye::carve(arena, c.tower, frames);
      arena.release(mark);
      Projector::carve(arena, c.projector, rows);
      if constexpr (kLandmarks) {
        arena.take(c.regions, frames * kRegionCount);
        Points::carve(arena, c.points, frames);
        Fusion::carve(arena, c.fusion, rows, frames);
      }
    }
    // c.projected from pixels [frames, 3 · side²]; at: TowerRows(T, clips).
    static void encode(auto& dev, auto& c, auto pixels, const auto& p, const auto& tower, const auto& at, auto&& seen) {
      Eye::forward(dev, c.tower, pixels, tower, at, seen);
      gather_rows(dev, c.features, c.tower.x, at.selected);
      Projector::forward(dev, c.projected, c.projector, c.features, p.mm_projector);
    }
    // visual [frames · features, dim] from c.projected and points [frames, 136].
    static void fuse(auto& dev, auto visual, auto& c, auto points, const auto& p) {
      Points::forward(dev, c.regions, c.points, points, p.landmarks_projector);
      Fusion::forward(dev, visual, c.fusion, c.projected, c.regions, points, Grid{T.output, T.grid()},
                      p.landmarks_cross_attn);
    }

    // ---- training

    template <class A, bool landmarks>
    struct LandmarkTraining {};
    template <class A>
    struct LandmarkTraining<A, true> {
      typename Points::template Cache<A> points;
      typename TrainingOf<Fusion>::template Cache<A> fusion;
      Tensor<A, kDyn, kDim> regions;  // [frames · 9, dim]
    };
    // What forward leaves for backward; a second one takes the gradients on their way.
    template <class A>
    struct Training : LandmarkTraining<A, kLandmarks> {
      typename Projector::template Cache<A> projector;
      Tensor<A, kDyn, kDim> projected;  // [frames · features, dim]
    };
    static void carve_training(auto& arena, auto& c, Index frames) {
      const Index rows = frames * T.features();
      Projector::carve(arena, c.projector, rows);
      arena.take(c.projected, rows);
      if constexpr (kLandmarks) {
        arena.take(c.regions, frames * kRegionCount);
        Points::carve(arena, c.points, frames);
        TrainingOf<Fusion>::carve(arena, c.fusion, rows, frames);
      }
    }
    // visual [frames · features, dim] from features [frames · features, tower dim], which may be kept from an encode
    // before, and points [frames, 136], or None: no landmarks.
    static void forward_training(auto& dev, auto visual, auto& c, auto features, auto points, const auto& p) {
      Projector::forward(dev, c.projected, c.projector, features, p.mm_projector);
      if constexpr (kLandmarks && kPresent<decltype(points)>) {
        Points::forward(dev, c.regions, c.points, points, p.landmarks_projector);
        TrainingOf<Fusion>::forward(dev, visual, c.fusion, c.projected, c.regions, points, Grid{T.output, T.grid()},
                                    p.landmarks_cross_attn);
      } else {
        copy(dev, visual, c.projected);
      }
    }
    // dfeatures = (None where the towers are frozen), dp +=. d: a second Training, for the gradients of c.
    static void backward(auto& dev, auto dfeatures, auto& dp, auto dvisual, auto& d, const auto& c, auto features,
                         auto points, const auto& p) {
      constexpr bool below = kPresent<decltype(dfeatures)> || kPresent<decltype(dp.mm_projector.first.weight)>;
      if constexpr (kLandmarks && kPresent<decltype(points)>) {
        constexpr bool regions = kPresent<decltype(dp.landmarks_projector.global.weight)>;
        TrainingOf<Fusion>::backward(dev, if_wanted<below>(d.projected), if_wanted<regions>(d.regions),
                                     dp.landmarks_cross_attn, dvisual, d.fusion, c.fusion, c.projected, c.regions,
                                     points, Grid{T.output, T.grid()}, p.landmarks_cross_attn);
        if constexpr (regions)
          Points::backward(dev, None{}, dp.landmarks_projector, d.regions, d.points, points, p.landmarks_projector);
      } else {
        copy(dev, if_wanted<below>(d.projected), dvisual);
      }
      if constexpr (below)
        Projector::backward(dev, dfeatures, dp.mm_projector, d.projected, d.projector, c.projector, features,
                            p.mm_projector);
    }

   private:
    template <bool wanted>
    static auto if_wanted(auto gradient) {
      if constexpr (wanted)
        return gradient;
      else
        return None{};
    }
  };

  // The rows of the decoder: text by ids [rows], visual tokens where splice [rows] is not negative; of the two the
  // other is negative.
  static void embed_rows(auto& dev, auto x, auto ids, auto visual, auto splice, const auto& p) {
    embed(dev, x, ids, p.llama.embed_tokens);
    gather_rows(dev, x, visual, splice);
  }
  // dvisual = (or None), dp +=
  static void embed_rows_backward(auto& dev, auto dvisual, auto& dp, auto dx, auto ids, auto splice) {
    embed_dw(dev, dp.llama.embed_tokens, dx, ids);
    fill(dev, dvisual, 0);
    scatter_add_rows(dev, dvisual, dx, splice);
  }
  using ImagePath = Vision<C.image>;
  using VideoPath = Vision<C.video>;
};

}  // namespace facellava

// The image and video towers, the projector and the fusion, for one image or one clip of eight frames.
#include "bound_weights.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/models/cost.hpp"
#include "facellava/models/face_llava.hpp"
#include "pieces.hpp"

namespace facellava::bench {
namespace {

using A = Act<float, Host>;
using P = Stored<Host>;
constexpr FaceLlavaConfig kConfig = configs::kFaceLlava7B;
using Model = FaceLlava<kConfig>;
using Rows = View<float, Host, kDyn, kDyn>;

std::vector<float> random_numbers(Index n, double amplitude) {
  std::vector<float> v(static_cast<std::size_t>(n));
  Rng rng(3);
  fill(v.begin(), v.end(), amplitude, rng);
  return v;
}

template <TowerConfig C>
struct TowerState {
  using Eye = Tower<C>;
  static constexpr Index kPixels = 3 * C.side * C.side, kFrames = C.block.frames;

  TowerState(cpu::Device& device, Format weights) : dev(device), bound(weights) {
    workspace.carve([&](Arena& arena) { Eye::carve(arena, cache, kFrames); });
  }
  auto visitor() {
    return [this](auto&& f) { Eye::visit(f, "tower", params); };
  }
  void run() {
    const View<const float, Host, kDyn, kPixels> frames(pixels.data(), kFrames);
    Eye::forward(dev, cache, frames, params, rows.layout(), [](int, auto) {});
  }
  static Work work(Unit unit, Format weights) {
    const Cost cost = tower_cost(C, weights);
    return {cost.operations, cost.bytes, unit};
  }

  cpu::Device& dev;
  BoundWeights bound;
  typename Eye::template Params<P> params;
  typename Eye::template Cache<A> cache;
  Workspace workspace;
  TowerRows rows{C, 1};
  std::vector<float> pixels = random_numbers(kFrames * kPixels, 2);
};

template <TowerConfig C>
Piece tower_piece(cpu::Device& dev, const PieceOptions& o) {
  using State = TowerState<C>;
  const auto state = std::make_shared<State>(dev, o.weights);
  constexpr io::Rename kRules[] = {{"tower.*", "vision_model.*"}};
  if (o.from.empty())
    state->bound.fill_random(state->visitor());
  else
    state->bound.read(o.from, kRules, state->visitor());
  Piece piece{[state] { state->run(); }, State::work(unit_of(o.weights, dev), o.weights)};
  if (!o.from.empty()) {
    state->pixels = read_floats(o.from + "/input.npy", State::kFrames * State::kPixels);
    state->run();
    piece.difference =
        relative_difference(state->cache.x.data, read_floats(o.from + "/output.npy", state->cache.x.count()));
  }
  return piece;
}

// The projector or the fusion of one image.
struct BridgeState {
  using Path = Model::ImagePath;
  static constexpr Index kRows = kConfig.image.features();

  BridgeState(cpu::Device& device, Format weights) : dev(device), bound(weights) {
    workspace.carve([&](Arena& arena) {
      Path::carve(arena, cache, 1);
      arena.take(visual, kRows);
    });
    std::copy_n(random_numbers(cache.features.count(), 1).begin(), cache.features.count(), cache.features.data);
    std::copy_n(random_numbers(cache.projected.count(), 1).begin(), cache.projected.count(), cache.projected.data);
  }
  auto projector() {
    return [this](auto&& f) { Model::Projector::visit(f, "", params->mm_projector); };
  }
  auto fusion() {
    return [this](auto&& f) {
      Model::Points::visit(f, "", params->landmarks_projector);
      Model::Fusion::visit(f, "", params->landmarks_cross_attn);
    };
  }
  void project() {
    Model::Projector::forward(dev, cache.projected, cache.projector, cache.features, params->mm_projector);
  }
  void fuse() {
    const View<const float, Host, kDyn, 2 * kPoints> one(points.data(), 1);
    Path::fuse(dev, visual, cache, one, *params);
  }

  cpu::Device& dev;
  BoundWeights bound;
  std::unique_ptr<Model::Params<P>> params = std::make_unique<Model::Params<P>>();
  Path::Cache<A> cache;
  Tensor<A, kDyn, Model::kDim> visual;
  Workspace workspace;
  std::vector<float> points = std::vector<float>(2 * kPoints, 0.5f);
};

Piece bridge_piece(cpu::Device& dev, const PieceOptions& o) {
  const auto state = std::make_shared<BridgeState>(dev, o.weights);
  const double rows = BridgeState::kRows, d = Model::kDim, eye = Model::kTowerDim;
  const Unit unit = unit_of(o.weights, dev);
  if (o.part == "projector") {
    state->bound.fill_random(state->projector());
    return {[state] { state->project(); },
            {2 * rows * (eye * d + d * d), double(matrix_bytes(state->projector())), unit}};
  }
  state->bound.fill_random(state->fusion());
  // Folded: the branch meets every row; Wq, Wo and the projections of k and v meet nine; scores and sums nine a head.
  const double nine = kRegionCount, heads = kConfig.fusion.heads;
  const double operations = 2 * d * d * (rows + 4 * nine) + 2 * 2 * rows * heads * nine * d;
  return {[state] { state->fuse(); }, {operations, double(matrix_bytes(state->fusion())), unit}};
}

}  // namespace

Piece make_vision_piece(cpu::Device& dev, const PieceOptions& o) {
  if (o.part == "vit") return tower_piece<kConfig.image>(dev, o);
  if (o.part == "video") return tower_piece<kConfig.video>(dev, o);
  if ((o.part == "projector" || o.part == "fusion") && o.from.empty()) return bridge_piece(dev, o);
  throw Error(ErrorKind::kArgument,
              "part \"" + o.part + "\"" +
                  (o.from.empty() ? ": expected vit, video, projector, fusion, prefill, decode or read"
                                  : ": weights from files are read for vit and prefill only"));
}

}  // namespace facellava::bench

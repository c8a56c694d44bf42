// Image and video towers against the official code, layer by layer. Demand: 2e-5 of the largest value (noise floor
// 1e-6).
#include "facellava/models/tower.hpp"

#include "support/devices.hpp"
#include "support/golden.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

constexpr TowerConfig kImage{
    .side = 56, .patch = 14, .layers = 4, .run_layers = 4, .block = {.dim = 64, .ffn = 160, .heads = 4}};
constexpr TowerConfig kVideo{.side = 56,
                             .patch = 14,
                             .layers = 4,
                             .run_layers = 4,
                             .output = ClassToken::kFirst,
                             .block = {.dim = 64, .ffn = 160, .heads = 4, .frames = 8}};
using A = Act<float, Host>;
using Weights = Plain<const float, Host>;

// [clips, 3, frames, side, side] as the official code has it, to [clips · frames, 3 · side²]
std::vector<float> frames_first(const std::vector<float>& p, Index clips, Index frames, Index plane) {
  std::vector<float> o(p.size());
  for (Index c = 0; c < clips; ++c)
    for (Index ch = 0; ch < 3; ++ch)
      for (Index t = 0; t < frames; ++t)
        std::copy_n(p.begin() + ((c * 3 + ch) * frames + t) * plane, plane,
                    o.begin() + ((c * frames + t) * 3 + ch) * plane);
  return o;
}

template <TowerConfig C>
void check_tower(const std::string& name, Index clips) {
  using T = Tower<C>;
  const Golden weights("towers/" + name + "_weights.safetensors"), io("towers/" + name + "_io.safetensors");
  typename T::template Params<Weights> p;
  Binder bind(weights, "model." + name + "." + name + ".");
  T::visit(bind, "", p);
  CHECK(bind.names.size() == weights.file().tensors().size());  // every official name is visited, and no other

  constexpr Index kFrames = C.block.frames;
  std::vector<float> pixels = io.floats("pixel_values");
  if (kFrames > 1) pixels = frames_first(pixels, clips, kFrames, C.side * C.side);
  on_every_device([&](auto& dev) {
    typename T::template Cache<A> c;
    Workspace memory;
    memory.carve([&](Arena& a) { T::carve(a, c, clips * kFrames); });
    const TowerRows rows(C, clips);
    T::forward(dev, c, View<const float, Host, kDyn, 3 * C.side * C.side>(pixels.data(), clips * kFrames), p,
               rows.layout(),
               [&](int k, auto x) { CHECK(golden_error(x, io.floats("hidden_states." + std::to_string(k))) < 2e-5); });
    // what the released code selects: the output of the last layer but one, with or without the class token
    std::vector<float> selected;
    T::forward(dev, c, View<const float, Host, kDyn, 3 * C.side * C.side>(pixels.data(), clips * kFrames), p,
               rows.layout(), [&](int k, auto x) {
                 if (k != C.layers - 1) return;
                 const auto at = rows.layout().selected;
                 for (Index i = 0; i < at.rows(); ++i)
                   selected.insert(selected.end(), x.row(at(i)), x.row(at(i)) + C.block.dim);
               });
    const auto want = io.floats("selected");
    REQUIRE(selected.size() == want.size());
    CHECK(relative_to_max(selected, want, Index(want.size())) < 2e-5);
  });
}

}  // namespace

TEST_CASE("image tower, every layer") { check_tower<kImage>("image_tower", 2); }
TEST_CASE("video tower with temporal attention, every layer") { check_tower<kVideo>("video_tower", 1); }

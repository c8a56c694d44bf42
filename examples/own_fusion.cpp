// A fusion of one's own as a type: no header of the library is edited. This one adds the mean of the nine region tokens
// to every visual token, without attention and without weights.
#include <cstdio>
#include <memory>

#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"

using namespace facellava;

template <FusionConfig C>
struct MeanFusion {
  template <class P>
  struct Params {};
  template <class A>
  struct Cache {};
  static void visit(auto&&, std::string_view, auto&...) {}
  static void carve(auto&, auto&, Index, Index) {}
  static void forward(auto& dev, auto y, auto&, auto x, auto r, auto, Grid grid, const auto&) {
    copy(dev, y, x);
    for (Index row = 0; row < x.rows(); ++row)
      for (int g = 0; g < kRegionCount; ++g)
        axpy(dev, rows(y, row, 1), rows(r, row / grid.tokens() * kRegionCount + g, 1), 1.f / kRegionCount);
  }
};
struct MyParts : DefaultParts {
  template <FusionConfig C>
  using Fusion = MeanFusion<C>;
};

int main() {
  using Model = FaceLlava<configs::kFaceLlavaMini, MyParts>;
  const auto params = std::make_unique<Model::Params<Plain<float, Host>>>();
  Index count = 0;
  Model::visit([&](const std::string&, const auto& leaf) { count += leaf.count(); }, "", *params);
  std::printf("a model with a fusion of its own: %.2f million parameters\n", double(count) * 1e-6);
}

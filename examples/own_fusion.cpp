// A fusion of one's own as a type: no header of the library is edited. This one adds the mean region token to every
// visual token, without attention and without weights.
#include <cstdio>
#include <memory>

#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"
#include "facellava/ref/device.hpp"

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
    for (Index f = 0; f < x.rows() / grid.tokens(); ++f)
      for (Index t = 0; t < grid.tokens(); ++t)
        for (int g = 0; g < kRegionCount; ++g)
          axpy(dev, rows(y, f * grid.tokens() + t, 1), rows(r, f * kRegionCount + g, 1), 1.f / kRegionCount);
  }
};
struct MyParts : DefaultParts {
  template <FusionConfig C>
  using Fusion = MeanFusion<C>;
};

int main() {
  using Model = FaceLlava<configs::kDemo, MyParts>;
  Index parameters = 0;
  Model::visit([&](const std::string&, const auto& leaf) { parameters += leaf.count(); }, "",
               *std::make_unique<Model::Params<Plain<float, Host>>>());
  std::printf("a model with a fusion of its own: %.2f million parameters\n", double(parameters) * 1e-6);
}

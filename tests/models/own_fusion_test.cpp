// A user's fusion as a type: the model runs it, and its parameters are gone from the names.
#include <doctest/doctest.h>

#include <memory>

#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

using namespace facellava;

namespace {

template <FusionConfig C>
struct Doubled {
  template <class P>
  struct Params {};
  template <class A>
  struct Cache {};
  static void visit(auto&&, std::string_view, auto&...) {}
  static void carve(auto&, auto&, Index, Index) {}
  static void forward(auto& dev, auto y, auto&, auto x, auto, auto, Grid, const auto&) {
    copy(dev, y, x);
    axpy(dev, y, x, 1.f);
  }
};
struct Parts : DefaultParts {
  template <FusionConfig C>
  using Fusion = Doubled<C>;
};
using Own = FaceLlava<configs::kProbe, Parts>;
using Default = FaceLlava<configs::kProbe>;

}  // namespace

TEST_CASE("the model runs a fusion of one's own") {
  using Path = Own::ImagePath;
  constexpr Index kRows = configs::kProbe.image.features(), kDim = Own::kDim;
  std::vector<float> zeros(std::size_t(kDim * 136), 0.f);  // landmark projectors that give nothing
  const auto params = std::make_unique<Own::Params<Plain<const float, Host>>>();
  Own::PointsPart::visit(
      [&](const std::string&, auto& leaf) { leaf = std::remove_reference_t<decltype(leaf)>(zeros.data()); }, "",
      params->landmarks_projector);
  test::Random<float> projected(kRows, kDim, 1), points(1, 136, 2), visual(kRows, kDim, 3);
  test::on_every_device([&](auto& dev) {
    Path::Cache<Act<float, Host>> c;
    Workspace memory;
    memory.carve([&](Arena& a) { Path::carve(a, c, 1); });
    copy(dev, c.projected, projected.matrix());
    Path::fuse(dev, visual.matrix(), c, points.matrix(), *params);
    for (Index r = 0; r < kRows; ++r)
      for (Index k = 0; k < kDim; ++k) REQUIRE(visual.matrix()(r, k) == 2 * projected.matrix()(r, k));
  });
}

TEST_CASE("its names replace the default's") {
  const auto count = [](auto visit) {
    int fusion = 0;
    visit([&](const std::string& name, const auto&) { fusion += name.starts_with("landmarks_cross_attn."); });
    return fusion;
  };
  const auto own = std::make_unique<Own::Params<Stored<Host>>>();
  const auto standard = std::make_unique<Default::Params<Stored<Host>>>();
  CHECK(count([&](auto f) { Own::visit(f, "", *own); }) == 0);
  CHECK(count([&](auto f) { Default::visit(f, "", *standard); }) == 9);
}

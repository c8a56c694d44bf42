// The folded way of the region attention equals the plain one: same algebra, another order of sums.
#include "facellava/layers/region_attention.hpp"

#include <doctest/doctest.h>

#include "facellava/core/quantise.hpp"
#include "support/devices.hpp"
#include "support/random.hpp"

using namespace facellava;
using test::Random;

namespace {

constexpr int kWidth = 128;
constexpr RegionAttentionConfig kConfig{kWidth, 2};
using A = Act<float, Host>;
using Out = Tensor<A, kDyn, kWidth>;

struct Inputs {
  Index frames, tokens;
  Random<float> x, k, v, bias, residual, query_bias, bias_out;
  std::vector<std::byte> query, project;
  Format format;

  Inputs(Index f, Index t, Format how)
      : frames(f),
        tokens(t),
        x(f * t, kWidth, 1),
        k(f * kRegionCount, kWidth, 2),
        v(f * kRegionCount, kWidth, 3),
        bias(f * t, kRegionCount, 4),
        residual(f * t, kWidth, 5),
        query_bias(1, kWidth, 6),
        bias_out(1, kWidth, 7),
        query(coded(how, 8)),
        project(coded(how, 9)),
        format(how) {}

  static std::vector<std::byte> coded(Format f, unsigned seed) {
    const Random<float> w(kWidth, kWidth, seed, 0, 0.1f);
    const Index step = row_bytes(f, kWidth);
    std::vector<std::byte> out(std::size_t(kWidth * step));
    for (Index r = 0; r < kWidth; ++r)
      quantise_row(f, out.data() + r * step, &w.values[std::size_t(r * kWidth)], kWidth);
    return out;
  }
  StoredTensor<Host, kWidth, kWidth> matrix(const std::vector<std::byte>& bytes) const {
    return {bytes.data(), format};
  }
};

template <RegionPath path>
std::pair<std::vector<float>, std::vector<float>> run(auto& dev, Inputs& in, bool with_bias) {
  using Attention = RegionAttention<kConfig, path>;
  const Index rows = in.frames * in.tokens;
  typename Attention::template Cache<A> c;
  Out y;
  Workspace memory;
  memory.carve([&](Arena& a) {
    Attention::carve(a, c, rows, in.frames);
    a.take(y, rows);
  });
  copy(dev, c.k, in.k.matrix());
  copy(dev, c.v, in.v.matrix());
  copy(dev, c.bias, in.bias.matrix());
  copy(dev, y, in.residual.matrix());
  const View<const float, Host, kWidth> query_bias(in.query_bias.values.data()), bias(in.bias_out.values.data());
  if (with_bias)
    Attention::look(dev, c, in.x.matrix(), in.matrix(in.query), query_bias, c.bias);
  else
    Attention::look(dev, c, in.x.matrix(), in.matrix(in.query), query_bias, None{});
  Attention::project(dev, y, c, in.matrix(in.project), bias, y);
  return {{y.data, y.data + y.count()}, {c.p.data, c.p.data + c.p.count()}};
}

}  // namespace

static_assert(best_path({4096, 8}) == RegionPath::kFolded);
static_assert(best_path({16, 8}) == RegionPath::kPlain);

TEST_CASE("folded equals plain, at every device and weight format") {
  for (Format f : {Format::kF32, Format::kF16, Format::kBf16, Format::kQ8, Format::kQ4, Format::kQ4Offset})
    for (auto [frames, tokens] : {std::pair<Index, Index>{1, 1}, {1, 50}, {3, 17}, {2, 0}})
      for (bool with_bias : {false, true}) {
        CAPTURE(format_name(f));
        CAPTURE(tokens);
        Inputs in(frames, tokens, f);
        ref::Device ref;
        const auto [y, p] = run<RegionPath::kPlain>(ref, in, with_bias);
        test::on_every_device([&](auto& dev) {
          const auto [folded, weights] = run<RegionPath::kFolded>(dev, in, with_bias);
          // Scores are of size 10: fp32 rounding of two nested sums of 128 terms, seen through exp.
          CHECK(test::relative_to_max(weights, p, Index(p.size())) < 2e-5);
          CHECK(test::relative_to_max(folded, y, Index(y.size())) < 2e-5);
        });
      }
}

TEST_CASE("folded: the number of threads changes no bit") {
  Inputs in(2, 40, Format::kBf16);
  cpu::Device one({.threads = 1}), three({.threads = 3});
  CHECK(run<RegionPath::kFolded>(one, in, true) == run<RegionPath::kFolded>(three, in, true));
}

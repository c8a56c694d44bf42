// The region attention of the CUDA device, plain and folded, against the reference device in double. The same file runs
// in the emulator and on a GPU. Tolerances: kEps = 2^-24 times the root of a sum's length and a few roundings.
#include <cmath>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::error;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;
using test::StoredOnDevice;

namespace {

constexpr Index kNine = kRegionCount;
double sum_tolerance(Index k) { return 4 * kEps * std::sqrt(double(k)) + 8 * kEps; }

}  // namespace

TEST_CASE("region_bias: every kind, with and without class token and stored scale") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (RegionBias kind : {RegionBias::kSoftmaxTransposed, RegionBias::kSoftmax, RegionBias::kDistance})
    for (ClassToken token : {ClassToken::kNone, ClassToken::kFirst})
      for (int n : {1, 4, 13}) {  // 169 tokens: more than a block
        CAPTURE(int(kind));
        CAPTURE(n);
        const Index frames = 2, tokens = n * n + (token == ClassToken::kFirst);
        Random<float> points(frames, 2 * kPoints, 1, 1, 0.3f), scale(1, 1, 2), bias(frames * tokens, kNine, 3, 2);
        auto pd = points.as<double>(), sd = scale.as<double>(), bd = bias.as<double>();
        OnDevice P(dev, points), S(dev, scale), B(dev, bias);
        // a mean of up to 17 points, a root, an exponential: a few roundings each
        region_bias(dev, B.matrix(), P.matrix(), None{}, 0.7f, kind, token, n);
        region_bias(ref, bd.matrix(), pd.matrix(), None{}, 0.7f, kind, token, n);
        CHECK(error(B.get(), bd, bias) < 16 * kEps);
        region_bias(dev, B.matrix(), P.matrix(), S.vector(), 0.7f, kind, token, n);
        region_bias(ref, bd.matrix(), pd.matrix(), sd.vector(), 0.7f, kind, token, n);
        CHECK(error(B.get(), bd, bias) < 16 * kEps);
      }
  Random<float> points(1, 2 * kPoints - 1, 1), bias(4, kNine, 2);
  OnDevice P(dev, points), B(dev, bias), none(dev, Random<float>(0, kNine, 1)),
      no_points(dev, Random<float>(0, 2 * kPoints, 1));
  CHECK(kind_of([&] {
          region_bias(dev, B.matrix(), P.matrix(), None{}, 1.f, RegionBias::kSoftmax, ClassToken::kNone, 2);
        }) == ErrorKind::kShape);
  region_bias(dev, none.matrix(), no_points.matrix(), None{}, 1.f, RegionBias::kSoftmax, ClassToken::kNone, 2);
  dev.synchronize();
}

TEST_CASE("region_attention: heads, odd head sizes, strides, frames, other numbers of regions") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  struct Case {
    Index frames, tokens, heads, dim, regions, gap;
  };
  for (auto c : {Case{1, 5, 1, 4, kNine, 0},
                 {2, 17, 4, 20, kNine, 3},
                 {3, 6, 2, 64, kNine, 4},
                 {1, 3, 3, 33, 32, 1},
                 {2, 1, 2, 130, 1, 0}}) {
    CAPTURE(c.dim);
    const Index r = c.frames * c.tokens, width = c.heads * c.dim;
    Random<float> q(r, width, 1, c.gap), k(c.frames * c.regions, width, 2), v(c.frames * c.regions, width, 3, c.gap),
        bias(r, c.regions, 4, 1), o(r, width, 5, 2), p(r, c.heads * c.regions, 6, 1);
    auto qd = q.as<double>(), kd = k.as<double>(), vd = v.as<double>(), bd = bias.as<double>(), od = o.as<double>(),
         pd = p.as<double>();
    OnDevice Q(dev, q), K(dev, k), V(dev, v), B(dev, bias), O(dev, o), P(dev, p);
    const auto check = [&](auto on_bias, auto bias_d) {
      region_attention(dev, O.heads(c.heads), P.heads(c.heads), Q.heads(c.heads), K.heads(c.heads), V.heads(c.heads),
                       on_bias, 0.3f);
      region_attention(ref, od.heads(c.heads), pd.heads(c.heads), qd.heads(c.heads), kd.heads(c.heads),
                       vd.heads(c.heads), bias_d, 0.3f);
      // the scores, of a few units, carry the sums' rounding into the exponentials
      CHECK(error(O.get(), od, o) < 4 * sum_tolerance(c.dim));
      CHECK(error(P.get(), pd, p) < 4 * sum_tolerance(c.dim));
    };
    check(B.matrix(), bd.matrix());
    check(None{}, None{});
  }
}

TEST_CASE("region ops: rows that are not whole frames, more regions than a warp; nothing gives nothing") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> q(5, 8, 1), k(18, 8, 2), o(5, 8, 3), p(5, 2 * kNine, 4), many(33, 8, 5), wide(5, 2 * 33, 6);
  OnDevice Q(dev, q), K(dev, k), O(dev, o), P(dev, p), M(dev, many), W(dev, wide);
  CHECK(kind_of([&] {  // 5 tokens in 2 frames
          region_attention(dev, O.heads(2), P.heads(2), Q.heads(2), K.heads(2), K.heads(2), None{}, 1.f);
        }) == ErrorKind::kShape);
  CHECK(kind_of([&] {
          region_attention(dev, O.heads(2), W.heads(2), Q.heads(2), M.heads(2), M.heads(2), None{}, 1.f);
        }) == ErrorKind::kShape);
  Random<float> a(2 * 2 * kNine, 8, 1);
  OnDevice A(dev, a);
  CHECK(kind_of([&] { region_sum(dev, O.matrix(), P.heads(2), A.matrix(), None{}, None{}); }) == ErrorKind::kShape);
  OnDevice none(dev, Random<float>(0, 8, 1)), no_p(dev, Random<float>(0, 2 * kNine, 1));
  region_attention(dev, none.heads(2), no_p.heads(2), none.heads(2), none.heads(2), none.heads(2), None{}, 1.f);
  region_sum(dev, none.matrix(), no_p.heads(2), none.matrix(), None{}, None{});
  region_scores(dev, no_p.heads(2), none.matrix(), none.matrix(), OnDevice(dev, Random<float>(1, 0, 1)).vector(),
                None{}, 1.f);
  dev.synchronize();
}

TEST_CASE("fold_keys and fold_values: every format, odd sizes, strides") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  struct Case {
    Index frames, heads, dim, width, gap;
  };
  for (auto c : {Case{1, 2, 64, 96, 0}, {2, 3, 10, 37, 3}, {1, 1, 33, 8, 4}, {1, 1, 4, 1100, 0}})
    for (Format f : kFormats) {
      CAPTURE(format_name(f));
      CAPTURE(c.width);
      const Index rows = c.frames * kNine, inner = c.heads * c.dim, folded = rows * c.heads;
      Random<float> k(rows, inner, 1, c.gap), in(inner, c.width, 2), out(c.width, inner, 3), b(1, inner, 4),
          a(folded, c.width, 5, c.gap), offsets(1, folded, 6);
      auto kd = k.as<double>(), bd = b.as<double>(), ad = a.as<double>(), cd = offsets.as<double>();
      const StoredOnDevice In(dev, f, in), Out(dev, f, out);
      OnDevice K(dev, k), B(dev, b), A(dev, a), C(dev, offsets);
      fold_keys(dev, A.matrix(), C.vector(), K.heads(c.heads), In.matrix(), B.vector());
      fold_keys(ref, ad.matrix(), cd.vector(), kd.heads(c.heads), In.host(), bd.vector());
      CHECK(error(A.get(), ad, a) < sum_tolerance(c.dim));
      CHECK(error(C.get(), cd, offsets) < sum_tolerance(c.dim));
      fold_keys(dev, A.matrix(), C.vector(), K.heads(c.heads), In.matrix(), None{});
      fold_keys(ref, ad.matrix(), cd.vector(), kd.heads(c.heads), In.host(), None{});
      CHECK(error(C.get(), cd, offsets) == 0);
      fold_values(dev, A.matrix(), K.heads(c.heads), Out.matrix());
      fold_values(ref, ad.matrix(), kd.heads(c.heads), Out.host());
      CHECK(error(A.get(), ad, a) < sum_tolerance(c.dim));
    }
}

TEST_CASE("region_scores and region_sum: frames, odd sizes, strides, bias, residual in place") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  struct Case {
    Index frames, tokens, heads, width, gap;
  };
  for (auto c : {Case{1, 7, 2, 24, 0}, {2, 17, 3, 37, 3}, {3, 8, 1, 64, 4}, {1, 9, 4, 1030, 2}})
    for (Index shift : {0, 1}) {
      CAPTURE(c.width);
      CAPTURE(shift);
      const Index r = c.frames * c.tokens, keys = c.heads * kNine;
      Random<float> x(r, c.width, 1, c.gap), a(c.frames * keys, c.width, 2, c.gap), offsets(1, c.frames * keys, 3),
          bias(r, kNine, 4, 1), p(r, keys, 5, 2), y(r, c.width, 6, c.gap), b(1, c.width, 7);
      auto xd = x.as<double>(), ad = a.as<double>(), cd = offsets.as<double>(), biasd = bias.as<double>(),
           pd = p.as<double>(), yd = y.as<double>(), bd = b.as<double>();
      OnDevice X(dev, x), A(dev, a, shift), C(dev, offsets), Bias(dev, bias), P(dev, p), Y(dev, y), B(dev, b);
      const float scale = 1 / std::sqrt(float(c.width));
      region_scores(dev, P.heads(c.heads), X.matrix(), A.matrix(), C.vector(), None{}, scale);
      region_scores(ref, pd.heads(c.heads), xd.matrix(), ad.matrix(), cd.vector(), None{}, scale);
      CHECK(error(P.get(), pd, p) < 4 * sum_tolerance(c.width));
      region_scores(dev, P.heads(c.heads), X.matrix(), A.matrix(), C.vector(), Bias.matrix(), scale);
      region_scores(ref, pd.heads(c.heads), xd.matrix(), ad.matrix(), cd.vector(), biasd.matrix(), scale);
      CHECK(error(P.get(), pd, p) < 4 * sum_tolerance(c.width));
      // from the same p, so that only the sum is judged
      OnDevice Q(dev, p);
      auto qd = p.as<double>();
      region_sum(dev, Y.matrix(), Q.heads(c.heads), A.matrix(), None{}, None{});
      region_sum(ref, yd.matrix(), qd.heads(c.heads), ad.matrix(), None{}, None{});
      CHECK(error(Y.get(), yd, y) < sum_tolerance(keys));
      region_sum(dev, Y.matrix(), Q.heads(c.heads), A.matrix(), B.vector(), Y.matrix());
      region_sum(ref, yd.matrix(), qd.heads(c.heads), ad.matrix(), bd.vector(), yd.matrix());
      CHECK(error(Y.get(), yd, y) < 2 * sum_tolerance(keys));
    }
}

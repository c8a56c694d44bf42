// Words from logits on the CUDA device against the reference device in double. The same file runs in the emulator and
// on a GPU.
#include <cmath>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::array;
using test::ArrayOnDevice;
using test::error;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;

namespace {

std::vector<int> argmax_on(cuda::Device& dev, OnDevice::Matrix logits) {
  const cuda::Buffer memory = dev.allocate(std::size_t(logits.rows()) * sizeof(int));
  const View<int, cuda::Space, kDyn> ids(static_cast<int*>(memory.data()), logits.rows());
  argmax(dev, ids, logits);
  std::vector<int> o(std::size_t(logits.rows()));
  dev.download(View<int, Host, kDyn>(o.data(), logits.rows()), ids);
  return o;
}

}  // namespace

TEST_CASE("log_prob and argmax: odd vocabularies, strides, misaligned rows") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  for (Index n : {1, 3, 4, 33, 500, 1024, 3001})
    for (Index gap : {0, 3, 4})
      for (Index shift : {0, 1}) {
        CAPTURE(n);
        CAPTURE(gap);
        Random<float> logits(3, n, 1, gap, 5), scores(1, 3, 2);
        const std::vector<int> words{0, int(n - 1), int(n / 2)};
        const ArrayOnDevice<int> ids(dev, words);
        auto ld = logits.as<double>(), sd = scores.as<double>();
        OnDevice L(dev, logits, shift), S(dev, scores);
        log_prob(dev, S.vector(), L.matrix(), ids.view());
        log_prob(ref, sd.vector(), ld.matrix(), array(words));
        // logits up to 20, whose differences are rounded: a few eps of that, against scores of the same size; a
        // vocabulary of 1 has scores of exactly 0
        CHECK(error(S.get(), sd, scores) < 16 * kEps);
        std::vector<int> want(3);
        argmax(ref, View<int, Host, kDyn>(want.data(), 3), logits.matrix());
        CHECK(argmax_on(dev, L.matrix()) == want);
      }
}

TEST_CASE("argmax: the first of equals, infinities and NaN as in the reference; no words is an Error") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  const Index n = 1100;
  Random<float> l(6, n, 1);
  auto v = l.matrix();
  for (Index c : {1099, 700, 701}) v(0, c) = 50;
  for (Index c = 0; c < n; ++c) v(1, c) = -kInf;
  v(2, 40) = kNan;
  v(3, 0) = kNan;
  for (Index c = 0; c < n; ++c) v(4, c) = kNan;
  v(5, 9) = v(5, 900) = kInf;
  OnDevice L(dev, l);
  std::vector<int> want(6);
  argmax(ref, View<int, Host, kDyn>(want.data(), 6), v);
  CHECK(want[0] == 700);
  CHECK(argmax_on(dev, L.matrix()) == want);
  auto none = L.matrix();
  none.sizes[1] = 0;
  CHECK(kind_of([&] { argmax_on(dev, none); }) == ErrorKind::kShape);
}

TEST_CASE("log_prob: words outside the vocabulary are reported, their scores stay; NaN reaches the score") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> logits(2, 9, 1), scores(1, 2, 2);
  OnDevice L(dev, logits);
  for (int bad : {-1, 9}) {
    OnDevice S(dev, scores);
    const ArrayOnDevice<int> ids(dev, {bad, 8});
    log_prob(dev, S.vector(), L.matrix(), ids.view());
    CHECK(kind_of([&] { dev.synchronize(); }) == ErrorKind::kShape);
    CHECK(S.get().values[0] == scores.values[0]);
    CHECK(S.get().values[1] != scores.values[1]);
  }
  logits.values[3] = std::numeric_limits<float>::quiet_NaN();
  OnDevice N(dev, logits), S(dev, scores);
  const ArrayOnDevice<int> ids(dev, {1, 1});
  log_prob(dev, S.vector(), N.matrix(), ids.view());
  CHECK(std::isnan(S.get().values[0]));
  CHECK(std::isfinite(S.get().values[1]));
  OnDevice none(dev, Random<float>(0, 9, 1)), no_scores(dev, Random<float>(1, 0, 1));
  log_prob(dev, no_scores.vector(), none.matrix(), ArrayOnDevice<int>(dev, {}).view());
  CHECK(argmax_on(dev, none.matrix()).empty());
}

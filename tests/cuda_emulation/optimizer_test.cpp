// Steps of the optimisers and sums of squares on the CUDA device against the reference device. The same file runs in
// the emulator and on a GPU.
#include <array>
#include <cmath>

#include "cuda_emulation/check_op.hpp"

using namespace facellava;
using test::check_op;
using test::kEps;
using test::kind_of;
using test::OnDevice;
using test::Random;

namespace {

constexpr AdamW kAdamW{.rate = 0.1, .decay = 0.1, .scale = 0.5};
constexpr Sgd kSgd{.rate = 0.1, .momentum = 0.9, .decay = 0.1, .scale = 0.5};

Random<float> squared(Random<float> x) {
  for (float& v : x.values) v = v * v;
  return x;
}

// bf16 on the device, rows apart as x's are.
class BrainOnDevice {
 public:
  BrainOnDevice(cuda::Device& dev, const Random<float>& x, Index shift)
      : dev_(&dev),
        host_(x),
        memory_(dev.allocate((x.values.size() + std::size_t(shift)) * sizeof(bf16))),
        shift_(shift) {
    std::vector<bf16> bits;
    for (float v : x.values) bits.push_back(to_bf16(v));
    dev.upload(all(), View<const bf16, Host, kDyn>(bits.data(), Index(bits.size())));
  }
  View<bf16, cuda::Space, kDyn, kDyn> matrix() const {
    View<bf16, cuda::Space, kDyn, kDyn> v(all().data, host_.rows, host_.width);
    v.stride = host_.stride;
    return v;
  }
  std::vector<std::uint16_t> get() const {
    std::vector<bf16> now(host_.values.size());
    dev_->download(View<bf16, Host, kDyn>(now.data(), Index(now.size())), all());
    std::vector<std::uint16_t> bits;
    for (bf16 b : now) bits.push_back(b.bits);
    return bits;
  }

 private:
  View<bf16, cuda::Space, kDyn> all() const {
    return View<bf16, cuda::Space, kDyn>(static_cast<bf16*>(memory_.data()) + shift_, Index(host_.values.size()));
  }
  cuda::Device* dev_;
  Random<float> host_;
  cuda::Buffer memory_;
  Index shift_;
};

class Totals {
 public:
  Totals(cuda::Device& dev, const std::vector<double>& start)
      : dev_(&dev), count_(Index(start.size())), memory_(dev.allocate(start.size() * sizeof(double))) {
    dev.upload_bytes(memory_.data(), start.data(), start.size() * sizeof(double));
  }
  View<double, cuda::Space, kDyn> view() const {
    return View<double, cuda::Space, kDyn>(static_cast<double*>(memory_.data()), count_);
  }
  std::vector<double> get() const {
    std::vector<double> now(static_cast<std::size_t>(count_));
    dev_->download_bytes(now.data(), memory_.data(), now.size() * sizeof(double));
    return now;
  }

 private:
  cuda::Device* dev_;
  Index count_;
  cuda::Buffer memory_;
};

double squares(const Random<float>& x) {
  double sum = 0;
  for (Index r = 0; r < x.rows; ++r)
    for (Index c = 0; c < x.width; ++c) {
      const double v = double(x.values[std::size_t(r * x.stride + c)]);
      sum += v * v;
    }
  return sum;
}

}  // namespace

TEST_CASE("adamw and sgd: fp32 weights, odd sizes, strides, no momentum, no gradient") {
  for (auto [m, n, gap] :
       {std::array<Index, 3>{0, 3, 1}, {1, 1, 0}, {1, 700, 0}, {70, 9, 1}, {3, 332, 4}, {20, 333, 2}}) {
    CAPTURE(m);
    CAPTURE(n);
    const Random<float> w(m, n, 1, gap), g(m, n, 2, 2 * gap), first(m, n, 3, gap),
        second = squared(Random<float>(m, n, 4));
    // A root, a quotient and a few products and sums.
    check_op({g}, {w, first, second}, {}, 16 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
      adamw(dev, out[0].matrix(), None{}, out[1].matrix(), out[2].matrix(), in[0].matrix(), kAdamW, 7);
      adamw(dev, out[0].matrix(), None{}, out[1].matrix(), out[2].matrix(), None{}, kAdamW, 8);
    });
    check_op({g}, {w, first}, {}, 16 * kEps, [&](auto& dev, auto& in, auto& out, auto) {
      sgd(dev, out[0].matrix(), None{}, out[1].matrix(), in[0].matrix(), kSgd);
      sgd(dev, out[0].matrix(), None{}, None{}, in[0].matrix(), {.rate = 0.1, .decay = 0.2});
    });
  }
}

TEST_CASE("adamw: bf16 weights, with an fp32 master and without") {
  for (Index n : {1, 12, 333})
    for (Index shift : {0, 1}) {
      CAPTURE(n);
      CAPTURE(shift);
      const Index m = 7;
      cuda::BackwardDevice dev(test::kSmallDevice);
      const Random<float> start(m, n, 1, 4), moment(m, n, 5, 4), square = squared(Random<float>(m, n, 6, 4)),
                                                                 g(m, n, 7, 4);
      Random<float> rounded = start;
      for (float& v : rounded.values) v = to_float(to_bf16(v));
      // plain: fp32 steps from the same numbers; what the bf16 weights round.
      for (bool with_master : {true, false}) {
        const Random<float>& from = with_master ? start : rounded;
        OnDevice plain(dev, from, shift), master(dev, from, shift), m1(dev, moment, shift), v1(dev, square, shift),
            m2(dev, moment, shift), v2(dev, square, shift), G(dev, g, shift);
        const BrainOnDevice w(dev, from, shift);
        adamw(dev, plain.matrix(), None{}, m1.matrix(), v1.matrix(), G.matrix(), kAdamW, 1);
        if (with_master) {
          adamw(dev, w.matrix(), master.matrix(), m2.matrix(), v2.matrix(), G.matrix(), kAdamW, 1);
          CHECK(master.get().values == plain.get().values);
        } else {
          adamw(dev, w.matrix(), None{}, m2.matrix(), v2.matrix(), G.matrix(), kAdamW, 1);
        }
        CHECK(m1.get().values == m2.get().values);
        CHECK(v1.get().values == v2.get().values);
        std::vector<std::uint16_t> want;
        for (float v : plain.get().values) want.push_back(to_bf16(v).bits);
        CHECK(w.get() == want);
      }
    }
}

TEST_CASE("adamw, sgd, sum_squares: many tensors in a launch as each alone") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  struct Tensor {
    OnDevice w, m, v, g;
  };
  std::vector<Random<float>> weights, gradients;
  for (unsigned i = 0; i < 27; ++i) {  // more than a launch takes; some without elements, one of many blocks
    const Index rows = i == 7   ? 0
                       : i == 9 ? 90
                                : 1 + i % 3,
                width = i == 5   ? 0
                        : i == 9 ? 1000
                                 : 1 + Index(i) * 37 % 90;
    weights.emplace_back(rows, width, i, i % 5);
    gradients.emplace_back(rows, width, 100 + i, i % 4);
  }
  const auto tensors = [&] {
    std::vector<Tensor> t;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const Index shift = Index(i % 3);
      t.push_back({OnDevice(dev, weights[i], shift), OnDevice(dev, weights[i]), OnDevice(dev, squared(weights[i])),
                   OnDevice(dev, gradients[i], shift)});
    }
    return t;
  };
  const auto together = tensors(), alone = tensors();
  std::vector<cuda::TensorUpdate> updates;
  for (const Tensor& t : together)
    updates.push_back({.w = t.w.matrix().data,
                       .m = t.m.matrix().data,
                       .v = t.v.matrix().data,
                       .dw = t.g.matrix().data,
                       .rows = t.w.matrix().rows(),
                       .width = t.w.matrix().size(1),
                       .w_stride = t.w.matrix().stride,
                       .m_stride = t.m.matrix().stride,
                       .v_stride = t.v.matrix().stride,
                       .dw_stride = t.g.matrix().stride,
                       .rate = updates.size() % 2 ? 1 : 0.25,
                       .decay = updates.size() % 3 ? 1.0 : 0.0});
  dev.adamw(updates, kAdamW, 3);
  dev.sgd(updates, kSgd);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    CAPTURE(i);
    const Tensor& t = alone[i];
    AdamW how = kAdamW;
    Sgd then = kSgd;
    how.rate *= updates[i].rate;
    how.decay *= updates[i].decay;
    then.rate *= updates[i].rate;
    then.decay *= updates[i].decay;
    adamw(dev, t.w.matrix(), None{}, t.m.matrix(), t.v.matrix(), t.g.matrix(), how, 3);
    sgd(dev, t.w.matrix(), None{}, t.m.matrix(), t.g.matrix(), then);
    CHECK(together[i].w.get().values == t.w.get().values);
    CHECK(together[i].m.get().values == t.m.get().values);
    CHECK(together[i].v.get().values == t.v.get().values);
  }

  const std::vector<double> start(updates.size(), 2);
  const Totals totals(dev, start), again(dev, start), single(dev, start);
  dev.sum_squares(totals.view(), updates);
  dev.sum_squares(again.view(), updates);
  const std::vector<double> sums = totals.get();
  for (std::size_t i = 0; i < updates.size(); ++i) {
    sum_squares(dev, View<double, cuda::Space, kDyn>(single.view().data + i, 1), alone[i].g.matrix());
    // Squares of floats are exact in double; their sum has at most 2^17 roundings of 2^-53.
    CHECK(sums[i] == doctest::Approx(2 + squares(gradients[i])).epsilon(0x1p-36));
  }
  CHECK(sums == again.get());
  CHECK(sums == single.get());
  CHECK(kind_of([&] { dev.sum_squares(View<double, cuda::Space, kDyn>(single.view().data, 1), updates); }) ==
        ErrorKind::kShape);
  dev.adamw({}, kAdamW, 1);
}

TEST_CASE("sum_squares: a gradient that is not finite shows") {
  cuda::BackwardDevice dev(test::kSmallDevice);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Random<float> g(3, 50, 1);
    g.values[77] = bad;
    const OnDevice G(dev, g);
    const Totals total(dev, {0.0});
    sum_squares(dev, total.view(), G.matrix());
    sum_squares(dev, total.view(), None{});
    CHECK_FALSE(std::isfinite(total.get()[0]));
  }
}

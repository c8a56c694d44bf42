// The slabs of keys and values on the CUDA device, fp32 and bf16. The same file runs in the emulator and on a GPU.
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

// bf16 patterns on the device, as slabs.
class BrainSlab {
 public:
  BrainSlab(cuda::Device& dev, const Random<float>& host, Index shift = 0)
      : dev_(&dev), rows_(host.rows), width_(host.width), stride_(host.stride), shift_(shift) {
    values_.resize(std::size_t(shift));
    for (float v : host.values) values_.push_back(to_bf16(v));
    buffer_ = dev.allocate(values_.size() * sizeof(bf16));
    dev.upload_bytes(buffer_.data(), values_.data(), buffer_.size());
  }
  View<bf16, cuda::Space, kDyn, kDyn, kDyn> heads(Index h) const {
    View<bf16, cuda::Space, kDyn, kDyn, kDyn> v(static_cast<bf16*>(buffer_.data()) + shift_, rows_, h, width_ / h);
    v.stride = stride_;
    return v;
  }
  std::vector<std::uint16_t> bits() const {
    std::vector<std::uint16_t> o(values_.size());
    dev_->download_bytes(o.data(), buffer_.data(), buffer_.size());
    return {o.begin() + shift_, o.end()};
  }

 private:
  cuda::Device* dev_;
  Index rows_, width_, stride_, shift_;
  std::vector<bf16> values_;
  cuda::Buffer buffer_;
};

// The numbers that bf16 slabs of these values hold.
Random<float> rounded(Random<float> x) {
  for (float& v : x.values) v = to_float(to_bf16(v));
  return x;
}

}  // namespace

TEST_CASE("kv_append: fp32 and bf16 slabs, strides, odd widths, slots in any order; NaN stays NaN") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const std::vector<int> at{9, 0, 4};
  const ArrayOnDevice<int> slots(dev, at);
  for (auto [heads, d, gap] : {std::array<Index, 3>{1, 1, 0}, {2, 8, 4}, {3, 5, 1}, {4, 64, 0}, {8, 128, 8}})
    for (Index shift : {0, 1}) {
      CAPTURE(d);
      CAPTURE(shift);
      Random<float> k(3, heads * d, 1, gap), v(3, heads * d, 2, gap), slab(10, heads * d, 3, gap);
      k.values[0] = std::numeric_limits<float>::quiet_NaN();
      v.values[0] = std::numeric_limits<float>::infinity();
      auto want_k = slab, want_v = slab;
      OnDevice K(dev, k, shift), V(dev, v), SK(dev, slab), SV(dev, slab, shift);
      kv_append(dev, SK.heads(heads), SV.heads(heads), K.heads(heads), V.heads(heads), slots.view());
      kv_append(ref, want_k.heads(heads), want_v.heads(heads), k.heads(heads), v.heads(heads), array(at));
      CHECK(std::isnan(SK.get().values[std::size_t(9 * slab.stride)]));
      want_k.values[std::size_t(9 * slab.stride)] = 0;  // NaN equals nothing
      auto got = SK.get();
      got.values[std::size_t(9 * slab.stride)] = 0;
      CHECK(got.values == want_k.values);
      CHECK(SV.get().values == want_v.values);

      BrainSlab BK(dev, slab), BV(dev, slab, shift);
      kv_append(dev, BK.heads(heads), BV.heads(heads), K.heads(heads), V.heads(heads), slots.view());
      std::vector<std::uint16_t> bits_k, bits_v;  // the rounding is core's, bit by bit
      want_k.values[std::size_t(9 * slab.stride)] = k.values[0];
      for (float x : want_k.values) bits_k.push_back(to_bf16(x).bits);
      for (float x : want_v.values) bits_v.push_back(to_bf16(x).bits);
      CHECK(BK.bits() == bits_k);
      CHECK(BV.bits() == bits_v);
    }
}

TEST_CASE("kv_append: slots outside the slabs are reported, the rest is kept; onto itself; nothing") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> k(2, 8, 1), slab(5, 8, 2);
  for (int bad : {-1, 5}) {
    OnDevice K(dev, k), S(dev, slab), T(dev, slab);
    const ArrayOnDevice<int> slots(dev, {bad, 1});
    kv_append(dev, S.heads(2), T.heads(2), K.heads(2), K.heads(2), slots.view());
    CHECK(kind_of([&] { dev.synchronize(); }) == ErrorKind::kShape);
    auto want = slab;
    std::copy_n(k.values.begin() + 8, 8, want.values.begin() + 8);
    CHECK(S.get().values == want.values);
    CHECK(T.get().values == want.values);
  }
  OnDevice K(dev, k), none(dev, Random<float>(0, 8, 1));
  kv_append(dev, K.heads(2), K.heads(2), K.heads(2), K.heads(2), ArrayOnDevice<int>(dev, {0, 1}).view());
  kv_append(dev, K.heads(2), K.heads(2), none.heads(2), none.heads(2), ArrayOnDevice<int>(dev, {}).view());
  CHECK(K.get().values == k.values);
}

TEST_CASE("attention over bf16 keys and values: ranges, strides, grouped heads, every width of kernel") {
  ref::Device ref;
  cuda::Device dev(test::kSmallDevice);
  const std::vector<Sequence> sequences{{0, 7, 0, 1}, {7, 13, 1, 2}};
  const std::vector<KvRange> ranges{{3, 7}, {20, 25}, {55, 13}};
  const ArrayOnDevice<Sequence> on_sequences(dev, sequences);
  const ArrayOnDevice<KvRange> on_ranges(dev, ranges);
  for (auto [heads, kv, d, gap] : {std::array<Index, 4>{1, 1, 8, 4},
                                   {4, 2, 24, 0},
                                   {6, 1, 33, 3},
                                   {2, 2, 64, 4},
                                   {1, 1, 100, 0},
                                   {2, 1, 130, 1}}) {
    CAPTURE(d);
    Random<float> q(20, heads * d, 1), k(70, kv * d, 2, gap), v(70, kv * d, 3), o(20, heads * d, 4, 2),
        lse(20, heads, 5, 1);
    auto qd = q.as<double>(), kd = rounded(k).as<double>(), vd = rounded(v).as<double>(), od = o.as<double>(),
         ld = lse.as<double>();
    attention(ref, od.heads(heads), ld.matrix(), qd.heads(heads), kd.heads(kv), vd.heads(kv), array(sequences),
              array(ranges), Mask::kCausal, 0.3f);
    OnDevice Q(dev, q), O(dev, o), L(dev, lse);
    const BrainSlab K(dev, k), V(dev, v, d % 2);
    attention(dev, O.heads(heads), L.matrix(), Q.heads(heads), K.heads(kv), V.heads(kv), on_sequences.view(),
              on_ranges.view(), Mask::kCausal, 0.3f);
    // bf16 is widened exactly: the tolerance of fp32 keys (ops_test.cpp)
    CHECK(error(O.get(), od, o) < 64 * kEps);
    CHECK(error(L.get(), ld, lse) < 64 * kEps);
  }
}

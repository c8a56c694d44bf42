// Memory, copies and errors of the CUDA device. The same file runs in the emulator and on a GPU.
#include "facellava/cuda/device.hpp"

#include <doctest/doctest.h>

#include <climits>
#include <utility>

#include "cuda_emulation/on_device.hpp"
#include "facellava/core/arena.hpp"

using namespace facellava;
using test::ArrayOnDevice;
using test::kind_of;
using test::OnDevice;
using test::Random;

TEST_CASE("upload and download keep values, strides and what lies between") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> from(5, 7, 1, 2), to(5, 7, 2, 4);
  const Random<float> before = to;
  const cuda::Buffer memory = dev.allocate(5 * 10 * sizeof(float));
  View<float, cuda::Space, kDyn, kDyn> on(static_cast<float*>(memory.data()), 5, 7);
  for (Index stride : {7, 10}) {
    on.stride = stride;
    to = before;
    dev.upload(on, from.matrix());
    dev.download(to.matrix(), on);
    for (Index r = 0; r < 5; ++r)
      for (Index c = 0; c < to.stride; ++c)
        CHECK(to.values[std::size_t(r * to.stride + c)] ==
              (c < 7 ? from.matrix()(r, c) : before.values[std::size_t(r * to.stride + c)]));
  }
  Random<float> narrow(5, 6, 1);
  CHECK(kind_of([&] { dev.upload(on, narrow.matrix()); }) == ErrorKind::kShape);
  CHECK(kind_of([&] { dev.download(rows(to.matrix(), 0, 4), on); }) == ErrorKind::kShape);
  dev.upload(rows(on, 0, 0), rows(from.matrix(), 0, 0));
}

TEST_CASE("an arena carves device memory") {
  cuda::Device dev(test::kSmallDevice);
  const auto carve = [](Arena& arena, auto& a, auto& b) {
    arena.take(a, 3, 5);
    arena.take(b, 7);
  };
  View<float, cuda::Space, kDyn, kDyn> a;
  View<int, cuda::Space, kDyn> b;
  Arena count;
  carve(count, a, b);
  const cuda::Buffer memory = dev.allocate(count.peak());
  Arena arena(memory.data(), memory.size());
  carve(arena, a, b);
  std::vector<int> ids{1, 2, 3, 4, 5, 6, 7}, back(7);
  dev.upload(b, View<const int, Host, kDyn>(ids.data(), 7));
  dev.download(View<int, Host, kDyn>(back.data(), 7), b);
  CHECK(back == ids);
}

TEST_CASE("devices and buffers move") {
  cuda::Device first(test::kSmallDevice), second(test::kSmallDevice);
  const auto* stream = first.stream();
  cuda::Device moved = std::move(first);
  CHECK(moved.stream() == stream);
  second = std::move(moved);
  CHECK(second.stream() == stream);
  cuda::Buffer a = second.allocate(12), b;
  const void* data = a.data();
  b = std::move(a);
  CHECK(b.data() == data);
  CHECK(b.size() == 12);
  CHECK(second.allocate(0).data() == nullptr);
}

TEST_CASE("what cannot work is an Error, and the device stays usable") {
  CHECK(kind_of([] { cuda::Device({.device = -1}); }) == ErrorKind::kDevice);
  CHECK(kind_of([] { cuda::Device({.device = 4096}); }) == ErrorKind::kDevice);
  cuda::Device dev({.workspace_bytes = 0, .scratch_bytes = 16});
  CHECK(kind_of([&] { dev.allocate(std::size_t(1) << 60); }) == ErrorKind::kDevice);

  Random<float> x(5, 8, 1), w(6, 8, 2), y(5, 6, 3);  // more rows than are multiplied as W is stored
  OnDevice X(dev, x), W(dev, w), Y(dev, y);
  const ArrayOnDevice<std::uint16_t> bits(dev, std::vector<std::uint16_t>(49, 0x3f80));
  StoredTensor<cuda::Space, kDyn, kDyn> stored{reinterpret_cast<const std::byte*>(bits.first()), Format::kBf16, {6, 8}};
  CHECK(kind_of([&] { linear(dev, Y.matrix(), X.matrix(), stored, None{}, None{}); }) == ErrorKind::kCapacity);
  ++stored.data;
  CHECK(kind_of([&] { linear(dev, Y.matrix(), X.matrix(), stored, None{}, None{}); }) == ErrorKind::kArgument);
  auto slanted = Y.matrix();
  slanted.stride = 5;
  CHECK(kind_of([&] { linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, slanted); }) == ErrorKind::kArgument);
  CHECK(kind_of([&] { linear(dev, slanted, X.matrix(), W.matrix(), None{}, None{}); }) == ErrorKind::kShape);
  auto empty = W.matrix(), none = X.matrix();
  empty.sizes[1] = none.sizes[1] = 0;
  CHECK(kind_of([&] { linear(dev, Y.matrix(), none, empty, None{}, None{}); }) == ErrorKind::kShape);
  linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, None{});
  dev.synchronize();
}

TEST_CASE("attention: hostile sequences and ranges are reported and touch nothing") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> q(10, 8, 1), k(20, 8, 2), o(10, 8, 3), lse(10, 2, 4);
  OnDevice Q(dev, q), K(dev, k), O(dev, o), L(dev, lse);
  const auto run = [&](Sequence s, KvRange r) {
    const ArrayOnDevice<Sequence> sequences(dev, {s});
    const ArrayOnDevice<KvRange> ranges(dev, {r});
    attention(dev, O.heads(2), L.matrix(), Q.heads(2), K.heads(2), K.heads(2), sequences.view(), ranges.view(),
              Mask::kCausal, 1.f);
    dev.synchronize();
  };
  const std::vector<std::pair<Sequence, KvRange>> hostile{
      {{0, 11, 0, 1}, {0, 20}},         {{-1, 2, 0, 1}, {0, 20}},
      {{0, INT_MAX, 0, 1}, {0, 20}},    {{0, 3, 0, 1, 5}, {0, 2}},
      {{9, 3, 0, 1, INT_MIN}, {0, 20}}, {{0, 10, 0, 2}, {0, 20}},
      {{0, 10, 1, 1}, {0, 20}},         {{0, 10, -1, 1}, {0, 20}},
      {{0, 10, 0, -1}, {0, 20}},        {{0, 10, INT_MAX, INT_MAX}, {0, 20}},
      {{0, 10, 0, 1}, {0, 21}},         {{0, 10, 0, 1}, {-1, 5}},
      {{0, 10, 0, 1}, {0, -5}},         {{0, 10, 0, 1}, {INT_MAX, INT_MAX}},
      {{0, 2, 0, 1, 9}, {3, 3}}};
  for (const auto& [s, r] : hostile) {
    CAPTURE(s.q_first);
    CAPTURE(r.first);
    CHECK(kind_of([&] { run(s, r); }) == ErrorKind::kShape);
    CHECK(O.get().values == o.values);
  }
  run({0, -7, 0, 1}, {0, 20});  // no queries
  CHECK(O.get().values == o.values);
  run({0, 10, 0, 1}, {0, 20});  // and the device works on
  CHECK(O.get().values != o.values);
}

TEST_CASE("attention: head sizes and head counts beyond the kernels") {
  cuda::Device dev(test::kSmallDevice);
  Random<float> q(2, 6, 1), k(2, 4, 2), o(2, 6, 3), lse(2, 3, 4), wide(2, 257, 5), one(2, 1, 6);
  OnDevice Q(dev, q), K(dev, k), O(dev, o), L(dev, lse), W(dev, wide), One(dev, one);
  const ArrayOnDevice<Sequence> sequences(dev, {{0, 2, 0, 1}});
  const ArrayOnDevice<KvRange> ranges(dev, {{0, 2}});
  CHECK(kind_of([&] {
          attention(dev, O.heads(3), L.matrix(), Q.heads(3), K.heads(2), K.heads(2), sequences.view(), ranges.view(),
                    Mask::kFull, 1.f);
        }) == ErrorKind::kShape);
  CHECK(kind_of([&] {
          attention(dev, W.heads(1), One.matrix(), W.heads(1), W.heads(1), W.heads(1), sequences.view(), ranges.view(),
                    Mask::kFull, 1.f);
        }) == ErrorKind::kShape);
}

// Views, arenas, element types, random numbers: the parts that everything stands on.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

#include "facellava/core/arena.hpp"
#include "facellava/core/element.hpp"
#include "facellava/core/ops.hpp"
#include "facellava/core/rng.hpp"
#include "facellava/ref/device.hpp"

using namespace facellava;

TEST_CASE("views: static and dynamic sizes, slices, heads") {
  float data[24];
  for (int i = 0; i < 24; ++i) data[i] = float(i);
  const View<float, Host, kDyn, 6> m(data, 4);
  CHECK(m.count() == 24);
  CHECK(m.contiguous());
  const auto middle = rows(m, 1, 2);
  CHECK(middle(1, 5) == 17);
  CHECK_THROWS_AS(rows(m, 3, 2), Error);
  CHECK_THROWS_AS(rows(m, -1, 1), Error);
  CHECK_THROWS_AS(rows(m, std::numeric_limits<Index>::max(), 1), Error);
  const auto odd = every(m, 1, 2, 2);
  CHECK(odd(1, 0) == 18);
  CHECK_THROWS_AS(every(m, 1, 2, 3), Error);
  const auto part = columns<2, 3>(m);
  CHECK(part(3, 2) == 22);
  CHECK_FALSE(part.contiguous());
  const auto h = heads<3>(m);
  CHECK(h(2, 1, 1) == 15);
  const View<const float, Host, kDyn, kDyn> loose = m;
  CHECK(loose.size(1) == 6);
  CHECK_THROWS_AS((View<const float, Host, kDyn, 5>(loose)), Error);
}

TEST_CASE("errors say what was expected and what was found") {
  try {
    check_equal(3, 4u, "rows of x");
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(std::string(e.what()) == "rows of x: expected 3, found 4");
    CHECK(e.kind() == ErrorKind::kShape);
    CHECK(std::string(e.where().file_name()).find("core_test.cpp") != std::string::npos);
  }
  CHECK_NOTHROW(check_equal(-1, -1, "same"));
  CHECK_THROWS_AS(check_equal(-1, 0xffffffffu, "signs are not mixed up"), Error);
}

TEST_CASE("an op refuses sizes that do not fit, before anything is written") {
  float x[6] = {}, w[4] = {}, y[4] = {7, 7, 7, 7};
  ref::Device dev;
  const View<float, Host, kDyn, kDyn> out(y, 2, 2), in(x, 2, 3), weight(w, 2, 2);
  CHECK_THROWS_WITH_AS(linear(dev, out, in, weight, None{}, None{}),
                       "linear: columns of W and width of x: expected 2, found 3", Error);
  CHECK(y[0] == 7);
}

TEST_CASE("an arena counts and hands out the same") {
  const auto plan = [](Arena& a, auto& x, auto& y, auto& z) {
    a.take(x, 3);
    const auto mark = a.mark();
    a.take(y, 100);
    a.release(mark);
    a.take(z, 10);
  };
  View<float, Host, kDyn> x;
  View<double, Host, kDyn, 4> y;
  View<int, Host, kDyn> z;
  Arena count;
  plan(count, x, y, z);
  CHECK(count.peak() == 64 + 3200);
  CHECK(x.data == nullptr);
  Buffer slab(count.peak());
  Arena arena(slab.data(), slab.size());
  plan(arena, x, y, z);
  CHECK(reinterpret_cast<std::byte*>(z.data) == reinterpret_cast<std::byte*>(y.data));
  CHECK(reinterpret_cast<std::uintptr_t>(y.data) % 64 == 0);
  CHECK_THROWS_AS(arena.take(y, 100), Error);
  Workspace w;
  w.carve([&](Arena& a) { plan(a, x, y, z); });
  const auto bytes = w.bytes();
  w.carve([&](Arena& a) { a.take(x, 1); });
  CHECK(w.bytes() == bytes);
}

TEST_CASE("bf16 and f16") {
  CHECK(to_float(f16{0x3c00}) == 1);
  CHECK(to_float(f16{0xc000}) == -2);
  CHECK(to_float(f16{0x0001}) == 0x1p-24f);
  CHECK(to_float(f16{0x8000}) == 0);
  CHECK(to_float(f16{0x7bff}) == 65504);
  CHECK(std::isinf(to_float(f16{0x7c00})));
  CHECK(std::isnan(to_float(f16{0x7e00})));
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bf16 b{std::uint16_t(bits)};
    if (std::isnan(to_float(b))) {
      CHECK(std::isnan(to_float(to_bf16(to_float(b)))));
    } else {
      REQUIRE(to_bf16(to_float(b)).bits == bits);
    }
  }
  CHECK(to_bf16(1 + 0x1p-8f).bits == 0x3f80);  // half way: to even
  CHECK(to_bf16(1 + 0x1p-8f + 0x1p-20f).bits == 0x3f81);
  CHECK(to_bf16(1 + 3 * 0x1p-8f).bits == 0x3f82);  // half way: to even
  CHECK(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
}

TEST_CASE("random numbers are the published SplitMix64's, uniform in [0, 1)") {
  Rng zero(0);
  CHECK(zero.next() == 0xe220a8397b1dcdafu);
  CHECK(zero.next() == 0x6e789e6aa1b965f4u);
  Rng rng(1);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double u = rng.uniform();
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
  }
  CHECK(sum / 10000 == doctest::Approx(0.5).epsilon(0.02));  // a standard deviation is 0.003
}

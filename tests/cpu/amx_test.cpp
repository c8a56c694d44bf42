// The AMX products over emulated tiles, on any processor: the instructions themselves are the only part that is not
// run here. Where the machine has tiles, their bits are compared with the emulation's.
#include "facellava/cpu/amx.hpp"

#include <doctest/doctest.h>

#include "facellava/core/arena.hpp"

#if FACELLAVA_X86
#include "support/random.hpp"

using namespace facellava;
using test::Random;

namespace {

// As Intel's manual describes TDPBF16PS: within one instruction the even and the odd k of each sum are added apart.
struct EmulatedTiles {
  static inline thread_local std::array<std::array<std::array<std::byte, 64>, 16>, 8> tiles;
  static inline thread_local Index columns = 0;  // of sums and x; 0: not configured

  static std::size_t row_bytes(int t) { return t == 4 || t == 5 ? 64 : std::size_t(4 * columns); }
  static void configure(Index c) {
    REQUIRE((c == 1 || c == 16));
    columns = c;
  }
  static void release() { columns = 0; }
  template <int T>
  static void zero() {
    REQUIRE(columns > 0);
    for (auto& row : tiles[T]) row.fill(std::byte(0));
  }
  template <int T>
  static void load(const void* rows, Index stride) {
    REQUIRE(columns > 0);
    for (Index r = 0; r < 16; ++r)
      std::memcpy(tiles[T][std::size_t(r)].data(), static_cast<const std::byte*>(rows) + r * stride, row_bytes(T));
  }
  template <int T>
  static void store(void* rows, Index stride) {
    REQUIRE(columns > 0);
    for (Index r = 0; r < 16; ++r)
      std::memcpy(static_cast<std::byte*>(rows) + r * stride, tiles[T][std::size_t(r)].data(), row_bytes(T));
  }
  template <class T>
  static T at(int tile, std::size_t row, std::size_t column) {
    T v;
    std::memcpy(&v, tiles[std::size_t(tile)][row].data() + column * sizeof(T), sizeof v);
    return v;
  }
  template <int Sums, int W, int X>
  static void add() {
    for (std::size_t m = 0; m < 16; ++m)
      for (std::size_t n = 0; n < std::size_t(columns); ++n) {
        float half[2] = {};
        for (std::size_t k = 0; k < 16; ++k)
          for (std::size_t i = 0; i < 2; ++i)  // the product of two bf16 is exact
            half[i] += to_float(at<bf16>(W, m, 2 * k + i)) * to_float(at<bf16>(X, k, 2 * n + i));
        const float sum = at<float>(Sums, m, n) + (half[0] + half[1]);
        std::memcpy(tiles[Sums][m].data() + 4 * n, &sum, 4);
      }
  }
  static void round(bf16* y, const float* x, Index n) { std::transform(x, x + n, y, to_bf16); }
  static void transpose(float* to, const float* from) {
    if (cpu::best_isa() >= cpu::Isa::kAvx512) return cpu::amx::transpose(to, from);
    for (Index i = 0; i < 256; ++i) to[i % 16 * 16 + i / 16] = from[i];
  }
};

struct TileProduct {
  Index m, n, k;
  Random<float> x, bias, residual;
  std::vector<bf16> w;  // no byte beyond the last row

  TileProduct(Index m, Index n, Index k) : m(m), n(n), k(k), x(m, k, 1), bias(1, n, 2), residual(m, n, 3) {
    const Random<float> values(n, k, 4);
    for (Index r = 0; r < n; ++r)
      for (Index c = 0; c < k; ++c) w.push_back(to_bf16(values.values[std::size_t(r * values.stride + c)]));
  }
  // Rows [first, first + count) of x.
  std::vector<float> run(const cpu::Multiplier& by, Index first, Index count, bool extras) const {
    const Index bytes = by.panel_bytes(count, k);
    Buffer packed(std::size_t(by.panels(count) * bytes)), scratch(std::size_t(by.scratch_bytes));
    auto* panels = static_cast<std::byte*>(packed.data());
    const float* rows = x.values.data() + first * x.stride;
    for (Index i = 0; i < by.panels(count); ++i) by.pack(panels + i * bytes, rows, x.stride, count, k, i);
    std::vector<float> y(std::size_t(count * n));
    by.run({.y = y.data(),
            .ldy = n,
            .x = panels,
            .w = reinterpret_cast<const std::byte*>(w.data()),
            .w_step = 2 * k,
            .format = Format::kBf16,
            .m = count,
            .n = n,
            .k = k,
            .bias = extras ? bias.values.data() : nullptr,
            .residual = extras ? residual.values.data() + first * residual.stride : nullptr,
            .ldr = residual.stride},
           static_cast<std::byte*>(scratch.data()));
    return y;
  }
  double exact(Index r, Index c, bool extras) const {
    double sum =
        extras ? double(bias.values[std::size_t(c)]) + double(residual.values[std::size_t(r * residual.stride + c)])
               : 0;
    for (Index i = 0; i < k; ++i)
      sum += double(to_float(to_bf16(x.values[std::size_t(r * x.stride + i)]))) *
             double(to_float(w[std::size_t(c * k + i)]));
    return sum;
  }
};

constexpr cpu::Multiplier kEmulated = cpu::amx::multiplier<EmulatedTiles>();

}  // namespace

TEST_CASE("amx: products at every edge of a tile, a panel and a block of k") {
  for (const Index m : {1, 2, 16, 17, 33, 96, 115})
    for (const Index n : {1, 16, 31, 33, 64})
      for (const Index k : {1, 31, 32, 97, 512, 551})
        for (const bool extras : {false, true}) {
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(k);
          const TileProduct c(m, n, k);
          const std::vector<float> y = c.run(kEmulated, 0, m, extras);
          for (Index r = 0; r < m; ++r)
            for (Index j = 0; j < n; ++j)  // k products of normal numbers, summed in fp32
              REQUIRE(y[std::size_t(r * n + j)] == doctest::Approx(c.exact(r, j, extras)).epsilon(1e-4));
        }
}

TEST_CASE("amx: a row has the same bits alone and in any batch") {
  const TileProduct c(115, 70, 1100);
  const std::vector<float> all = c.run(kEmulated, 0, c.m, true);
  for (const Index count : {1, 2, 19}) {
    const std::vector<float> some = c.run(kEmulated, 7, count, true);
    for (std::size_t i = 0; i < some.size(); ++i) REQUIRE(some[i] == all[std::size_t(7 * c.n) + i]);
  }
}

TEST_CASE("amx: the machine's tiles give the bits of the emulation" * doctest::skip(!cpu::has_amx())) {
  const TileProduct c(50, 70, 1100);
  for (const Index count : {1, 50})
    CHECK(c.run(cpu::amx::kernels().bf16_product, 0, count, true) == c.run(kEmulated, 0, count, true));
}

TEST_CASE("amx: transpose" * doctest::skip(cpu::best_isa() < cpu::Isa::kAvx512)) {
  std::array<float, 256> from, to;
  for (std::size_t i = 0; i < 256; ++i) from[i] = float(i);
  cpu::amx::transpose(to.data(), from.data());
  for (std::size_t i = 0; i < 256; ++i) REQUIRE(to[i % 16 * 16 + i / 16] == from[i]);
}
#endif

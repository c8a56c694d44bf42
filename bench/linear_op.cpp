// linear at any shape and format. Weights are read from DRAM, as in a model: copies of them take turns, but for small
// ones.
#include <memory>

#include "facellava/ref/device.hpp"
#include "prepared_op.hpp"
#include "random_matrix.hpp"

namespace facellava::bench {
namespace {

using Matrix = StoredTensor<Host, kDyn, kDyn>;

struct LinearOp {
  static constexpr std::size_t kMost = 64;  // copies: small matrices stay in a cache
  Index m, n, k;
  RandomMatrices matrices{1};
  std::vector<Matrix> copies;
  std::size_t turn = 0;
  std::vector<float> x, y;

  LinearOp(const std::vector<Index>& shape, Format f) : m(shape[0]), n(shape[1]), k(shape[2]) {
    const Index bytes = n * row_bytes(f, k), enough = 4 * cache_sizes().l3;
    for (Index held = 0; held == 0 || (held < enough && copies.size() < kMost); held += bytes)
      copies.push_back(matrices.add(f, n, k));
    x.resize(std::size_t(m * k));
    y.resize(std::size_t(m * n));
    Rng rng(2);
    fill(x.begin(), x.end(), 1, rng);
  }
  void run(cpu::Device& dev) {
    linear(dev, View<float, Host, kDyn, kDyn>(y.data(), m, n), View<const float, Host, kDyn, kDyn>(x.data(), m, k),
           copies[turn], None{}, None{});
    turn = (turn + 1) % copies.size();
  }
  // The largest |y − ref| / sqrt(Σ x² w²) over all rows and 32 columns, the first and the last among them.
  double error(cpu::Device& dev) {
    const Matrix& w = copies[turn];
    run(dev);
    ref::Device oracle;
    const std::vector<double> exact_x(x.begin(), x.end());
    const View<const double, Host, kDyn, kDyn> rows(exact_x.data(), m, k);
    std::vector<double> column(static_cast<std::size_t>(m)), row(static_cast<std::size_t>(k));
    const View<double, Host, kDyn, kDyn> expected(column.data(), m, Index(1));
    const Index sample = std::min<Index>(n, 32);
    double worst = 0;
    for (Index s = 0; s < sample; ++s) {
      const Index j = sample == 1 ? 0 : s * (n - 1) / (sample - 1);
      linear(oracle, expected, rows, Matrix{w.row(j), w.format, {1, k}, w.nf4}, None{}, None{});
      for (Index c = 0; c < k; ++c) row[std::size_t(c)] = double(w(j, c));
      for (Index r = 0; r < m; ++r) {
        double squares = 0;
        for (Index c = 0; c < k; ++c) squares += std::pow(rows(r, c) * row[std::size_t(c)], 2);
        worst = std::max(worst, std::abs(double(y[std::size_t(r * n + j)]) - expected(r, 0)) / std::sqrt(squares));
      }
    }
    return worst;
  }
};

// Of the error above. A sum of k terms in fp32 grows like sqrt(k), and so does what its roundings add up to. x rounded
// to bf16 is wrong by up to 2^-9 of each term, x in int8 by up to 1/254 of its block's largest: random, and the largest
// of some ten thousand outputs stands five times beyond the mean.
double linear_tolerance(Unit unit, Index k) {
  const double sums = 1e-7 * std::max(8., std::sqrt(double(k)));
  return sums + (unit == Unit::kBf16 ? 0x1p-7 : unit == Unit::kInt8 ? 0.025 : 0);
}

}  // namespace

PreparedOp prepare_linear(cpu::Device& dev, const std::vector<Index>& shape, Format weights) {
  const auto op = std::make_shared<LinearOp>(shape, weights);
  const double m = double(op->m), n = double(op->n), k = double(op->k);
  const double bytes = double(op->n * row_bytes(weights, op->k));
  const Unit unit = unit_of(weights, dev);
  return {[op, &dev] { op->run(dev); },
          [op, &dev] { return op->error(dev); },
          linear_tolerance(unit, op->k),
          {2 * m * n * k, bytes, unit, tier_of(bytes * double(op->copies.size()), dev.threads())}};
}

}  // namespace facellava::bench

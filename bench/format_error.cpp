// What each storage format costs one layer: the error of y = x Wᵀ against double, for W and x from files.
//   format_error W.npy X.npy     W [n, k], X [m, k]; prints {"q4": rms(y − exact) / rms(exact), ...}
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>

#include "facellava/core/quantise.hpp"
#include "facellava/cpu/device.hpp"
#include "facellava/io/npy.hpp"

using namespace facellava;

namespace {

struct Coded {
  std::vector<std::byte> rows;
  Nf4Matrix nf4;
  Nf4Scales scales;
  StoredTensor<Host, kDyn, kDyn> matrix;

  Coded(Format f, const std::vector<float>& w, Index n, Index k) {
    if (f == Format::kNf4) {
      nf4 = quantise_nf4(w.data(), n * k);
      scales = {nf4.packed.data(), nf4.absmax.data(), nf4.nested.data(), nf4.offset};
      matrix = {nf4.packed.data(), f, {n, k}, &scales};
      return;
    }
    const Index step = row_bytes(f, k);
    rows.resize(std::size_t(n * step));
    for (Index r = 0; r < n; ++r) quantise_row(f, rows.data() + r * step, w.data() + r * k, k);
    matrix = {rows.data(), f, {n, k}, nullptr};
  }
};

std::vector<double> exact(const std::vector<double>& w, const std::vector<double>& x, Index m, Index n, Index k) {
  std::vector<double> y;
  for (Index r = 0; r < m; ++r)
    for (Index j = 0; j < n; ++j)
      y.push_back(std::inner_product(x.begin() + r * k, x.begin() + (r + 1) * k, w.begin() + j * k, 0.));
  return y;
}

nlohmann::json errors(const io::Npy& w, const io::Npy& x) {
  if (w.shape.size() != 2 || x.shape.size() != 2 || w.shape[1] != x.shape[1])
    throw Error(ErrorKind::kArgument, "expected W [n, k] and X [m, k]");
  const Index n = w.shape[0], k = w.shape[1], m = x.shape[0];
  const std::vector<double> want = exact(w.values, x.values, m, n, k);
  const std::vector<float> weights(w.values.begin(), w.values.end()), input(x.values.begin(), x.values.end());
  cpu::Device dev({.precision = cpu::Precision::kNative});
  nlohmann::json result;
  for (const Format f : kFormats) {
    const Coded coded(f, weights, n, k);
    std::vector<float> y(want.size());
    linear(dev, View<float, Host, kDyn, kDyn>(y.data(), m, n), View<const float, Host, kDyn, kDyn>(input.data(), m, k),
           coded.matrix, None{}, None{});
    double error = 0, all = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      error += std::pow(y[i] - want[i], 2);
      all += std::pow(want[i], 2);
    }
    result[format_name(f)] = std::sqrt(error / all);
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The error of one layer in each storage format"};
  std::string w, x;
  app.add_option("W", w, "weights, .npy [n, k]")->required();
  app.add_option("X", x, "activations, .npy [m, k]")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    std::printf("%s\n", errors(io::read_npy(w), io::read_npy(x)).dump().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

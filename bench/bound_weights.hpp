// Gives the leaves of a Params their weights: random ones, or those of a checkpoint.
#pragma once
#include <span>

#include "facellava/io/npy.hpp"
#include "facellava/io/weights.hpp"
#include "random_matrix.hpp"

namespace facellava::bench {

class BoundWeights {
 public:
  explicit BoundWeights(Format format) : format_(format) {}

  // visit_params(visitor): as of io::Weights.
  void fill_random(auto&& visit_params) { visit_params(*this); }
  void read(const std::string& folder, std::span<const io::Rename> rules, auto&& visit_params) {
    files_.add(std::make_shared<io::Checkpoint>(folder), rules, [](std::string_view) { return true; });
    const io::Report report = files_.bind(leaves_from(visit_params), format_);
    if (!report.missing.empty() || !report.misshaped.empty())
      throw Error(ErrorKind::kFormat, folder + ":\n" + report.text());
  }

  template <Index R, Index C>
  void operator()(const std::string&, StoredTensor<Host, R, C>& leaf) {
    const bool fits = format_ != Format::kNf4 || C % kNf4Block == 0;
    const auto w = matrices_.add(fits ? format_ : Format::kBf16, R, C);
    leaf = {w.data, w.format, {R, C}, w.nf4};
  }
  template <Index N>
  void operator()(const std::string& name, View<const float, Host, N>& leaf) {
    auto& values = vectors_.emplace_back(std::size_t(N));
    fill(values.begin(), values.end(), 0.02, rng_);
    if (name.ends_with("weight"))
      for (float& v : values) v += 1;  // of a norm
    leaf = View<const float, Host, N>(values.data());
  }

 private:
  Format format_;
  Rng rng_{1};
  RandomMatrices matrices_{2};
  std::list<std::vector<float>> vectors_;
  io::Weights files_;
};

// Bytes of the matrices of a Params.
inline Index matrix_bytes(auto&& visit_params) {
  Index bytes = 0;
  visit_params([&]<class Leaf>(const std::string&, const Leaf& leaf) {
    if constexpr (requires { leaf.format; }) bytes += leaf.rows() * row_bytes(leaf.format, leaf.size(1));
  });
  return bytes;
}

inline std::vector<float> read_floats(const std::string& file, Index expected) {
  const io::Npy npy = io::read_npy(file);
  check_equal(expected, Index(npy.values.size()), file + ": numbers");
  return {npy.values.begin(), npy.values.end()};
}

// Root mean square of found − expected, relative to that of expected.
inline double relative_difference(const float* found, const std::vector<float>& expected) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(double(found[i]) - double(expected[i]), 2);
    size += std::pow(double(expected[i]), 2);
  }
  return std::sqrt(error / size);
}

}  // namespace facellava::bench

// An op on the CUDA device against the reference device in double.
#pragma once
#include <doctest/doctest.h>

#include <cmath>

#include "cuda_emulation/on_device.hpp"
#include "facellava/cuda/backward_device.hpp"
#include "facellava/ref/device.hpp"

namespace facellava::test {

inline constexpr double kEps = 0x1p-24;
// Of a product's sums of k terms, relative to the largest result.
inline double linear_tolerance(Index k) { return 4 * kEps * std::sqrt(double(k)) + 4 * kEps; }
inline constexpr Write kWrites[] = {Write::kAssign, Write::kAccumulate};

// run(dev, in, out, ids): inputs are read, outputs begin with random numbers and keep what lies between their rows.
// Aligned, twice, which must give the same bits; then 4 bytes off, where no access is wide.
void check_op(const std::vector<Random<float>>& inputs, const std::vector<Random<float>>& outputs,
              const std::vector<int>& ids, double tolerance, auto run) {
  const auto widen = [](const std::vector<Random<float>>& v) {
    std::vector<Random<double>> o;
    for (const auto& x : v) o.push_back(x.template as<double>());
    return o;
  };
  ref::Device ref;
  auto wide_in = widen(inputs), want = widen(outputs);
  run(ref, wide_in, want, array(ids));

  cuda::BackwardDevice dev(kSmallDevice);
  const ArrayOnDevice<int> on_device(dev, ids);
  for (Index shift : {0, 1}) {
    CAPTURE(shift);
    const auto upload = [&](const std::vector<Random<float>>& v) {
      std::vector<OnDevice> o;
      for (const auto& x : v) o.emplace_back(dev, x, shift);
      return o;
    };
    const auto in = upload(inputs), first = upload(outputs), second = upload(outputs);
    run(dev, in, first, on_device.view());
    if (shift == 0) run(dev, in, second, on_device.view());
    dev.synchronize();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      CAPTURE(i);
      const Random<float> got = first[i].get();
      CHECK(error(got, want[i], outputs[i]) < tolerance);
      if (shift == 0) CHECK(got.values == second[i].get().values);
    }
  }
}

}  // namespace facellava::test

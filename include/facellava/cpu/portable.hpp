// The kernels by Eigen, at the program's own baseline: any processor. Every output is one dot product along K.
#pragma once
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "facellava/cpu/kernels.hpp"

namespace facellava::cpu::portable {

using Row = Eigen::Map<const Eigen::ArrayXf>;
using RowOut = Eigen::Map<Eigen::ArrayXf>;

inline void widen(float* y, const std::byte* row, Format f, Index first, Index n, const Nf4Scales* nf4) {
  for (Index k = 0; k < n; ++k) y[k] = decode(f, row, first + k, nf4);
}

// A panel is a row of x.
inline Index panels(Index m) { return m; }
inline Index panel_bytes(Index, Index k) { return k * Index(sizeof(float)); }
inline void pack(std::byte* panel, const float* x, Index ldx, Index, Index k, Index index) {
  std::memcpy(panel, x + index * ldx, std::size_t(k) * sizeof(float));
}
inline void product(const Product& p, std::byte*) {
  Eigen::VectorXf wide(p.format == Format::kF32 ? 0 : p.k);
  for (Index j = 0; j < p.n; ++j) {
    const std::byte* row = p.w + j * p.w_step;
    if (p.format != Format::kF32) widen(wide.data(), row, p.format, 0, p.k, p.nf4);
    const float* data = p.format == Format::kF32 ? reinterpret_cast<const float*>(row) : wide.data();
    const Eigen::Map<const Eigen::VectorXf> w(data, p.k);
    for (Index i = 0; i < p.m; ++i) {
      float v = w.dot(Eigen::Map<const Eigen::VectorXf>(reinterpret_cast<const float*>(p.x) + i * p.k, p.k));
      if (p.bias) v += p.bias[j];
      if (p.residual) v += p.residual[i * p.ldr + j];
      p.y[i * p.ldy + j] = v;
    }
  }
}

inline float rms_norm(float* y, const float* x, const float* w, Index n, float eps) {
  const Row v(x, n);
  const float rstd = 1 / std::sqrt(v.square().mean() + eps);
  RowOut(y, n) = v * rstd * Row(w, n);
  return rstd;
}
inline void layer_norm(float* y, float* mean, float* rstd, const float* x, const float* w, const float* b, Index n,
                       float eps) {
  const Row v(x, n);
  *mean = v.mean();
  *rstd = 1 / std::sqrt((v - *mean).square().mean() + eps);
  RowOut(y, n) = (v - *mean) * *rstd * Row(w, n) + Row(b, n);
}
inline void gelu(float* y, const float* x, Index n) {
  for (Index k = 0; k < n; ++k) y[k] = 0.5f * x[k] * (1 + std::erf(x[k] * 0.70710678f));
}
inline void swiglu(float* y, const float* gate, const float* up, Index n) {
  for (Index k = 0; k < n; ++k) y[k] = gate[k] / (1 + std::exp(-gate[k])) * up[k];
}
inline void axpy(float* y, const float* x, float a, Index n) { RowOut(y, n) += a * Row(x, n); }
inline void rope(float* x, const float* cosine, const float* sine, float sign, Index half) {
  for (Index k = 0; k < half; ++k) {
    const float a = x[k], b = x[half + k], s = sign * sine[k];
    x[k] = a * cosine[k] - b * s;
    x[half + k] = b * cosine[k] + a * s;
  }
}
inline Extremum log_sum_exp(const float* x, Index n) {
  Extremum e{x[0], 0};
  for (Index k = 1; k < n; ++k) e.top = std::max(e.top, x[k]);
  for (Index k = 0; k < n; ++k) e.sum += std::exp(x[k] - e.top);
  return e;
}
inline Extremum softmax(float* x, Index n) {
  if (n == 0) return {0, 1};
  const Extremum e = log_sum_exp(x, n);
  for (Index k = 0; k < n; ++k) x[k] = std::exp(x[k] - e.top) / e.sum;
  return e;
}
template <class T>
void weigh(float* o, Index ldo, const float* p, Index ldp, const T* v, Index ldv, Index m, Index n, Index d) {
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j)
      for (Index c = 0; c < d; ++c) o[i * ldo + c] += p[i * ldp + j] * to_float(v[j * ldv + c]);
}
inline void round_bf16(bf16* y, const float* x, Index n) { std::transform(x, x + n, y, to_bf16); }

inline const Kernels& kernels() {
  static constexpr Kernels table{
      .exact = {panels, panel_bytes, pack, 0, product, 48},
      .bf16_product = {},
      .q8_product = {},
      .q4_product = {},
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .gelu = gelu,
      .swiglu = swiglu,
      .axpy = axpy,
      .rope = rope,
      .softmax = softmax,
      .log_sum_exp = log_sum_exp,
      .widen = widen,
      .weigh = weigh<float>,
      .weigh_bf16 = weigh<bf16>,
      .round_bf16 = round_bf16,
  };
  return table;
}

}  // namespace facellava::cpu::portable

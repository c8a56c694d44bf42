// The kernels of backward for every instruction set: vectors from the text of backward.inl, and plain loops.
#pragma once
#include "facellava/cpu/avx512.hpp"
#include "facellava/cpu/backward_kernels.hpp"
#include "facellava/cpu/portable.hpp"

#if FACELLAVA_X86

#define FACELLAVA_TARGET __attribute__((target("avx2,fma,f16c")))
namespace facellava::cpu::avx2 {
inline constexpr int kOuterM = 6, kOuterV = 2;
FACELLAVA_TARGET inline Reg square_root(Reg a) { return _mm256_sqrt_ps(a); }
#include "facellava/cpu/backward.inl"
}  // namespace facellava::cpu::avx2
#undef FACELLAVA_TARGET

#define FACELLAVA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
namespace facellava::cpu::avx512 {
inline constexpr int kOuterM = 6, kOuterV = 4;
FACELLAVA_TARGET inline Reg square_root(Reg a) { return _mm512_maskz_sqrt_ps(kAll, a); }
#include "facellava/cpu/backward.inl"
}  // namespace facellava::cpu::avx512
#undef FACELLAVA_TARGET

#endif

namespace facellava::cpu::portable {

// v in strips, as BackwardKernels has it.
inline constexpr Index kStrip = 16;
inline void outer(float* o, Index ldo, const float* p, Index ldp, const float* v, Index m, Index n, Index d) {
  for (Index c = 0; c < d; c += kStrip, v += n * kStrip)
    weigh(o + c, ldo, p, ldp, v, kStrip, m, n, std::min(kStrip, d - c));
}
inline void transpose(float* to, Index ldt, const float* from, Index ldf, Index rows, Index columns) {
  for (Index c = 0; c < columns; ++c)
    for (Index r = 0; r < rows; ++r) to[c * ldt + r] = from[r * ldf + c];
}
inline float dot(const float* a, const float* b, Index n) { return (Row(a, n) * Row(b, n)).sum(); }
inline void norm_backward(float* dx, const float* dy, const float* mean, float rstd, const float* x, const float* w,
                          Index n, Write write) {
  const float m = mean ? *mean : 0;
  float plain = 0, along = 0;  // means of w dy and of w dy x̂
  for (Index k = 0; k < n; ++k) {
    plain += w[k] * dy[k];
    along += w[k] * dy[k] * (x[k] - m) * rstd;
  }
  plain = mean ? plain / float(n) : 0;
  along /= float(n);
  for (Index k = 0; k < n; ++k) {
    const float v = rstd * (w[k] * dy[k] - plain - (x[k] - m) * rstd * along);
    dx[k] = write == Write::kAccumulate ? dx[k] + v : v;
  }
}
inline void norm_dw(float* dw, const float* dy, float mean, float rstd, const float* x, Index n) {
  RowOut(dw, n) += Row(dy, n) * (Row(x, n) - mean) * rstd;
}
inline void gelu_backward(float* dx, const float* dy, const float* x, Index n) {
  for (Index k = 0; k < n; ++k) {
    const float below = 0.5f * (1 + std::erf(x[k] * 0.70710678f));
    dx[k] = dy[k] * (below + x[k] * 0.39894228f * std::exp(-0.5f * x[k] * x[k]));
  }
}
inline void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up, Index n) {
  for (Index k = 0; k < n; ++k) {
    const float s = 1 / (1 + std::exp(-gate[k])), d = dy[k];
    dup[k] = d * gate[k] * s;
    dgate[k] = d * up[k] * s * (1 + gate[k] * (1 - s));
  }
}
inline void softmax_backward(float* x, float top, float factor, Index n) {
  for (Index k = 0; k < n; ++k) x[k] = factor * std::exp(x[k] - top);
}
inline void attention_backward(float* s, float* dp, const float* lse, const float* whole, float scale, Index n) {
  for (Index k = 0; k < n; ++k) {
    s[k] = std::exp(scale * s[k] - lse[k]);
    dp[k] = s[k] * (dp[k] - whole[k]) * scale;
  }
}
inline float sum_squares(const float* x, Index n) { return dot(x, x, n); }
inline void adamw(float* w, float* m, float* v, const float* g, const AdamWStep& how, Index n) {
  for (Index k = 0; k < n; ++k) {
    const float d = how.scale * g[k];
    m[k] = how.beta1 * m[k] + how.rest1 * d;
    v[k] = how.beta2 * v[k] + how.rest2 * d * d;
    w[k] -= how.decay * w[k] + how.rate * m[k] / (std::sqrt(v[k]) * how.root + how.epsilon);
  }
}
inline void sgd(float* w, float* m, const float* g, const SgdStep& how, Index n) {
  for (Index k = 0; k < n; ++k) {
    float d = how.scale * g[k] + how.decay * w[k];
    if (m) d = m[k] = how.momentum * m[k] + d;
    w[k] -= how.rate * d;
  }
}

inline const BackwardKernels& backward_kernels() {
  static constexpr BackwardKernels table{
      .strip = kStrip,
      .outer = outer,
      .transpose = transpose,
      .dot = dot,
      .norm = norm_backward,
      .norm_dw = norm_dw,
      .gelu = gelu_backward,
      .swiglu = swiglu_backward,
      .softmax = softmax_backward,
      .attention = attention_backward,
      .sum_squares = sum_squares,
      .adamw = adamw,
      .sgd = sgd,
  };
  return table;
}

}  // namespace facellava::cpu::portable

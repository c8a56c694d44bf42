// The table of kernels that one instruction set fills for backward; cpu::BackwardOps calls these and those of
// kernels.hpp. Reductions have one fixed order, as there.
#pragma once
#include "facellava/core/sequence.hpp"
#include "facellava/cpu/kernels.hpp"

namespace facellava::cpu {

// What a step of AdamW is for every element.
struct AdamWStep {
  float scale, beta1, rest1, beta2, rest2;  // rest: 1 − beta
  float rate, root, epsilon, decay;         // rate / (1 − β₁ᵗ), 1 / sqrt(1 − β₂ᵗ), rate · decay
};
struct SgdStep {
  float scale, rate, momentum, decay;
};

struct BackwardKernels {
  // o[i, :] += Σ_j p[i, j] v[j, :], j ascending: m rows of p and o, n rows of v, d columns. v in strips of `strip`
  // columns, one behind the other: [strip][n][strip].
  Index strip;
  void (*outer)(float* o, Index ldo, const float* p, Index ldp, const float* v, Index m, Index n, Index d);
  void (*transpose)(float* to, Index ldt, const float* from, Index ldf, Index rows, Index columns);
  float (*dot)(const float* a, const float* b, Index n);

  // One row of n. mean: null for RMSNorm.
  void (*norm)(float* dx, const float* dy, const float* mean, float rstd, const float* x, const float* w, Index n,
               Write write);
  void (*norm_dw)(float* dw, const float* dy, float mean, float rstd, const float* x, Index n);  // dw += dy x̂
  void (*gelu)(float* dx, const float* dy, const float* x, Index n);
  void (*swiglu)(float* dgate, float* dup, const float* dy, const float* gate, const float* up, Index n);
  void (*softmax)(float* x, float top, float factor, Index n);  // in place: factor · exp(x − top)
  // One key and n queries: s = exp(scale · s − lse), dp = s (dp − whole) scale, in place.
  void (*attention)(float* s, float* dp, const float* lse, const float* whole, float scale, Index n);

  float (*sum_squares)(const float* x, Index n);
  void (*adamw)(float* w, float* m, float* v, const float* g, const AdamWStep&, Index n);
  void (*sgd)(float* w, float* m, const float* g, const SgdStep&, Index n);  // m may be null
};

}  // namespace facellava::cpu

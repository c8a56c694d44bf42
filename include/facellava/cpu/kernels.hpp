// The table of kernels that one instruction set fills; cpu::Device calls nothing else.
//
// Same bits for the same row: a product is one dot product along K in a fixed order (lanes along K, k ascending, one
// final reduction), so any tile, block, batch and thread count give identical bits. Rows of norms and softmax likewise.
#pragma once
#include "facellava/core/weight.hpp"

namespace facellava::cpu {

// y[i, j] = Σ_k x[i, k] w[j, k] + bias[j] + residual[i, j], for m rows of x and n rows of w. bias and residual may be
// null; residual may be y.
struct Product {
  float* y;
  Index ldy;
  const std::byte* x = nullptr;  // as the Multiplier packs it
  const std::byte* w;
  Index w_step;  // bytes from a row of w to the next
  Format format;
  const Nf4Scales* nf4 = nullptr;
  Index m, n, k;
  const float* bias = nullptr;
  const float* residual = nullptr;
  Index ldr = 0;
};

// One way to multiply: how x is rounded and laid out, and the product.
// x is packed once, in panels of a few rows, step of k by step of k: [panel][step][row][values], zeros beyond m and k.
struct Multiplier {
  Index (*panels)(Index m);
  Index (*panel_bytes)(Index m, Index k);
  void (*pack)(std::byte* panel, const float* x, Index ldx, Index m, Index k, Index index);  // one panel
  Index scratch_bytes;  // of one run, aligned to 64
  void (*run)(const Product&, std::byte* scratch);
  Index columns;  // rows of w: a thread's least share
};

struct Extremum {
  float top, sum;  // maximum and Σ exp(x − maximum)
};

struct Kernels {
  // exact: x stays fp32, any format is widened to fp32. The others round x to the hardware's operand; their run is null
  // where there is none.
  Multiplier exact, bf16_product, q8_product, q4_product;
  const Multiplier* native(Format) const;  // null where there is none

  // One row of n.
  float (*rms_norm)(float* y, const float* x, const float* w, Index n, float eps);  // returns rstd
  void (*layer_norm)(float* y, float* mean, float* rstd, const float* x, const float* w, const float* b, Index n,
                     float eps);
  void (*gelu)(float* y, const float* x, Index n);
  void (*swiglu)(float* y, const float* gate, const float* up, Index n);
  void (*axpy)(float* y, const float* x, float a, Index n);  // y += a x
  void (*rope)(float* x, const float* cosine, const float* sine, float sign, Index half);
  Extremum (*softmax)(float* x, Index n);            // in place; x = exp(x − top) / sum
  Extremum (*log_sum_exp)(const float* x, Index n);  // x stays
  void (*widen)(float* y, const std::byte* row, Format, Index first, Index n, const Nf4Scales*);  // elements [first, …)

  // o[i, :] += Σ_j p[i, j] v[j, :], j ascending: m rows of p and o, n keys, d columns.
  void (*weigh)(float* o, Index ldo, const float* p, Index ldp, const float* v, Index ldv, Index m, Index n, Index d);
  void (*weigh_bf16)(float* o, Index ldo, const float* p, Index ldp, const bf16* v, Index ldv, Index m, Index n,
                     Index d);
  void (*round_bf16)(bf16* y, const float* x, Index n);
};

inline const Multiplier* Kernels::native(Format f) const {
  const Multiplier* m = f == Format::kBf16 ? &bf16_product : f == Format::kQ8 ? &q8_product : &q4_product;
  return (f == Format::kBf16 || f == Format::kQ8 || f == Format::kQ4) && m->run ? m : nullptr;
}

}  // namespace facellava::cpu

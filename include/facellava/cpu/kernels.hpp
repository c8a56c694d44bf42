// The table of kernels that one instruction set fills; cpu::Device calls nothing else.
//
// Same bits for the same row: a product is one dot product along K in a fixed order (lanes along K, k ascending, one
// final reduction), so any tile, batch and thread count give identical bits. Rows of norms and softmax likewise.
#pragma once
#include "facellava/core/weight.hpp"

namespace facellava::cpu {

// y[i, j] = Σ_k x[i, k] w[j, k] + bias[j] + residual[i, j], for m rows of x and n rows of w. Strides in elements.
// x is fp32, or bf16 in the table's product_bf16. bias and residual may be null; residual may be y.
struct Product {
  float* y;
  Index ldy;
  const void* x;
  Index ldx;
  const std::byte* w;
  Index ldw;
  Index m, n, k;
  const float* bias;
  const float* residual;
  Index ldr;
};

struct Extremum {
  float top, sum;  // maximum and Σ exp(x − maximum)
};

struct Kernels {
  using ProductKernel = void (*)(const Product&);
  ProductKernel product[3];    // x fp32, w in the Format of that number
  ProductKernel product_bf16;  // x and w bf16; null where the hardware has no such product

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
  void (*round_bf16)(bf16* y, const float* x, Index n);

  // o[i, :] += Σ_j p[i, j] v[j, :], j ascending: m rows of p and o, n keys, d columns.
  void (*weigh)(float* o, Index ldo, const float* p, Index ldp, const float* v, Index ldv, Index m, Index n, Index d);
};

}  // namespace facellava::cpu

// y = x Wᵀ + bias + residual in fp32 by cuBLASLt. Host code.
//
// cuBLASLt counts columns first: our row-major y [rows, out] is its D [out, rows], W [out, in] its A [in, out]
// (transposed), x [rows, in] its B [in, rows]. An operand may lie turned, x as [in, rows], W as [in, out]: its
// transpose flag is the other one then. The bias runs along D's rows; the residual is C with beta = 1 and may be y
// itself. Compute type 32F: no TF32, no 16-bit products.
#pragma once
#include "facellava/cuda/runtime.cuh"

namespace facellava::cuda {

enum class Lies { kPlain, kTurned };

struct Gemm {
  float* y;
  const float *x, *w, *bias, *residual;  // bias, residual may be null
  Index rows, out, in, y_stride, x_stride, w_stride, residual_stride;
  Lies x_lies = Lies::kPlain, w_lies = Lies::kPlain;
};

using MatmulDesc = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using MatrixLayout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using MatmulPreference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

// All that cuBLASLt is told of one product. Needs no device.
struct MatmulPlan {
  MatmulDesc desc;
  MatrixLayout a, b, c, d;
  MatmulPreference preference;

  MatmulPlan(const Gemm& g, std::size_t workspace_bytes) {
    check(cublasLtMatmulDescCreate(&desc.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, g.w_lies == Lies::kPlain ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, g.x_lies == Lies::kPlain ? CUBLAS_OP_N : CUBLAS_OP_T);
    if (g.bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, g.bias);
    }
    layout(a, g.in, g.out, g.w_stride, g.w_lies);
    layout(b, g.in, g.rows, g.x_stride, g.x_lies);
    layout(c, g.out, g.rows, g.residual ? g.residual_stride : g.y_stride);
    layout(d, g.out, g.rows, g.y_stride);
    check(cublasLtMatmulPreferenceCreate(&preference.handle), "describing a product");
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(g.w));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(g.x));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(g.residual ? g.residual : g.y));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(g.y));
  }

 private:
  void set(cublasLtMatmulDescAttributes_t key, const auto& value) {
    check(cublasLtMatmulDescSetAttribute(desc, key, &value, sizeof value), "describing a product");
  }
  void prefer(cublasLtMatmulPreferenceAttributes_t key, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference, key, &value, sizeof value), "describing a product");
  }
  // A single column may have any step in our views, never less than its length here.
  static void layout(MatrixLayout& l, Index rows, Index columns, Index step, Lies lies = Lies::kPlain) {
    if (lies == Lies::kTurned) std::swap(rows, columns);
    check(cublasLtMatrixLayoutCreate(&l.handle, CUDA_R_32F, std::uint64_t(rows), std::uint64_t(columns),
                                     columns == 1 ? std::max(rows, step) : step),
          "describing a matrix");
  }
  // The largest power of two that divides the address; cuBLASLt assumes 256 unless told.
  static std::uint32_t alignment(const void* p) {
    const auto address = reinterpret_cast<std::uintptr_t>(p) | 256;
    return std::uint32_t(address & (~address + 1));
  }
};

// Queues the product. Error kDevice if cuBLASLt has no algorithm for it.
inline void matmul(const DeviceState& dev, const Gemm& g) {
  const MatmulPlan plan(g, dev.workspace.size());
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(dev.lt, plan.desc, plan.a, plan.b, plan.c, plan.d,
                                                               plan.preference, 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0))
    throw Error(ErrorKind::kDevice, "linear: cuBLASLt has no algorithm for " + std::to_string(g.rows) + " rows, " +
                                        std::to_string(g.in) + " inputs, " + std::to_string(g.out) + " outputs");
  check(status, "linear: choosing an algorithm");
  const float one = 1, beta = g.residual ? 1.f : 0.f;
  const float* c = g.residual ? g.residual : g.y;
  check(cublasLtMatmul(dev.lt, plan.desc, &one, g.w, plan.a, g.x, plan.b, &beta, c, plan.c, g.y, plan.d, &best.algo,
                       dev.workspace.data(), dev.workspace.size(), dev.stream),
        "linear");
}

}  // namespace facellava::cuda

// Stands in for libcublasLt at link time: the entry points that the library uses, NVIDIA's header, bodies on the CPU.
// Columns first, fp32 accumulation, factors on the host, epilogues DEFAULT and BIAS; everything else is refused. It
// checks what the real one may rely on: shapes, leading dimensions, extents, and the alignments that were promised.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>
#include <vector>

#include "emulator.hpp"

using namespace facellava::cuda_emulation;

namespace {

struct Desc {
  cublasComputeType_t compute;
  cublasOperation_t op_a = CUBLAS_OP_N, op_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct Layout {
  cudaDataType_t type;
  long long rows, columns, step;

  std::size_t element() const { return type == CUDA_R_32F ? 4 : 2; }
  std::size_t extent() const { return std::size_t((columns - 1) * step + rows) * element(); }
};
struct Preference {
  std::size_t workspace = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
};
// What an algorithm was chosen for; travels in cublasLtMatmulAlgo_t.
struct Chosen {
  std::uint32_t alignment[4];
  std::size_t workspace;
};
static_assert(sizeof(Chosen) <= sizeof(cublasLtMatmulAlgo_t));

template <class T, class H>
T& as(H handle) {
  return *reinterpret_cast<T*>(handle);
}
template <class T>
bool take(T& to, const void* from, std::size_t bytes) {
  if (bytes != sizeof to) return false;
  std::memcpy(&to, from, bytes);
  return true;
}
cublasStatus_t status(bool good) { return good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE; }
cublasStatus_t refuse(const char* why) {
  report(std::string("cublasLtMatmul: ") + why);
  return CUBLAS_STATUS_INVALID_VALUE;
}

float load(cudaDataType_t type, const void* p, long long i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(p)[i];
  if (type == CUDA_R_16BF) return float(static_cast<const __nv_bfloat16*>(p)[i]);
  return float(static_cast<const __half*>(p)[i]);
}

struct Matmul {
  Desc desc;
  Layout la, lb, lc, ld;
  const void *a, *b, *c;
  float *d, alpha, beta;
  long long m, n, k;

  const char* fault(const Chosen& chosen, std::size_t workspace) const {
    if ((desc.op_b == CUBLAS_OP_N ? lb.rows : lb.columns) != k) return "the inner dimensions differ";
    if (ld.rows != m || ld.columns != n || lc.rows != m || lc.columns != n) return "C or D has the wrong shape";
    for (const Layout& l : {la, lb, lc, ld})
      if (l.rows <= 0 || l.columns <= 0 || l.step < l.rows) return "an empty matrix or too small a leading dimension";
    if (ld.type != CUDA_R_32F || lc.type != CUDA_R_32F || desc.compute != CUBLAS_COMPUTE_32F)
      return "types that are not emulated";
    if (desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT && desc.epilogue != CUBLASLT_EPILOGUE_BIAS)
      return "an epilogue that is not emulated";
    if (!in_device(a, la.extent()) || !in_device(b, lb.extent()) || !in_device(c, lc.extent()) ||
        !in_device(d, ld.extent()))
      return "an operand leaves its device allocation";
    if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS && !in_device(desc.bias, std::size_t(m) * 4))
      return "the bias is not device memory";
    if (c == d && lc.step != ld.step) return "C is D with another leading dimension";
    const void* operands[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
      if (reinterpret_cast<std::uintptr_t>(operands[i]) % chosen.alignment[i] != 0)
        return "an operand lacks the alignment that was promised";
    return workspace < chosen.workspace ? "less workspace than was promised" : nullptr;
  }
  void run() const {
    std::vector<float> column(static_cast<std::size_t>(m));
    for (long long j = 0; j < n; ++j) {
      for (long long i = 0; i < m; ++i) {
        float sum = 0;
        for (long long l = 0; l < k; ++l)
          sum += load(la.type, a, desc.op_a == CUBLAS_OP_N ? l * la.step + i : i * la.step + l) *
                 load(lb.type, b, desc.op_b == CUBLAS_OP_N ? j * lb.step + l : l * lb.step + j);
        column[std::size_t(i)] = alpha * sum + (beta != 0 ? beta * load(lc.type, c, j * lc.step + i) : 0.f);
        if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) column[std::size_t(i)] += load(ld.type, desc.bias, i);
      }
      for (long long i = 0; i < m; ++i) d[j * ld.step + i] = column[std::size_t(i)];
    }
  }
};

}  // namespace

extern "C" {

const char* cublasLtGetStatusString(cublasStatus_t s) {
  return s == CUBLAS_STATUS_SUCCESS ? "success" : "error (emulated)";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete &as<int>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  *desc = reinterpret_cast<cublasLtMatmulDesc_t>(new Desc{compute});
  return status(scale == CUDA_R_32F);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete &as<Desc>(desc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t handle, cublasLtMatmulDescAttributes_t key,
                                              const void* value, size_t bytes) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Desc& d = as<Desc>(handle);
  switch (key) {
    case CUBLASLT_MATMUL_DESC_TRANSA: return status(take(d.op_a, value, bytes));
    case CUBLASLT_MATMUL_DESC_TRANSB: return status(take(d.op_b, value, bytes));
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return status(take(d.epilogue, value, bytes));
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return status(take(d.bias, value, bytes));
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t step) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
      new Layout{type, static_cast<long long>(rows), static_cast<long long>(columns), step});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &as<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete &as<Preference>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t handle,
                                                    cublasLtMatmulPreferenceAttributes_t key, const void* value,
                                                    size_t bytes) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Preference& p = as<Preference>(handle);
  switch (key) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return status(take(p.workspace, value, bytes));
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return status(take(p.alignment[0], value, bytes));
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return status(take(p.alignment[1], value, bytes));
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return status(take(p.alignment[2], value, bytes));
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return status(take(p.alignment[3], value, bytes));
    default: return CUBLAS_STATUS_INVALID_VALUE;
  }
}

// Always finds one, unless the inner dimension is kNoAlgorithm: so that tests can see an empty answer.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t handle, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  constexpr long long kNoAlgorithm = 4093;
  const Preference& p = as<Preference>(handle);
  *found = wanted > 0 && as<Layout>(a).rows != kNoAlgorithm;
  if (*found == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Chosen chosen{{p.alignment[0], p.alignment[1], p.alignment[2], p.alignment[3]}, p.workspace};
  results[0] = {};
  std::memcpy(&results[0].algo, &chosen, sizeof chosen);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb, const void* beta,
                              const void* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (fails()) return CUBLAS_STATUS_INTERNAL_ERROR;
  Chosen chosen;
  std::memcpy(&chosen, algo, sizeof chosen);
  Matmul p{as<Desc>(desc),
           as<Layout>(la),
           as<Layout>(lb),
           as<Layout>(lc),
           as<Layout>(ld),
           a,
           b,
           c,
           static_cast<float*>(d),
           *static_cast<const float*>(alpha),
           *static_cast<const float*>(beta),
           0,
           0,
           0};
  p.m = p.desc.op_a == CUBLAS_OP_N ? p.la.rows : p.la.columns;
  p.k = p.desc.op_a == CUBLAS_OP_N ? p.la.columns : p.la.rows;
  p.n = p.desc.op_b == CUBLAS_OP_N ? p.lb.columns : p.lb.rows;
  if (const char* why = p.fault(chosen, workspace_bytes)) return refuse(why);
  if (workspace_bytes > 0 && !in_device(workspace, workspace_bytes))
    return refuse("the workspace is not device memory");
  const cudaError_t e = enqueue(stream, [p] {
    const DeviceAccess access;
    p.run();
    return cudaSuccess;
  });
  return e == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"

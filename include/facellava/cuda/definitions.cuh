// The definitions of cuda::Device and cuda::Buffer. Exactly one .cu of a program includes this header.
#pragma once
#include "facellava/cuda/attention.cuh"
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/elementwise.cuh"
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/gemv.cuh"
#include "facellava/cuda/matmul.cuh"
#include "facellava/cuda/norm.cuh"
#include "facellava/cuda/region.cuh"
#include "facellava/cuda/region_fold.cuh"
#include "facellava/cuda/rope.cuh"
#include "facellava/cuda/rows.cuh"
#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/scores.cuh"

namespace facellava::cuda {

// ---- Buffer

Buffer::Buffer(int device, std::size_t bytes) : bytes_(bytes), device_(device) {
  if (bytes == 0) return;
  const CurrentDevice on(device);
  check(cudaMalloc(&data_, bytes), "allocating " + std::to_string(bytes) + " bytes of device memory");
}
Buffer::~Buffer() {
  if (data_) cudaFree(data_);  // finds the device by the address, waits for work that uses the memory
}
Buffer::Buffer(Buffer&& o) noexcept
    : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)), device_(o.device_) {}
Buffer& Buffer::operator=(Buffer&& o) noexcept {
  std::swap(data_, o.data_);
  std::swap(bytes_, o.bytes_);
  std::swap(device_, o.device_);
  return *this;
}

// ---- Device

Device::Device(const Options& o) : state_(std::make_unique<DeviceState>()) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "looking for CUDA devices");
  if (o.device < 0 || o.device >= count)
    throw Error(ErrorKind::kDevice,
                "expected a CUDA device below " + std::to_string(count) + ", found number " + std::to_string(o.device));
  DeviceState& dev = *state_;
  dev.device = o.device;
  const CurrentDevice on(dev.device);
  check(cudaStreamCreateWithFlags(&dev.stream.handle, cudaStreamNonBlocking), "creating a stream");
  check(cublasLtCreate(&dev.lt.handle), "starting cuBLASLt");
  dev.workspace = allocate(o.workspace_bytes);
  dev.scratch = allocate(o.scratch_bytes);
  dev.fault = allocate(sizeof(Fault));
  check(cudaMemsetAsync(dev.fault.data(), 0, sizeof(Fault), dev.stream), "clearing the fault word");
}
Device::~Device() = default;
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;

Buffer Device::allocate(std::size_t bytes) { return Buffer(state_->device, bytes); }
std::pmr::memory_resource* Device::memory() const { return &state_->memory; }
std::size_t Device::free_memory() const {
  const CurrentDevice on(state_->device);
  std::size_t free = 0, all = 0;
  check(cudaMemGetInfo(&free, &all), "asking for free device memory");
  return free;
}
CUstream_st* Device::stream() const { return state_->stream; }

// What kernels found by now is asked for before a copy and read after it: nothing that may fail stands between a copy
// of the program's memory and the wait for it.
inline void fetch_fault(DeviceState& dev) {
  check(cudaMemcpyAsync(&dev.found, dev.fault.data(), sizeof dev.found, cudaMemcpyDeviceToHost, dev.stream),
        "asking for faults");
}
inline void wait(DeviceState& dev, const char* what) {
  check(cudaStreamSynchronize(dev.stream), what);
  const Fault found = Fault(std::exchange(dev.found, 0));
  if (found == Fault::kNone) return;
  check(cudaMemsetAsync(dev.fault.data(), 0, sizeof found, dev.stream), "clearing the fault word");
  throw Error(ErrorKind::kShape, fault_text(found));
}

void Device::synchronize() {
  const CurrentDevice on(state_->device);
  fetch_fault(*state_);
  wait(*state_, "synchronize");
}

void Device::copy_rows(void* to, std::size_t to_step, const void* from, std::size_t from_step, std::size_t row_bytes,
                       std::size_t rows, Direction way) {
  constexpr cudaMemcpyKind kKinds[] = {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice};
  constexpr const char* kNames[] = {"upload", "download", "copy"};
  const cudaMemcpyKind kind = kKinds[int(way)];
  const char* what = kNames[int(way)];
  DeviceState& dev = *state_;
  const CurrentDevice on(dev.device);
  if (way != Direction::kWithin) fetch_fault(dev);
  if (row_bytes > 0 && rows > 0)
    check(rows == 1 ? cudaMemcpyAsync(to, from, row_bytes, kind, dev.stream)
                    : cudaMemcpy2DAsync(to, to_step, from, from_step, row_bytes, rows, kind, dev.stream),
          what);
  if (way != Direction::kWithin) wait(dev, what);
}

// ---- linear

// cuBLASLt takes no matrix whose rows overlap.
template <class V>
void check_rows_apart(const V& v, std::string_view what) {
  if (v.rows() > 1) check_at_most(v.stride, v.row_size(), std::string(what) + ", row and stride", ErrorKind::kShape);
}

void check_rows_apart(const Weight& w, std::string_view what) {
  if (w.rows > 1)
    check_at_most(w.step, row_bytes(w.format, w.width), std::string(what) + ", bytes of a row and step",
                  ErrorKind::kShape);
}

void Device::multiply(Mat y, CMat x, const Weight& w, const float* bias, CMat residual) {
  if (y.count() == 0) return;
  if (w.width == 0) throw Error(ErrorKind::kShape, "linear: expected at least one input, found 0");
  check_readable(w, "linear");
  if (residual.data == y.data && residual.stride != y.stride && y.rows() > 1)
    throw Error(ErrorKind::kArgument,
                "linear: expected the residual to be y or to lie apart, found y at another stride");
  check_rows_apart(y, "linear: y");
  check_rows_apart(x, "linear: x");
  check_rows_apart(w, "linear: W");
  if (residual.data) check_rows_apart(residual, "linear: residual");
  DeviceState& dev = *state_;
  const CurrentDevice on(dev.device);
  if (y.rows() <= kGemvRows) return gemv(dev, y, x, w, bias, residual);
  each_wide_block(dev, "linear", w, [&](const float* wide, Index stride, Index first, Index n) {
    matmul(dev, {.y = y.data + first,
                 .x = x.data,
                 .w = wide,
                 .bias = bias ? bias + first : nullptr,
                 .residual = residual.data ? residual.data + first : nullptr,
                 .rows = y.rows(),
                 .out = n,
                 .in = w.width,
                 .y_stride = y.stride,
                 .x_stride = x.stride,
                 .w_stride = stride,
                 .residual_stride = residual.stride});
  });
}

// ---- rows

void Device::embed_rows(Mat y, Array<int> ids, const Weight& w) {
  check_readable(w, "embed");
  const CurrentDevice on(state_->device);
  read_rows(*state_, "embed", y, ids, w, Write::kAssign, Fault::kEmbeddedId);
}
void Device::add_embedded(Mat y, Array<int> ids, const Weight& w) {
  check_readable(w, "add_rows");
  const CurrentDevice on(state_->device);
  read_rows(*state_, "add_rows", y, ids, w, Write::kAccumulate, Fault::kAddedId);
}
void Device::gather_rows(Mat y, CMat x, Array<int> index) {
  const CurrentDevice on(state_->device);
  read_rows(*state_, "gather_rows", y, index, weight_of(x), Write::kAssign, Fault::kGatheredRow);
}
void Device::im2col(Mat cols, CMat pixels, int side, int patch) {
  const CurrentDevice on(state_->device);
  cuda::im2col(*state_, cols, pixels, side, patch);
}

// ---- norms and elementwise

void Device::rms_norm(Mat y, Vec rstd, CMat x, CVec w, float eps) {
  const CurrentDevice on(state_->device);
  cuda::rms_norm(*state_, y, rstd, x, w, eps);
}
void Device::layer_norm(Mat y, Vec mean, Vec rstd, CMat x, CVec w, CVec b, float eps) {
  const CurrentDevice on(state_->device);
  cuda::layer_norm(*state_, y, mean, rstd, x, w, b, eps);
}
void Device::gelu(Mat y, CMat x) {
  const CurrentDevice on(state_->device);
  elementwise(*state_, "gelu", y, x, x, Gelu{});
}
void Device::swiglu(Mat y, CMat gate, CMat up) {
  const CurrentDevice on(state_->device);
  elementwise(*state_, "swiglu", y, gate, up, Swiglu{});
}
void Device::axpy(Mat y, CMat x, float a) {
  const CurrentDevice on(state_->device);
  elementwise(*state_, "axpy", y, x, y, Axpy{a});
}
void Device::rope(Ten x, Array<int> positions, CMat table, Rotate way) {
  const CurrentDevice on(state_->device);
  cuda::rope(*state_, x, positions, table, way);
}

// ---- attention

void Device::attention(Ten o, Mat lse, CTen q, CTen k, CTen v, Array<Sequence> sequences, Array<KvRange> ranges,
                       Mask mask, float scale) {
  const CurrentDevice on(state_->device);
  cuda::attention(*state_, o, lse, q, k, v, sequences, ranges, mask, scale);
}
void Device::attention(Ten o, Mat lse, CTen q, CBrainTen k, CBrainTen v, Array<Sequence> sequences,
                       Array<KvRange> ranges, Mask mask, float scale) {
  const CurrentDevice on(state_->device);
  cuda::attention(*state_, o, lse, q, k, v, sequences, ranges, mask, scale);
}
void Device::kv_append(Ten slab_k, Ten slab_v, CTen k, CTen v, Array<int> slots) {
  const CurrentDevice on(state_->device);
  cuda::kv_append(*state_, slab_k, slab_v, k, v, slots);
}
void Device::kv_append(BrainTen slab_k, BrainTen slab_v, CTen k, CTen v, Array<int> slots) {
  const CurrentDevice on(state_->device);
  cuda::kv_append(*state_, slab_k, slab_v, k, v, slots);
}

void Device::bias_regions(Mat bias, CMat points, const float* stored, float scale, RegionBias kind, ClassToken token,
                          int n) {
  const CurrentDevice on(state_->device);
  cuda::region_bias(*state_, bias, points, stored, scale, kind, token, n);
}
void Device::attend_regions(Ten o, Ten p, CTen q, CTen k, CTen v, CMat bias, float scale) {
  const CurrentDevice on(state_->device);
  cuda::region_attention(*state_, o, p, q, k, v, bias, scale);
}
void Device::fold_into_keys(Mat a, Vec c, CTen k, const Weight& w, const float* b) {
  check_readable(w, "fold_keys");
  const CurrentDevice on(state_->device);
  cuda::fold_keys(*state_, a, c, k, w, b);
}
void Device::fold_into_values(Mat a, CTen v, const Weight& w) {
  check_readable(w, "fold_values");
  const CurrentDevice on(state_->device);
  cuda::fold_values(*state_, a, v, w);
}
void Device::score_regions(Ten p, CMat x, CMat a, CVec c, CMat bias, float scale) {
  check_rows_apart(p, "region_scores: p");
  check_rows_apart(x, "region_scores: x");
  check_rows_apart(a, "region_scores: a");
  const CurrentDevice on(state_->device);
  cuda::region_scores(*state_, p, x, a, c, bias, scale);
}
void Device::sum_regions(Mat y, CTen p, CMat a, const float* b, CMat residual) {
  const CurrentDevice on(state_->device);
  cuda::region_sum(*state_, y, flat(p), a, b, residual);
}

// ---- words

void Device::log_prob(Vec scores, CMat logits, Array<int> ids) {
  const CurrentDevice on(state_->device);
  cuda::log_prob(*state_, scores, logits, ids);
}
void Device::argmax(View<int, Space, kDyn> ids, CMat logits) {
  const CurrentDevice on(state_->device);
  cuda::argmax(*state_, ids, logits);
}

}  // namespace facellava::cuda

#include "facellava/cuda/backward_definitions.cuh"

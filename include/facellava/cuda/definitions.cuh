// The definitions of cuda::Device and cuda::Buffer. Exactly one .cu of a program includes this header.
#pragma once
#include "facellava/cuda/attention.cuh"
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/fault.cuh"
#include "facellava/cuda/matmul.cuh"
#include "facellava/cuda/norm.cuh"
#include "facellava/cuda/runtime.cuh"

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
CUstream_st* Device::stream() const { return state_->stream; }

void Device::synchronize() {
  DeviceState& dev = *state_;
  const CurrentDevice on(dev.device);
  Fault found = Fault::kNone;
  check(cudaMemcpyAsync(&found, dev.fault.data(), sizeof found, cudaMemcpyDeviceToHost, dev.stream), "synchronize");
  check(cudaStreamSynchronize(dev.stream), "synchronize");
  if (found == Fault::kNone) return;
  check(cudaMemsetAsync(dev.fault.data(), 0, sizeof found, dev.stream), "clearing the fault word");
  throw Error(ErrorKind::kShape, fault_text(found));
}

void Device::copy_rows(void* to, std::size_t to_step, const void* from, std::size_t from_step, std::size_t row_bytes,
                       std::size_t rows, Direction way) {
  const auto kind = way == Direction::kUpload ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  const char* what = way == Direction::kUpload ? "upload" : "download";
  if (row_bytes > 0 && rows > 0) {
    const CurrentDevice on(state_->device);
    check(rows == 1 ? cudaMemcpyAsync(to, from, row_bytes, kind, state_->stream)
                    : cudaMemcpy2DAsync(to, to_step, from, from_step, row_bytes, rows, kind, state_->stream),
          what);
  }
  synchronize();
}

// ---- ops

// cuBLASLt takes no matrix whose rows overlap.
template <class V>
void check_rows_apart(const V& v, std::string_view what) {
  if (v.rows() > 1) check_at_most(v.stride, v.row_size(), std::string(what) + ", row and stride", ErrorKind::kShape);
}

void Device::rms_norm(Mat y, Vec rstd, CMat x, CVec w, float eps) {
  const CurrentDevice on(state_->device);
  cuda::rms_norm(*state_, y, rstd, x, w, eps);
}

void Device::multiply(Mat y, CMat x, const Weight& w, const float* bias, CMat residual) {
  if (y.count() == 0) return;
  if (w.width == 0) throw Error(ErrorKind::kShape, "linear: expected at least one input, found 0");
  if (is_block_format(w.format))
    throw Error(ErrorKind::kArgument,
                std::string("linear: expected f32, f16 or bf16 on this device, found ") + format_name(w.format));
  if (reinterpret_cast<std::uintptr_t>(w.data) % std::size_t(block_bytes(w.format)) != 0)
    throw Error(ErrorKind::kArgument, std::string("linear: expected a matrix aligned for ") + format_name(w.format));
  if (residual.data == y.data && residual.stride != y.stride && y.rows() > 1)
    throw Error(ErrorKind::kArgument,
                "linear: expected the residual to be y or to lie apart, found y at another stride");
  check_rows_apart(y, "linear: y");
  check_rows_apart(x, "linear: x");
  if (w.rows > 1) check_at_most(w.stride, w.width, "linear: row of W and its stride", ErrorKind::kShape);
  if (residual.data) check_rows_apart(residual, "linear: residual");
  DeviceState& dev = *state_;
  const CurrentDevice on(dev.device);
  Gemm g{y.data,   x.data,        static_cast<const float*>(w.data),
         bias,     residual.data, y.rows(),
         w.rows,   w.width,       y.stride,
         x.stride, w.stride,      residual.stride};
  if (w.format == Format::kF32) return matmul(dev, g);

  // As many rows of W at a time as the scratch holds, by 32s where it holds that many: aligned blocks stay aligned.
  const Index room = Index(dev.scratch.size() / sizeof(float)) / w.width, block = room >= 32 ? room / 32 * 32 : room;
  if (block == 0)
    throw Error(ErrorKind::kCapacity, "linear: expected scratch for a row of " + std::to_string(w.width) +
                                          " fp32 numbers, found " + std::to_string(dev.scratch.size()) + " bytes");
  float* wide = static_cast<float*>(dev.scratch.data());
  g.w = wide;
  g.w_stride = w.width;
  for (Index first = 0; first < w.rows; first += block) {
    g.out = std::min(block, w.rows - first);
    widen(dev, wide, static_cast<const std::byte*>(w.data) + first * w.width * block_bytes(w.format), w.format,
          g.out * w.width);
    g.y = y.data + first;
    if (bias) g.bias = bias + first;
    if (residual.data) g.residual = residual.data + first;
    matmul(dev, g);
  }
}

void Device::attention(Ten o, Mat lse, CTen q, CTen k, CTen v, Array<Sequence> sequences, Array<KvRange> ranges,
                       Mask mask, float scale) {
  const CurrentDevice on(state_->device);
  cuda::attention(*state_, o, lse, q, k, v, sequences, ranges, mask, scale);
}

}  // namespace facellava::cuda

#include "facellava/cuda/backward_definitions.cuh"

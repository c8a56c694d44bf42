// The CUDA device as any C++20 compiler sees it: plain members over views in device memory, no CUDA header, nothing
// that depends on a model. Its definitions stand in cuda/definitions.cuh, which one .cu of a program includes (CMake:
// facellava_add_cuda). Activations are fp32; a matrix is read in the format it is stored in.
//
// All work of a Device goes to a stream of its own, in order. Indices that lie in device memory (ids, sequences,
// ranges) cannot be checked before a kernel reads them: a bad one leaves the outputs unwritten, touches nothing out of
// range, and the next synchronize(), upload() or download() throws kShape. One thread at a time may call a device.
#pragma once
#include <cstddef>
#include <memory>

#include "facellava/core/ops.hpp"

struct CUstream_st;  // what a cudaStream_t points to

namespace facellava::cuda {

struct Space {};     // memory of the CUDA device
struct DeviceState;  // cuda/runtime.cuh

// Owned device memory, 256-byte aligned, uninitialised.
class Buffer {
 public:
  Buffer() = default;
  // Error kDevice if the device has no room.
  Buffer(int device, std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& o) noexcept;
  Buffer& operator=(Buffer&& o) noexcept;
  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  int device_ = 0;
};

struct Options {
  int device = 0;
  std::size_t workspace_bytes = std::size_t(32) << 20;  // cuBLASLt's
  std::size_t scratch_bytes = std::size_t(64) << 20;    // rows of a 16-bit matrix in fp32, partial sums
};

// The right operand of a product, as it lies: rows of one element format.
struct Weight {
  const void* data;
  Format format;
  Index rows, width, stride;
};

class Device {
 public:
  using Space = cuda::Space;
  template <class T>
  using Array = View<const T, Space, kDyn>;
  using Vec = View<float, Space, kDyn>;
  using CVec = View<const float, Space, kDyn>;
  using Mat = View<float, Space, kDyn, kDyn>;
  using CMat = View<const float, Space, kDyn, kDyn>;
  using Ten = View<float, Space, kDyn, kDyn, kDyn>;
  using CTen = View<const float, Space, kDyn, kDyn, kDyn>;
  using Stored = StoredTensor<Space, kDyn, kDyn>;

  // Error kDevice if there is no driver, no such device or no room.
  explicit Device(const Options& o = {});
  ~Device();
  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;

  // ---- memory

  Buffer allocate(std::size_t bytes);
  // Both return when the copy is done. Same sizes, rows may be strided.
  template <class T, class U, Index... D, Index... E>
  void upload(View<T, Space, D...> to, View<U, Host, E...> from) {
    copy_views(to, from, Direction::kUpload);
  }
  template <class T, class U, Index... D, Index... E>
  void download(View<T, Host, D...> to, View<U, Space, E...> from) {
    copy_views(to, from, Direction::kDownload);
  }
  void upload_bytes(void* to, const void* from, std::size_t bytes) {
    copy_rows(to, bytes, from, bytes, bytes, 1, Direction::kUpload);
  }
  void download_bytes(void* to, const void* from, std::size_t bytes) {
    copy_rows(to, bytes, from, bytes, bytes, 1, Direction::kDownload);
  }
  // Waits for all work so far. Error kShape for an index out of range, kDevice if the device failed.
  void synchronize();
  CUstream_st* stream() const;

  // ---- ops: core/ops.hpp

  void rms_norm(Mat y, Vec rstd, CMat x, CVec w, float eps);

  // fp32 products and sums, whatever the weight's format: a 16-bit matrix is widened block by block. cuBLASLt chooses
  // by shape, so a row's last bits may depend on the number of rows.
  template <class W, class B, class R>
  void linear(Mat y, CMat x, const W& w, const B& bias, R residual) {
    const float* added = nullptr;
    CMat c;
    if constexpr (kPresent<B>) added = bias.data;
    if constexpr (kPresent<R>) c = residual;
    multiply(y, x, weight_of(w), added, c);
  }

  // Head sizes up to 256; the heads of q a multiple of those of k.
  void attention(Ten o, Mat lse, CTen q, CTen k, CTen v, Array<Sequence> sequences, Array<KvRange> ranges, Mask mask,
                 float scale);

 protected:
  enum class Direction { kUpload, kDownload };

  static Weight weight_of(const Stored& w) { return {w.data, w.format, w.size(0), w.size(1), w.size(1)}; }
  static Weight weight_of(CMat w) { return {w.data, Format::kF32, w.size(0), w.size(1), w.stride}; }

  template <class To, class From>
  void copy_views(To to, From from, Direction way) {
    using T = typename To::Element;
    static_assert(std::is_same_v<T, std::remove_const_t<typename From::Element>>, "a copy converts no elements");
    static_assert(std::is_trivially_copyable_v<T> && To::kRank == From::kRank);
    for (int d = 0; d < To::kRank; ++d) check_equal(to.size(d), from.size(d), "copy between host and device: size");
    const std::size_t row = std::size_t(from.row_size()) * sizeof(T), rows = std::size_t(from.rows());
    if (to.contiguous() && from.contiguous())
      copy_rows(to.data, row * rows, from.data, row * rows, row * rows, 1, way);
    else
      copy_rows(to.data, std::size_t(to.stride) * sizeof(T), from.data, std::size_t(from.stride) * sizeof(T), row, rows,
                way);
  }
  // to_step, from_step: bytes from one row to the next.
  void copy_rows(void* to, std::size_t to_step, const void* from, std::size_t from_step, std::size_t row_bytes,
                 std::size_t rows, Direction way);
  // bias null: none; residual without data: none.
  void multiply(Mat y, CMat x, const Weight& w, const float* bias, CMat residual);

  std::unique_ptr<DeviceState> state_;
};

}  // namespace facellava::cuda

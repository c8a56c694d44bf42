// The CUDA device as any C++20 compiler sees it: plain members over views in device memory, no CUDA header, nothing
// that depends on a model. Its definitions stand in cuda/definitions.cuh, which one .cu of a program includes (CMake:
// facellava_add_cuda). Activations are fp32; a matrix is read in the format it is stored in.
//
// All work of a Device goes to a stream of its own, in order. Indices that lie in device memory (ids, sequences,
// ranges) cannot be checked before a kernel reads them: a bad one leaves the outputs unwritten, touches nothing out of
// range, and the next synchronize(), upload() or download() throws kShape. One thread at a time may call a device.
//
// A matrix in nf4 points to Nf4Scales in the program's memory, whose arrays lie in device memory.
#pragma once
#include <cstddef>
#include <memory>
#include <memory_resource>

#include "facellava/core/ops.hpp"

struct CUstream_st;  // what a cudaStream_t points to

namespace facellava::cuda {

struct Space {};        // memory of the CUDA device
struct DeviceState;     // cuda/runtime.cuh
class UploadedWeights;  // cuda/upload.hpp, for who asks models

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
  std::size_t scratch_bytes = std::size_t(64) << 20;    // rows of a matrix, widened to fp32; partial sums
};

// A matrix as it lies, in whatever format.
struct Weight {
  const void* data;
  Format format;
  Index rows, width, step;  // step: bytes from one row to the next
  Nf4Scales nf4;            // kNf4 only
};

class Device {
 public:
  using Space = cuda::Space;
  using Weights = UploadedWeights;
  template <class T>
  using Array = View<const T, Space, kDyn>;
  using Vec = View<float, Space, kDyn>;
  using CVec = View<const float, Space, kDyn>;
  using Mat = View<float, Space, kDyn, kDyn>;
  using CMat = View<const float, Space, kDyn, kDyn>;
  using Ten = View<float, Space, kDyn, kDyn, kDyn>;
  using CTen = View<const float, Space, kDyn, kDyn, kDyn>;
  using Stored = StoredTensor<Space, kDyn, kDyn>;
  using BrainTen = View<bf16, Space, kDyn, kDyn, kDyn>;
  using CBrainTen = View<const bf16, Space, kDyn, kDyn, kDyn>;

  // Error kDevice if there is no driver, no such device or no room.
  explicit Device(const Options& o = {});
  ~Device();
  Device(Device&&) noexcept;
  Device& operator=(Device&&) noexcept;

  // ---- memory

  Buffer allocate(std::size_t bytes);
  // Of device memory; lives as long as the device. Errors: as a Buffer's.
  std::pmr::memory_resource* memory() const;
  std::size_t free_memory() const;  // bytes that the device can still give
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

  // fp32 products and sums, whatever the weight's format. Up to four rows of x meet W as it is stored; for more it is
  // widened to fp32 block by block. cuBLASLt chooses by shape, so a row's last bits may depend on the number of rows.
  template <class W, class B, class R>
  void linear(Mat y, CMat x, const W& w, const B& bias, R residual) {
    multiply(y, x, weight_of(w), or_null<CVec>(bias).data, or_null<CMat>(residual));
  }

  template <class W>
  void embed(Mat y, Array<int> ids, const W& w) {
    embed_rows(y, ids, weight_of(w));
  }
  template <class W>
  void add_rows(Mat y, Array<int> ids, const W& w) {
    add_embedded(y, ids, weight_of(w));
  }
  void gather_rows(Mat y, CMat x, Array<int> index);
  void im2col(Mat cols, CMat pixels, int side, int patch);

  void rms_norm(Mat y, Vec rstd, CMat x, CVec w, float eps);
  void layer_norm(Mat y, Vec mean, Vec rstd, CMat x, CVec w, CVec b, float eps);
  void gelu(Mat y, CMat x);
  void swiglu(Mat y, CMat gate, CMat up);
  void axpy(Mat y, CMat x, float a);
  void rope(Ten x, Array<int> positions, CMat table, Rotate way);

  // Keys and values fp32 or bf16. Head sizes up to 256; the heads of q a multiple of those of k.
  void attention(Ten o, Mat lse, CTen q, CTen k, CTen v, Array<Sequence> sequences, Array<KvRange> ranges, Mask mask,
                 float scale);
  void attention(Ten o, Mat lse, CTen q, CBrainTen k, CBrainTen v, Array<Sequence> sequences, Array<KvRange> ranges,
                 Mask mask, float scale);
  void kv_append(Ten slab_k, Ten slab_v, CTen k, CTen v, Array<int> slots);
  void kv_append(BrainTen slab_k, BrainTen slab_v, CTen k, CTen v, Array<int> slots);

  template <class S>
  void region_bias(Mat bias, CMat points, S stored, float scale, RegionBias kind, ClassToken token, int n) {
    bias_regions(bias, points, or_null<CVec>(stored).data, scale, kind, token, n);
  }
  // Up to 32 regions.
  template <class B>
  void region_attention(Ten o, Ten p, CTen q, CTen k, CTen v, B bias, float scale) {
    attend_regions(o, p, q, k, v, or_null<CMat>(bias), scale);
  }
  template <class W, class B>
  void fold_keys(Mat a, Vec c, CTen k, const W& w, const B& b) {
    fold_into_keys(a, c, k, weight_of(w), or_null<CVec>(b).data);
  }
  template <class W>
  void fold_values(Mat a, CTen v, const W& w) {
    fold_into_values(a, v, weight_of(w));
  }
  template <class B>
  void region_scores(Ten p, CMat x, CMat a, CVec c, B bias, float scale) {
    score_regions(p, x, a, c, or_null<CMat>(bias), scale);
  }
  template <class B, class R>
  void region_sum(Mat y, CTen p, CMat a, const B& b, R residual) {
    sum_regions(y, p, a, or_null<CVec>(b).data, or_null<CMat>(residual));
  }

  void log_prob(Vec scores, CMat logits, Array<int> ids);
  void argmax(View<int, Space, kDyn> ids, CMat logits);
  template <class T, class F>
  void copy(T to, F from) {
    if (to.data != from.data || to.stride != from.stride) move_rows(to, from, Direction::kWithin);
  }

 protected:
  enum class Direction { kUpload, kDownload, kWithin };

  static Weight weight_of(const Stored& w) {
    return {w.data, w.format, w.size(0), w.size(1), row_bytes(w.format, w.size(1)), w.nf4 ? *w.nf4 : Nf4Scales{}};
  }
  template <class T>
  static Weight weight_of(View<const T, Space, kDyn, kDyn> w) {
    constexpr Format format = std::is_same_v<T, float> ? Format::kF32 : Format::kBf16;
    return {w.data, format, w.size(0), w.size(1), w.stride * Index(sizeof(T)), {}};
  }
  template <class V, class X>
  static V or_null(const X& x) {
    if constexpr (kPresent<X>)
      return x;
    else
      return {};
  }

  template <class To, class From>
  void copy_views(To to, From from, Direction way) {
    static_assert(std::is_trivially_copyable_v<typename To::Element> && To::kRank == From::kRank);
    for (int d = 0; d < To::kRank; ++d) check_equal(to.size(d), from.size(d), "copy between host and device: size");
    move_rows(to, from, way);
  }
  // Of as many rows, of as many elements.
  template <class To, class From>
  void move_rows(To to, From from, Direction way) {
    using T = typename To::Element;
    static_assert(std::is_same_v<T, std::remove_const_t<typename From::Element>>, "a copy converts no elements");
    const std::size_t row = std::size_t(from.row_size()) * sizeof(T), rows = std::size_t(from.rows());
    if (to.contiguous() && from.contiguous())
      copy_rows(to.data, row * rows, from.data, row * rows, row * rows, 1, way);
    else
      copy_rows(to.data, std::size_t(to.stride) * sizeof(T), from.data, std::size_t(from.stride) * sizeof(T), row, rows,
                way);
  }
  // to_step, from_step: bytes from one row to the next. Waits, unless within the device.
  void copy_rows(void* to, std::size_t to_step, const void* from, std::size_t from_step, std::size_t row_bytes,
                 std::size_t rows, Direction way);

  // The ops above without their templates; a null pointer or a view without data is an operand that is not there.
  void multiply(Mat y, CMat x, const Weight& w, const float* bias, CMat residual);
  void embed_rows(Mat y, Array<int> ids, const Weight& w);
  void add_embedded(Mat y, Array<int> ids, const Weight& w);
  void bias_regions(Mat bias, CMat points, const float* stored, float scale, RegionBias kind, ClassToken token, int n);
  void attend_regions(Ten o, Ten p, CTen q, CTen k, CTen v, CMat bias, float scale);
  void fold_into_keys(Mat a, Vec c, CTen k, const Weight& w, const float* b);
  void fold_into_values(Mat a, CTen v, const Weight& w);
  void score_regions(Ten p, CMat x, CMat a, CVec c, CMat bias, float scale);
  void sum_regions(Mat y, CTen p, CMat a, const float* b, CMat residual);

  std::unique_ptr<DeviceState> state_;
};

}  // namespace facellava::cuda

// Matrices and arrays and their copies on the CUDA device, each in an allocation of its own.
#pragma once
#include <doctest/doctest.h>

#include "facellava/core/quantise.hpp"
#include "facellava/cuda/device.hpp"
#include "support/random.hpp"

namespace facellava::test {

// Little memory of its own: the emulator fills and protects every page.
inline constexpr cuda::Options kSmallDevice{.workspace_bytes = 1 << 20, .scratch_bytes = 1 << 20};

// The kind of Error that f throws.
template <class F>
ErrorKind kind_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.kind();
  }
  FAIL("expected an Error");
  return ErrorKind::kArgument;
}

// A random matrix, same stride.
class OnDevice {
 public:
  using Matrix = View<float, cuda::Space, kDyn, kDyn>;

  // shift: elements from the start of the allocation to the first row.
  OnDevice(cuda::Device& dev, const Random<float>& host, Index shift = 0)
      : dev_(&dev), host_(host), buffer_(dev.allocate((host.values.size() + std::size_t(shift)) * sizeof(float))) {
    all_ = View<float, cuda::Space, kDyn>(static_cast<float*>(buffer_.data()) + shift, Index(host.values.size()));
    dev.upload(all_, View<const float, Host, kDyn>(host_.values.data(), Index(host_.values.size())));
  }
  Matrix matrix() const {
    Matrix v(all_.data, host_.rows, host_.width);
    v.stride = host_.stride;
    return v;
  }
  View<float, cuda::Space, kDyn> vector() const { return View<float, cuda::Space, kDyn>(all_.data, host_.width); }
  View<float, cuda::Space, kDyn, kDyn, kDyn> heads(Index h) const {
    View<float, cuda::Space, kDyn, kDyn, kDyn> v(all_.data, host_.rows, h, host_.width / h);
    v.stride = host_.stride;
    return v;
  }
  // Everything in the allocation, what lies between the rows as well.
  Random<float> get() const {
    Random<float> now = host_;
    dev_->download(View<float, Host, kDyn>(now.values.data(), Index(now.values.size())), all_);
    return now;
  }

 private:
  cuda::Device* dev_;
  Random<float> host_;
  cuda::Buffer buffer_;
  View<float, cuda::Space, kDyn> all_;
};

template <class T>
class ArrayOnDevice {
 public:
  ArrayOnDevice(cuda::Device& dev, const std::vector<T>& host)
      : count_(Index(host.size())), buffer_(dev.allocate(host.size() * sizeof(T))) {
    dev.upload_bytes(buffer_.data(), host.data(), host.size() * sizeof(T));
  }
  View<const T, cuda::Space, kDyn> view() const { return View<const T, cuda::Space, kDyn>(first(), count_); }
  const T* first() const { return static_cast<const T*>(buffer_.data()); }

 private:
  Index count_;
  cuda::Buffer buffer_;
};

// A matrix in any format: what the reference reads, and its copy on the device, `shift` bytes into the allocation.
class StoredOnDevice {
 public:
  StoredOnDevice(cuda::Device& dev, Format format, const Random<float>& w, Index shift = 0)
      : format_(format), rows_(w.rows), width_(w.width) {
    if (format == Format::kNf4) {
      std::vector<float> rows_of_pairs;  // a row of odd width is padded to a whole byte
      for (Index r = 0; r < rows_; ++r)
        for (Index c = 0; c < width_ + width_ % 2; ++c)
          rows_of_pairs.push_back(c < width_ ? w.values[std::size_t(r * w.stride + c)] : 0.f);
      nf4_ = quantise_nf4(rows_of_pairs.data(), Index(rows_of_pairs.size()));
      bytes_ = nf4_.packed;
      absmax_ = copy(dev, nf4_.absmax.data(), nf4_.absmax.size(), 0);
      nested_ = copy(dev, nf4_.nested.data(), nf4_.nested.size() * sizeof(float), 0);
    } else {
      bytes_.resize(std::size_t(rows_ * row_bytes(format, width_)));
      for (Index r = 0; r < rows_; ++r)
        quantise_row(format, bytes_.data() + r * row_bytes(format, width_), w.values.data() + r * w.stride, width_);
    }
    data_ = copy(dev, bytes_.data(), bytes_.size(), std::size_t(shift));
    host_scales_ = {bytes_.data(), nf4_.absmax.data(), nf4_.nested.data(), nf4_.offset};
    scales_ = {static_cast<const std::byte*>(data_.data()) + shift, static_cast<const std::uint8_t*>(absmax_.data()),
               static_cast<const float*>(nested_.data()), nf4_.offset};
  }
  StoredOnDevice(const StoredOnDevice&) = delete;
  StoredTensor<Host, kDyn, kDyn> host() const { return {bytes_.data(), format_, {rows_, width_}, &host_scales_}; }
  StoredTensor<cuda::Space, kDyn, kDyn> matrix() const { return {scales_.packed, format_, {rows_, width_}, &scales_}; }

 private:
  static cuda::Buffer copy(cuda::Device& dev, const void* from, std::size_t bytes, std::size_t shift) {
    cuda::Buffer b = dev.allocate(bytes + shift);
    dev.upload_bytes(static_cast<std::byte*>(b.data()) + shift, from, bytes);
    return b;
  }

  Format format_;
  Index rows_, width_;
  Nf4Matrix nf4_;
  std::vector<std::byte> bytes_;
  cuda::Buffer data_, absmax_, nested_;
  Nf4Scales host_scales_, scales_;
};

// max |a − b| / max |b| over the rows; 1e9 if what lies between the rows is not what it was in `before`.
inline double error(const Random<float>& a, const Random<double>& b, const Random<float>& before) {
  std::vector<float> x;
  std::vector<double> y;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const Index row = Index(i) / a.stride, column = Index(i) % a.stride;
    if (row < a.rows && column < a.width) {
      x.push_back(a.values[i]);
      y.push_back(b.values[i]);
    } else if (!(a.values[i] == before.values[i])) {
      return 1e9;
    }
  }
  return relative_to_max(x, y, Index(x.size()));
}

}  // namespace facellava::test

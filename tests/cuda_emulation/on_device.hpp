// A random matrix and its copy on the CUDA device, same stride, in an allocation of its own.
#pragma once
#include "facellava/cuda/device.hpp"
#include "support/random.hpp"

namespace facellava::test {

// Little memory of its own: the emulator fills and protects every page.
inline constexpr cuda::Options kSmallDevice{.workspace_bytes = 1 << 20, .scratch_bytes = 1 << 20};

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

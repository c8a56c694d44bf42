// Weights in device memory: parameters copied leaf by leaf, in the format they are stored in.
#pragma once
#include <list>
#include <string_view>

#include "facellava/cuda/device.hpp"

namespace facellava::cuda {

// Owns the memory of what it uploads, which stays where it is when the object is moved.
class UploadedWeights {
 public:
  // Points the leaves of `to`, Params of a layer or model L in the device's space, at copies of those of `from`, the
  // same Params in the program's memory. Leaves that are not bound stay so. Errors: kDevice (no room),
  // kArgument (nf4 without scales).
  template <class L>
  void upload(Device& dev, auto& to, const auto& from) {
    L::visit([&](std::string_view, auto& there, const auto& here) { copy(dev, there, here); }, "", to, from);
  }

 private:
  // Static sizes only: those of a layer's leaves.
  template <Index... D>
  void copy(Device& dev, View<const float, Space, D...>& to, const View<const float, Host, D...>& from) {
    if (!from.data) return;
    const View<float, Space, D...> fresh(
        static_cast<float*>(take(dev, std::size_t(from.count()) * sizeof(float)).data()));
    dev.upload(fresh, from);
    to = fresh;
  }
  template <Index... D>
  void copy(Device& dev, StoredTensor<Space, D...>& to, const StoredTensor<Host, D...>& from) {
    to.format = from.format;
    if (!from.data) return;
    const bool nf4 = from.format == Format::kNf4;
    if (nf4 && !from.nf4) throw Error(ErrorKind::kArgument, "upload: expected scales of an nf4 matrix, found none");
    // nf4 counts blocks from the first weight of the whole matrix: a part brings what lies before it
    const std::byte* first = nf4 ? from.nf4->packed : from.data;
    const std::size_t before = std::size_t(from.data - first),
                      bytes = before + std::size_t(from.rows() * row_bytes(from.format, from.size(1)));
    const auto* data = static_cast<const std::byte*>(put(dev, first, bytes));
    to.data = data + before;
    if (!nf4) return;
    const std::size_t blocks = (2 * bytes + kNf4Block - 1) / kNf4Block, nested = (blocks + kNf4Nested - 1) / kNf4Nested;
    scales_.push_back({data, static_cast<const std::uint8_t*>(put(dev, from.nf4->absmax, blocks)),
                       static_cast<const float*>(put(dev, from.nf4->nested, nested * sizeof(float))),
                       from.nf4->offset});
    to.nf4 = &scales_.back();
  }

  Buffer& take(Device& dev, std::size_t bytes) { return memory_.emplace_back(dev.allocate(bytes)); }
  const void* put(Device& dev, const void* from, std::size_t bytes) {
    void* to = take(dev, bytes).data();
    dev.upload_bytes(to, from, bytes);
    return to;
  }

  std::list<Buffer> memory_;
  std::list<Nf4Scales> scales_;
};

}  // namespace facellava::cuda

// Values on their way between the program's memory and a device's: the views themselves where the device works in the
// program's memory, else copies.
#pragma once
#include <memory_resource>
#include <vector>

#include "facellava/core/view.hpp"

namespace facellava {

template <class Device, class Space = typename Device::Space>
class Staging;

template <class Device>
class Staging<Device, Host> {
 public:
  explicit Staging(Device&) {}
  auto in(auto view) const { return view; }
  auto out(auto view) const { return view; }
  void fill(auto view, auto&& write) const { write(view); }
  void clear() {}
  std::pmr::memory_resource* memory(std::pmr::memory_resource* hosts) const { return hosts; }
};

// Of a device with memory of its own: allocate(bytes), memory(), upload(to, from), download(to, from). It must outlive
// this.
template <class Device, class Space>
class Staging {
 public:
  explicit Staging(Device& dev) : dev_(dev) {}

  // What the device reads of v, until clear().
  template <class T, Index... N>
  View<const T, Space, N...> in(View<const T, Host, N...> v) {
    const auto to = place<T, Space>(
        v, taken(uploads_, uploads_used_, bytes_of(v), [&](std::size_t n) { return dev_.allocate(n); }).data());
    if (v.data) dev_.upload(to, v);
    return to;
  }
  // What the program reads of v, until clear(): all work so far is done.
  template <class T, Index... N>
  View<const std::remove_const_t<T>, Host, N...> out(View<T, Space, N...> v) {
    using Plain = std::remove_const_t<T>;
    const auto to = place<Plain, Host>(v, taken(downloads_, downloads_used_, bytes_of(v), [](std::size_t n) {
                                            return std::vector<std::byte>(n);
                                          }).data());
    if (v.data) dev_.download(to, v);
    return to;
  }
  // Has write(view) fill a view of the program's memory, and v with it.
  template <class T, Index... N>
  void fill(View<T, Space, N...> v, auto&& write) {
    std::vector<std::byte> memory(bytes_of(v));
    const auto from = place<T, Host>(v, memory.data());
    write(from);
    if (v.data) dev_.upload(v, from);
  }
  void clear() { uploads_used_ = downloads_used_ = 0; }
  // Where what the device works on lives; hosts: of what the program works on.
  std::pmr::memory_resource* memory(std::pmr::memory_resource* /*hosts*/) const { return dev_.memory(); }

 private:
  template <class V>
  static std::size_t bytes_of(const V& v) {
    return v.data ? std::size_t(v.count()) * sizeof(typename V::Element) : 0;  // a default view has no sizes yet
  }
  // A contiguous view of v's sizes.
  template <class T, class S, class U, class From, Index... N>
  static View<T, S, N...> place(View<U, From, N...> v, void* memory) {
    View<T, S, N...> o;
    o.data = static_cast<T*>(memory);
    for (int d = 0; d < o.kRank; ++d) o.sizes[d] = v.sizes[d];
    o.stride = v.row_size();
    return o;
  }
  // The next of some buffers, which are used again; what had lain in it is lost.
  template <class B>
  static B& taken(std::vector<B>& buffers, std::size_t& used, std::size_t bytes, auto&& make) {
    if (used == buffers.size()) buffers.emplace_back();
    B& b = buffers[used++];
    if (b.size() < bytes) b = make(bytes);
    return b;
  }

  Device& dev_;
  std::vector<decltype(std::declval<Device&>().allocate(0))> uploads_;
  std::vector<std::vector<std::byte>> downloads_;
  std::size_t uploads_used_ = 0, downloads_used_ = 0;
};

}  // namespace facellava

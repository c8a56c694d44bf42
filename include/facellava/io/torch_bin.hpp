// Reads a PyTorch checkpoint (.bin, .pt, .pth) as torch.save has written it since version 1.6: a zip archive with a
// pickle NAME/data.pkl and one entry NAME/data/KEY per storage. Tensors point into the file; nothing is executed.
#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "facellava/io/mapped_file.hpp"
#include "facellava/io/pickle.hpp"
#include "facellava/io/tensor_entry.hpp"
#include "facellava/io/zip.hpp"

namespace facellava::io {

class TorchBin {
 public:
  // Errors: as MappedFile, read_zip and read_pickled_tensors; kFormat (a tensor outside its storage, not contiguous,
  // a missing or wrongly sized storage, big-endian data, the format of before 1.6).
  explicit TorchBin(const std::string& path, Load load = Load::kMap) : file_(path, load) {
    constexpr std::string_view kOldMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14);
    if (text(file_.bytes()).starts_with(kOldMagic))
      fail("this is PyTorch's format of before version 1.6; load it and save it again with a newer torch.save");
    const auto entries = read_zip(file_.bytes(), path);
    const auto pickle = find_pickle(entries);
    const std::string folder = pickle->first.substr(0, pickle->first.size() - kPickle.size());
    const auto order = entries.find(folder + "/byteorder");
    if (order != entries.end() && text(order->second) != "little")
      fail("expected little-endian data, found \"" + std::string(text(order->second).substr(0, 16)) + "\"");
    for (const auto& tensor : read_pickled_tensors(pickle->second, path))
      tensors_.emplace(tensor.name, place(tensor, entries, folder));
  }

  const TensorMap& tensors() const { return tensors_; }
  // Errors: kFormat (no such tensor), naming it and the file.
  const TensorEntry& at(const std::string& name) const { return find_tensor(tensors_, name, path()); }
  const std::string& path() const { return file_.path(); }

 private:
  static constexpr std::string_view kPickle = "/data.pkl";

  static std::string_view text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, path() + ": " + what); }

  ZipEntries::const_iterator find_pickle(const ZipEntries& entries) const {
    auto found = entries.end();
    for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
      if (!entry->first.ends_with(kPickle)) continue;
      if (found != entries.end()) fail("there are two pickles: " + found->first + " and " + entry->first);
      found = entry;
    }
    if (found == entries.end()) fail("expected an entry */data.pkl, found none: this is not a PyTorch checkpoint");
    return found;
  }

  TensorEntry place(const PickledTensor& t, const ZipEntries& entries, const std::string& folder) const {
    const std::string where = path() + ", tensor \"" + std::string(t.name) + "\"";
    const auto broken = [&](const std::string& what) { return Error(ErrorKind::kFormat, where + ": " + what); };
    const auto storage = entries.find(folder + "/data/" + std::string(t.storage));
    if (storage == entries.end()) throw broken("its storage data/" + std::string(t.storage) + " is missing");
    const Index storage_shape[] = {t.storage_count};
    const auto storage_bytes = checked_bytes(t.dtype, storage_shape);
    if (!storage_bytes || std::size_t(*storage_bytes) != storage->second.size())
      throw broken("its storage should have " + std::to_string(t.storage_count) + " elements of " +
                   dtype_name(t.dtype) + ", found " + std::to_string(storage->second.size()) + " bytes");
    const auto count = checked_count(t.shape);
    if (!count || *count > t.storage_count || t.offset < 0 || t.offset > t.storage_count - *count)
      throw broken("shape " + shape_text(t.shape) + " from element " + std::to_string(t.offset) +
                   " on leaves its storage of " + std::to_string(t.storage_count));
    if (!contiguous(t, *count))
      throw broken("it is not contiguous (shape " + shape_text(t.shape) + ", strides " + shape_text(t.strides) +
                   "); save it again after contiguous()");
    const Index size = dtype_size(t.dtype);
    return {t.dtype, t.shape, storage->second.subspan(std::size_t(t.offset * size), std::size_t(*count * size))};
  }

  static bool contiguous(const PickledTensor& t, Index count) {
    if (count == 0) return true;
    Index expected = 1;
    for (std::size_t d = t.shape.size(); d-- > 0; expected *= t.shape[d])
      if (t.shape[d] != 1 && t.strides[d] != expected) return false;
    return true;
  }

  MappedFile file_;
  TensorMap tensors_;
};

}  // namespace facellava::io

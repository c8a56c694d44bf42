// The bytes of a model's weights by part and format, from the headers of files alone: nothing is converted or copied.
#pragma once
#include <functional>
#include <set>

#include "facellava/core/leaf.hpp"
#include "facellava/io/conversion_rule.hpp"
#include "facellava/io/naming.hpp"
#include "facellava/run/memory_plan.hpp"
#include "facellava/run/official_layout.hpp"

namespace facellava::run {

// Goes through the leaves of a model as io::Weights does, and counts what that will map and what it will own.
class WeightCount {
 public:
  explicit WeightCount(std::optional<Format> convert) : convert_(convert) {}

  // As io::Weights::add; the tensors must outlive the count.
  void add(const io::TensorMap& tensors, std::span<const io::Rename> rules,
           std::function<bool(std::string_view)> serves) {
    sources_.push_back({&tensors, rules, std::move(serves)});
  }
  // A leaf. One that no source has counts nothing.
  void count(const NamedLeaf& l) {
    for (const Open& s : sources_) {
      if (!s.serves(l.name)) continue;
      const auto source = io::rename(s.rules, l.name);
      if (!source) continue;
      const auto it = s.tensors->find(source->name);
      if (it != s.tensors->end()) add_leaf(part_of(l.name), l.leaf, *source, it->second);
      return;
    }
  }
  std::vector<WeightBytes> result() const { return bytes_; }

 private:
  struct Open {
    const io::TensorMap* tensors;
    std::span<const io::Rename> rules;
    std::function<bool(std::string_view)> serves;
  };

  void add_leaf(Part part, const Leaf& leaf, const io::Source& source, const io::TensorEntry& tensor) {
    const auto kept =
        leaf.kind == Leaf::Kind::kStored ? io::converted_type(source.name, tensor, convert_) : io::DType::kF32;
    const auto format = io::format_of(kept);
    if (!format) return;
    const bool as_it_lies = kept == tensor.dtype && source.pairs != io::RopePairs::kNeighbours;
    // Leaves may share a tensor that is mapped; what is converted is owned by each.
    if (as_it_lies && !mapped_.insert({source.name, source.part}).second) return;
    const auto bytes = io::checked_bytes(kept, {leaf.sizes.begin(), leaf.sizes.end()});
    const WeightBytes w{part, *format, as_it_lies ? Held::kMapped : Held::kConverted, std::size_t(bytes.value_or(0))};
    const auto same = [&](const WeightBytes& o) {
      return o.part == w.part && o.format == w.format && o.held == w.held;
    };
    const auto it = std::find_if(bytes_.begin(), bytes_.end(), same);
    if (it == bytes_.end())
      bytes_.push_back(w);
    else
      it->bytes += w.bytes;
  }

  std::optional<Format> convert_;
  std::vector<Open> sources_;
  std::set<std::pair<std::string, int>> mapped_;
  std::vector<WeightBytes> bytes_;
};

// Of a checkpoint of M that need not exist: one in bf16 (for kF32: in fp32), converted to `format` in its files.
template <class M>
std::vector<WeightBytes> all_weights(Format format) {
  io::TensorMap tensors;
  for (const io::TensorInfo& t : official_tensors<M>()) {
    io::TensorEntry entry{format == Format::kF32 ? io::DType::kF32 : io::DType::kBf16, t.shape, {}};
    entry.dtype = io::converted_type(t.name, entry, format);
    tensors.emplace(t.name, std::move(entry));
  }
  WeightCount count(std::nullopt);
  count.add(tensors, io::kOfficial, [](std::string_view) { return true; });
  typename M::template Params<Stored<Host>> params;
  for (const NamedLeaf& l : leaves_of<M>(params)) count.count(l);
  return count.result();
}

}  // namespace facellava::run

// The leaves of a Params without their static sizes: what binds, counts or checks weights is compiled once, not once a
// shape, and a model's visit once, not once a purpose.
#pragma once
#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/element.hpp"
#include "facellava/core/weight.hpp"

namespace facellava {

struct Leaf {
  enum class Kind { kStored, kConst, kFloat, kBrain } kind;  // a StoredTensor; a View of const float, float, bf16
  std::span<const Index> sizes;                              // of one or two dimensions
  void* view;                                                // where `data` of the leaf is
  Format* format = nullptr;                                  // kStored
  const Nf4Scales** nf4 = nullptr;
  Index* stride = nullptr;  // of a View

  Index rows() const { return sizes[0]; }
  Index columns() const { return sizes.size() > 1 ? sizes[1] : 1; }
  // The pointer of the leaf, to P.
  template <class P>
  P*& data() const {
    return *static_cast<P**>(view);
  }
  bool is_bound() const { return data<const void>() != nullptr; }
  float operator()(Index r, Index c) const {
    if (kind == Kind::kStored)
      return decode(*format, data<const std::byte>() + r * row_bytes(*format, columns()), c, *nf4);
    if (kind == Kind::kBrain) return to_float(data<const bf16>()[r * *stride + c]);
    return data<const float>()[r * *stride + c];
  }
};

template <class S, Index... D>
Leaf leaf_of(StoredTensor<S, D...>& v) {
  return {Leaf::Kind::kStored, v.kStatic, &v.data, &v.format, &v.nf4};
}
template <class T, class S, Index... D>
requires(std::same_as<T, const float> || std::same_as<T, float> || std::same_as<T, bf16>) Leaf
    leaf_of(View<T, S, D...>& v) {
  constexpr auto kind = std::same_as<T, const float> ? Leaf::Kind::kConst
                        : std::same_as<T, float>     ? Leaf::Kind::kFloat
                                                     : Leaf::Kind::kBrain;
  return {kind, v.kStatic, &v.data, nullptr, nullptr, &v.stride};
}

struct NamedLeaf {
  std::string name;  // as visited
  Leaf leaf;
};

// visit_params: called with a visitor of (name, leaf).
std::vector<NamedLeaf> leaves_from(auto&& visit_params) {
  std::vector<NamedLeaf> leaves;
  visit_params([&](const std::string& name, auto& leaf) { leaves.push_back({name, leaf_of(leaf)}); });
  return leaves;
}
// Takes memory for every leaf of a layer L's Params, or of gradients in their shape, that is not Absent.
template <class L>
void carve_leaves(auto& arena, auto& params) {
  L::visit(
      [&](std::string_view, auto& leaf) {
        if constexpr (kPresent<decltype(leaf)>) arena.take(leaf);
      },
      "", params);
}

// Of the Params of a layer L, which must stay where they are.
template <class L>
std::vector<NamedLeaf> leaves_of(auto& params) {
  return leaves_from([&](auto&& f) { L::visit(f, "", params); });
}

}  // namespace facellava

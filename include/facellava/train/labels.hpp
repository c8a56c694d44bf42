// Heads that read a tower's features, and the labels of records that they learn.
#pragma once
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/backward_ops.hpp"

namespace facellava::train {

enum class HeadKind { kClass, kMultiLabel, kRegression };
inline constexpr std::string_view kHeadKindNames[] = {"class", "multi_label", "regression"};
inline constexpr std::string_view kDistanceNames[] = {"squared", "smooth_l1"};  // of core/backward_ops.hpp's Distance

// What a head reads, a mean over all frames of a medium: over the patches' features, or the class tokens', or every
// patch's own, one behind the other.
enum class Pooling { kPatches, kClassToken, kGrid };
inline constexpr std::size_t kPoolings = 3;
inline constexpr std::string_view kPoolingNames[kPoolings] = {"patches", "class_token", "grid"};

// Linear, of pooled features. kClass: softmax cross-entropy; kMultiLabel: sigmoid cross-entropy of each; kRegression: a
// distance from (label − mean) / scale.
struct Head {
  std::string name, label = {};  // label: the member of a record's labels that it learns; empty: named as it is
  HeadKind kind = HeadKind::kClass;
  std::vector<std::string> names = {};  // of the classes, or of the labels
  Index outputs = 1;
  double weight = 1;                          // of its loss in the whole
  std::vector<double> mean = {}, scale = {};  // of each output
  Distance distance = Distance::kSquared;
  Pooling pooling = Pooling::kPatches;

  const std::string& learns() const { return label.empty() ? name : label; }
  // Numbers that a label is: the class as one, or one an output.
  Index label_size() const { return kind == HeadKind::kClass ? 1 : outputs; }
};

inline constexpr float kUnknownLabel = std::numeric_limits<float>::quiet_NaN();

namespace detail {

// One number of a label, or nothing if that is no label.
inline std::optional<float> label_of(const Head& h, Index output, const nlohmann::json& value) {
  if (value.is_null()) return kUnknownLabel;
  if (h.kind == HeadKind::kClass) {
    const auto at =
        value.is_string() ? std::find(h.names.begin(), h.names.end(), value.get<std::string>()) : h.names.end();
    if (at == h.names.end()) return {};
    return float(at - h.names.begin());
  }
  if (!value.is_number()) return {};
  const double v = value.get<double>();
  if (h.kind == HeadKind::kMultiLabel) return v >= 0 && v <= 1 ? std::optional(float(v)) : std::nullopt;
  const auto scaled = float((v - h.mean[std::size_t(output)]) / h.scale[std::size_t(output)]);
  return std::isfinite(scaled) ? std::optional(scaled) : std::nullopt;
}

inline std::string expected_label(const Head& h) {
  const std::string many = h.outputs == 1 ? "" : "a list of " + std::to_string(h.outputs) + ": ";
  if (h.kind == HeadKind::kMultiLabel)
    return "a list of " + std::to_string(h.outputs) + ": numbers from 0 to 1, or null";
  if (h.kind == HeadKind::kRegression) return many + "a number, or null";
  std::string all;
  for (const std::string& n : h.names) all.append(all.empty() ? "one of " : ", ").append(n);
  return all;
}

}  // namespace detail

// Appends what a record's labels, an object or null, say to a head: label_size() numbers, kUnknownLabel where they say
// nothing. Returns what was expected if they are no such labels.
inline std::optional<std::string> add_targets(std::vector<float>& to, const Head& h, const nlohmann::json& labels) {
  const auto size = std::size_t(h.label_size());
  const auto member = labels.is_object() ? labels.find(h.learns()) : labels.end();
  if (!labels.is_object() || member == labels.end() || member->is_null()) {
    to.insert(to.end(), size, kUnknownLabel);
    return {};
  }
  const bool list = member->is_array();
  const bool fits =
      list ? h.kind != HeadKind::kClass && member->size() == size : size == 1 && h.kind != HeadKind::kMultiLabel;
  for (std::size_t i = 0; i < size && fits; ++i) {
    const auto label = detail::label_of(h, Index(i), list ? (*member)[i] : *member);
    if (!label) return detail::expected_label(h);
    to.push_back(*label);
  }
  return fits ? std::nullopt : std::optional(detail::expected_label(h));
}

}  // namespace facellava::train

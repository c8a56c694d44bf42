// facellava diff: the first tensor, in the order of the model, that differs between two dumps.
#include <cmath>
#include <iostream>

#include "facellava/io/safetensors.hpp"
#include "options.hpp"

namespace tool {
namespace {

// The order in which a model computes what `ask --dump` writes; unknown names come last, by name.
constexpr const char* kOrder[] = {"pixels",        "landmarks",     "input_ids",        "vision_features",
                                  "projected",     "region_tokens", "region_attention", "visual_tokens",
                                  "inputs_embeds", "hidden_final",  "logits",           "generated_ids"};

std::pair<std::size_t, std::string> rank(const std::string& name) {
  const std::string leaf = name.substr(name.find('.') + 1), request = name.substr(0, name.find('.'));
  const auto* found = std::find(std::begin(kOrder), std::end(kOrder), leaf);
  return {std::size_t(found - std::begin(kOrder)), request + "." + leaf};
}

struct Difference {
  double worst = 0, largest = 0;
  std::size_t at = 0;
  bool none_finite = false;
};

Difference compare(const facellava::io::TensorEntry& a, const facellava::io::TensorEntry& b) {
  const auto x = facellava::io::to_floats(a), y = facellava::io::to_floats(b);
  Difference d;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double gap = std::abs(double(x[i]) - double(y[i]));
    if (!(gap <= d.worst)) {
      d.worst = gap;
      d.at = i;
      if (std::isnan(gap)) d.none_finite = true;
    }
    d.largest = std::max(d.largest, std::abs(double(y[i])));
    if (d.none_finite) break;
  }
  return d;
}

}  // namespace

void add_diff(CLI::App& app) {
  struct DiffOptions {
    std::string a, b;
    double tolerance = 1e-4;
    bool json = false;
  };
  auto o = std::make_shared<DiffOptions>();
  CLI::App* command = app.add_subcommand("diff", "First tensor that differs between two safetensors dumps");
  command->add_option("a", o->a, "A dump")->required();
  command->add_option("b", o->b, "Another, the truth")->required();
  command->add_option("--tolerance", o->tolerance, "Allowed |a - b| over the largest |b|")->capture_default_str();
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] {
    const facellava::io::Safetensors a(o->a), b(o->b);
    std::vector<std::string> names;
    for (const auto& [name, entry] : b.tensors()) names.push_back(name);
    for (const auto& [name, entry] : a.tensors())
      if (!b.tensors().contains(name)) names.push_back(name);
    std::sort(names.begin(), names.end(), [](const auto& x, const auto& y) { return rank(x) < rank(y); });
    nlohmann::json rows = nlohmann::json::array();
    std::string first;
    for (const std::string& name : names) {
      std::string verdict;
      nlohmann::json row{{"tensor", name}};
      if (!a.tensors().contains(name) || !b.tensors().contains(name)) {
        verdict = "only in " + (a.tensors().contains(name) ? o->a : o->b);
      } else if (a.at(name).shape != b.at(name).shape) {
        verdict = "shapes " + facellava::io::shape_text(a.at(name).shape) + " and " +
                  facellava::io::shape_text(b.at(name).shape);
      } else {
        const Difference d = compare(a.at(name), b.at(name));
        const double relative = d.largest > 0 ? d.worst / d.largest : d.worst;
        row["max_abs"] = d.worst;
        row["relative_to_max"] = relative;
        row["at"] = d.at;
        if (!(relative <= o->tolerance))
          verdict =
              "differs by " + std::to_string(relative) + " of the largest value, at element " + std::to_string(d.at);
      }
      row["verdict"] = verdict.empty() ? "same" : verdict;
      if (!verdict.empty() && first.empty()) first = name;
      if (!o->json) std::cout << name << ": " << row["verdict"].get<std::string>() << "\n";
      rows.push_back(row);
    }
    if (o->json)
      std::cout << nlohmann::json{{"first_difference", first.empty() ? nlohmann::json() : nlohmann::json(first)},
                                  {"tensors", rows}}
                       .dump(1)
                << "\n";
    if (!first.empty()) throw Error(ErrorKind::kArgument, "the first tensor that differs is " + first);
  });
}

}  // namespace tool

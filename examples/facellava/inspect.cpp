// facellava inspect: what a checkpoint holds, against what the model of its geometry needs.
#include <iostream>

#include "options.hpp"
#include "registry.hpp"

namespace tool {

void add_inspect(CLI::App& app) {
  using namespace facellava;
  struct InspectOptions {
    run::FolderOptions folder;
    std::string config;
    bool tensors = false, json = false;
  };
  auto o = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "List missing, unexpected and mis-shaped tensors of a checkpoint");
  command->add_option("--model", o->folder.path, "Model folder, or a .gguf file")->required();
  command->add_option("--config", o->config, "Compiled configuration to compare with; default: the folder's geometry");
  command->add_option("--image-tower", o->folder.image_tower, "LanguageBind image folder");
  command->add_option("--video-tower", o->folder.video_tower, "LanguageBind video folder");
  command->add_option("--tower-heads", o->folder.tower_heads, "Attention heads of the towers")
      ->check(CLI::PositiveNumber);
  command->add_flag("--tensors", o->tensors, "List every tensor with type, shape and file");
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o] {
    const run::ModelFolder folder(o->folder);
    nlohmann::json tensors = nlohmann::json::array();
    for (const auto& [name, t] : folder.model()->tensors()) {
      tensors.push_back({{"name", name},
                         {"type", io::dtype_name(t.dtype)},
                         {"shape", t.shape},
                         {"file", folder.model()->file_of(name)}});
      if (o->tensors && !o->json)
        std::cout << name << "  " << io::dtype_name(t.dtype) << " " << io::shape_text(t.shape) << "  "
                  << folder.model()->file_of(name) << "\n";
    }
    const Entry entry = o->config.empty() ? find_entry("", folder) : named_entry(o->config);
    const io::Report report = entry.inspect(folder);
    if (o->json) {
      nlohmann::json misshaped = nlohmann::json::array();
      for (const auto& m : report.misshaped)
        misshaped.push_back({{"name", m.name}, {"expected", m.expected}, {"found", m.found}});
      nlohmann::json out{{"config", entry.name},      {"complete", report.complete()},   {"bound", report.bound.size()},
                         {"missing", report.missing}, {"unexpected", report.unexpected}, {"misshaped", misshaped}};
      if (o->tensors) out["tensors"] = tensors;
      std::cout << out.dump(1) << "\n";
    } else {
      std::cout << folder.path() << " as " << entry.name << ": " << report.bound.size() << " tensors fit\n"
                << report.text(1000);
    }
    if (!report.complete())
      throw Error(ErrorKind::kFormat, folder.path() + " is not a complete checkpoint of " + entry.name);
  });
}

}  // namespace tool

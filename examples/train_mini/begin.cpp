// train_mini_begin: what a training from nothing needs that no trained model gives it.
//   vocabulary   pieces learnt from the conversations of a data file, as a tokenizer.model
//   landmarks    landmark projections of random weights that begin in the coordinates in which they will learn
//   towers       random weights with the towers of a trained model
//   video        a video tower that begins as the image tower, blind to the order of frames
#include <CLI/CLI.hpp>

#include <iostream>
#include <map>

#include "facellava/io/checkpoint.hpp"
#include "facellava/io/sharded_writer.hpp"
#include "facellava/text/learn_pieces.hpp"
#include "facellava/train/data_set.hpp"
#include "facellava/train/run_config.hpp"

namespace {

using namespace facellava;
namespace fs = std::filesystem;

struct Options {
  std::string data, model, run, towers, out;
  std::size_t size = 1024;
};

void write_vocabulary(const Options& o) {
  text::PieceLearner learner;
  const nlohmann::json records = io::read_json(o.data, train::kMaxDataBytes);
  try {
    for (const auto& record : records)
      for (const auto& conversation : record.at("conversations"))
        for (const auto& turn : conversation) learner.add(turn.at("value").get<std::string>());
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::kFormat, o.data + ": expected records with lists of conversations, found " + e.what());
  }
  const std::string file = learner.learn(o.size);
  io::write_file_atomically(o.out, std::as_bytes(std::span(file)));
  std::cout << o.out << ": " << o.size << " pieces\n";
}

// The tensor that `name`, of a video tower, begins as: that of the image tower, where it has one.
std::string source_of(const std::string& name, const io::Checkpoint& c) {
  constexpr std::string_view kVideo = "model.video_tower.video_tower.", kImage = "model.image_tower.image_tower.";
  if (!name.starts_with(kVideo)) return name;
  const std::string image = std::string(kImage) + name.substr(kVideo.size());
  return c.tensors().contains(image) ? image : name;
}

// The model with other tensors: bytes(tensor) are those to write.
void write_changed(const Options& o, const io::Checkpoint& from, auto&& bytes) {
  std::vector<io::TensorInfo> tensors;
  for (const auto& [name, entry] : from.tensors()) tensors.push_back({name, entry.dtype, entry.shape});
  if (fs::exists(fs::path(o.out) / "config.json"))
    throw Error(ErrorKind::kArgument, "--to: " + o.out + " already holds a model: choose another folder");
  io::ShardedWriter(tensors, std::size_t(2) << 30).write(o.out, "changed " + o.model, bytes);
  for (const char* name : {"tokenizer.model", "config.json"})
    fs::copy_file(fs::path(o.model) / name, fs::path(o.out) / name);
}

void write_towers(const Options& o) {
  const io::Checkpoint from(o.model), trained(o.towers);
  write_changed(o, from, [&](const io::TensorInfo& t) {
    const bool of_tower = t.name.find("_tower.") != t.name.npos;
    const io::TensorEntry& e = (of_tower ? trained : from).at(t.name);
    if (e.dtype != t.dtype || e.shape != t.shape)
      throw Error(ErrorKind::kShape, "--towers: " + t.name + ": expected the shape and type that it has in " + o.model);
    return e.bytes;
  });
  std::cout << o.out << ": its towers are those of " << o.towers << "\n";
}

void write_video(const Options& o) {
  const io::Checkpoint from(o.model);
  std::vector<std::byte> none;
  write_changed(o, from, [&](const io::TensorInfo& t) {
    const auto bytes = from.at(source_of(t.name, from)).bytes;
    if (t.name.find("temporal_attn.out_proj.") == t.name.npos) return bytes;
    none.assign(bytes.size(), std::byte{});  // frames do not hear of one another yet
    return std::span<const std::byte>(none);
  });
  std::cout << o.out << ": its video tower is the image tower\n";
}

// Layers of FRLP as they are drawn, taken for layers of z = scale (p - mean): W z of plain points p is
// scale W p - scale W mean. Else a token is of the mean face and hardly of this one.
void write_landmarks(const Options& o) {
  const io::Checkpoint from(o.model);
  const auto z = train::read_run_config(io::read_json(o.run), o.run).step.optimizer.landmarks;
  if (!z) throw Error(ErrorKind::kArgument, "--run: expected \"landmark_coordinates\" in " + o.run + ", found none");
  std::map<std::string, std::vector<float>> changed;
  const auto change = [&](const std::string& layer, int first) {
    std::vector<float> w = io::to_floats(from.at(layer + ".weight")), b = io::to_floats(from.at(layer + ".bias"));
    const std::size_t columns = w.size() / b.size();
    for (std::size_t i = 0; i < w.size(); ++i) {
      w[i] *= float(z->scale);
      b[i / columns] -= w[i] * float(z->mean[2 * std::size_t(first) + i % columns]);
    }
    changed[layer + ".weight"] = std::move(w);
    changed[layer + ".bias"] = std::move(b);
  };
  change("model.global_landmarks_projector", 0);
  for (const Region& r : kRegions) change(std::string("model.landmarks_projector.region_layers.") + r.name, r.first);
  std::vector<std::byte> row;
  write_changed(o, from, [&](const io::TensorInfo& t) {
    const auto at = changed.find(t.name);
    if (at == changed.end()) return from.at(t.name).bytes;
    row.resize(from.at(t.name).bytes.size());
    quantise_row(*io::format_of(t.dtype), row.data(), at->second.data(), Index(at->second.size()));
    return std::span<const std::byte>(row);
  });
  std::cout << o.out << ": landmarks are projected in coordinates of their own\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Begins a training from nothing");
  app.require_subcommand(1);
  Options o;
  CLI::App* vocabulary = app.add_subcommand("vocabulary", "Learn a vocabulary from conversations");
  vocabulary->add_option("--data", o.data, "Records with conversations")->required();
  vocabulary->add_option("--out", o.out, "tokenizer.model to write")->required();
  vocabulary->add_option("--size", o.size, "Tokens")->capture_default_str();
  CLI::App* landmarks = app.add_subcommand("landmarks", "Begin landmark projections in a run's landmark_coordinates");
  landmarks->add_option("--model", o.model, "Model folder of random weights")->required();
  landmarks->add_option("--run", o.run, "JSON of the run that will train them")->required();
  landmarks->add_option("--to", o.out, "Model folder to write")->required();
  CLI::App* towers = app.add_subcommand("towers", "Begin as random weights with the towers of a trained model");
  towers->add_option("--model", o.model, "Model folder of random weights")->required();
  towers->add_option("--towers", o.towers, "Model folder with trained towers of the same shapes")->required();
  towers->add_option("--to", o.out, "Model folder to write")->required();
  CLI::App* video = app.add_subcommand("video", "Begin a video tower as the image tower");
  video->add_option("--model", o.model, "Model folder with a trained image tower")->required();
  video->add_option("--to", o.out, "Model folder to write")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    if (*vocabulary)
      write_vocabulary(o);
    else if (*landmarks)
      write_landmarks(o);
    else if (*towers)
      write_towers(o);
    else
      write_video(o);
  } catch (const std::exception& e) {
    std::cerr << "train_mini_begin: " << e.what() << "\n";
    return 1;
  }
}

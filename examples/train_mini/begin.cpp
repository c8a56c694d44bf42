// train_mini_begin: what a training from nothing needs that no trained model gives it.
//   vocabulary   pieces learnt from the conversations of a data file, as a tokenizer.model
//   video        a video tower that begins as the image tower, blind to the order of frames
#include <CLI/CLI.hpp>

#include <iostream>

#include "facellava/io/checkpoint.hpp"
#include "facellava/io/sharded_writer.hpp"
#include "facellava/text/learn_pieces.hpp"

namespace {

using namespace facellava;
namespace fs = std::filesystem;

struct Options {
  std::string data, model, out;
  std::size_t size = 1024;
};

void write_vocabulary(const Options& o) {
  text::PieceLearner learner;
  const nlohmann::json records = io::read_json(o.data);
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

void write_video(const Options& o) {
  const io::Checkpoint from(o.model);
  std::vector<io::TensorInfo> tensors;
  for (const auto& [name, entry] : from.tensors()) tensors.push_back({name, entry.dtype, entry.shape});
  if (fs::exists(fs::path(o.out) / "config.json"))
    throw Error(ErrorKind::kArgument, "--to: " + o.out + " already holds a model: choose another folder");
  std::vector<std::byte> none;
  io::ShardedWriter(tensors, std::size_t(2) << 30).write(o.out, "video of " + o.model, [&](const io::TensorInfo& t) {
    const auto bytes = from.at(source_of(t.name, from)).bytes;
    if (t.name.find("temporal_attn.out_proj.") == t.name.npos) return bytes;
    none.assign(bytes.size(), std::byte{});  // frames do not hear of one another yet
    return std::span<const std::byte>(none);
  });
  for (const char* name : {"tokenizer.model", "config.json"})
    fs::copy_file(fs::path(o.model) / name, fs::path(o.out) / name);
  std::cout << o.out << ": its video tower is the image tower\n";
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
  CLI::App* video = app.add_subcommand("video", "Begin a video tower as the image tower");
  video->add_option("--model", o.model, "Model folder with a trained image tower")->required();
  video->add_option("--to", o.out, "Model folder to write")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    if (*vocabulary)
      write_vocabulary(o);
    else
      write_video(o);
  } catch (const std::exception& e) {
    std::cerr << "train_mini_begin: " << e.what() << "\n";
    return 1;
  }
}

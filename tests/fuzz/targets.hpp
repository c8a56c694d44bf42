// What is fuzzed: one function a reader. Each takes any bytes and either reads them or throws Error; anything else is a
// finding. A clang build with -fsanitize=fuzzer explores (tests/fuzz/run.sh); every build replays the corpus.
#pragma once
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <span>
#include <string>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/conv_net.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/io/gguf.hpp"
#include "facellava/io/safetensors.hpp"
#include "facellava/io/tfjs.hpp"
#include "facellava/io/torch_bin.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/run/model_folder.hpp"
#include "facellava/text/load_tokenizer.hpp"
#include "facellava/train/record.hpp"

namespace facellava::fuzz {

using Bytes = std::span<const std::byte>;

// One file, again and again: the readers take paths.
class File {
 public:
  explicit File(const char* suffix) {
    path_ = std::string(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") + "/facellava-fuzz-" +
            std::to_string(::getpid()) + suffix;
  }
  ~File() { std::remove(path_.c_str()); }
  const std::string& hold(Bytes bytes) const {
    std::FILE* f = std::fopen(path_.c_str(), "wb");
    if (!f || std::fwrite(bytes.data(), 1, bytes.size(), f) != bytes.size()) ::abort();
    std::fclose(f);
    return path_;
  }

 private:
  std::string path_;
};

// The values of small tensors: a reader that hands out wrong bytes is found by touching them.
inline void touch(const io::TensorMap& tensors) {
  for (const auto& [name, entry] : tensors)
    if (entry.count() < 4096) (void)io::to_floats(entry);
}

inline void safetensors(Bytes bytes) {
  static const File file(".safetensors");
  touch(io::Safetensors(file.hold(bytes)).tensors());
}
inline void torch_bin(Bytes bytes) {
  static const File file(".bin");
  touch(io::TorchBin(file.hold(bytes)).tensors());
}
inline void pickle(Bytes bytes) { (void)io::read_pickled_tensors(bytes, "fuzz"); }
inline void gguf(Bytes bytes) {
  static const File file(".gguf");
  const io::Gguf g(file.hold(bytes));
  touch(g.tensors());
  try {
    (void)run::llama_geometry(g);
  } catch (const Error&) {  // the tokenizer may be read all the same
  }
  (void)text::gguf_tokenizer(g);
}
inline void tokenizer(Bytes bytes) {
  const auto t = text::Tokenizer::from_bytes(bytes, "fuzz", text::Legacy::kNo);
  (void)t.decode(t.encode("Is she 23? \xe4\xbd\xa0 <s>", text::Bos::kYes), text::Specials::kKeep);
}
inline void config(Bytes bytes) {
  static const File file(".json");
  const std::string path = file.hold(bytes);
  const auto json = io::read_json(path);
  FaceLlavaConfig c;
  c.llama = run::llama_geometry(json, path);
  run::fusion_geometry(json, path, c);
}

inline void tflite(Bytes bytes) {
  static const File file(".tflite");
  const faces::ConvNet net(file.hold(bytes));
  if (net.workspace_size() > (1 << 16)) return;
  Index n = 1;
  for (Index d : net.input_shape()) n *= d;
  faces::ConvNet::Workspace work;
  cpu::Device dev({.threads = 1, .isa = cpu::Isa::kPortable});
  (void)net.run(dev, std::vector<float>(std::size_t(n), 0.5f), 1, work);
}

// A manifest whose shard is a file of 4096 bytes.
inline void tfjs(Bytes bytes) {
  static const File shard("-shard"), file(".json");
  static const std::string name = [] {
    const std::string path = shard.hold(std::vector<std::byte>(4096, std::byte{60}));
    return path.substr(path.rfind('/') + 1);
  }();
  std::string manifest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (std::size_t at = 0; (at = manifest.find("SHARD", at)) != manifest.npos; at += name.size())
    manifest.replace(at, 5, name);
  double sum = 0;
  for (const auto& [tensor, t] : io::read_tfjs_weights(file.hold(std::as_bytes(std::span(manifest)))))
    for (const float v : t.values) sum += v;
  volatile double seen = sum;
  (void)seen;
}

inline void image(Bytes bytes) {
  for (const auto orientation : {media::Orientation::kReference, media::Orientation::kExif})
    (void)media::decode_image(bytes, "fuzz", {.orientation = orientation, .limits = {.max_pixels = 1 << 16}});
}

// Every number that a file of landmarks gives is touched.
inline void landmarks(const File& file, Bytes bytes) {
  for (const faces::Landmarks& frame : faces::read_landmarks(file.hold(bytes)))
    (void)faces::normalise(frame, faces::LandmarkNormalisation::kBy256, 0, 0);
}
inline void npy(Bytes bytes) {
  static const File file(".npy");
  landmarks(file, bytes);
}
inline void pts(Bytes bytes) {
  static const File file(".pts");
  landmarks(file, bytes);
}
inline void landmark_json(Bytes bytes) {
  static const File file(".json");
  landmarks(file, bytes);
}
inline void dlib_xml(Bytes bytes) {
  static const File file(".xml");
  for (const faces::LabelledImage& image : faces::read_dlib_xml(file.hold(bytes)))
    for (const faces::LabelledFace& face : image.faces) faces::check_box(face.box, "fuzz");
}

// Every fault of every record is told.
inline void training_data(Bytes bytes) {
  const auto json = io::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
  std::size_t faults = 0;
  for (const auto& entry : json)
    for (const train::Record& r : train::read_record(entry, 0, "/data")) {
      (void)train::modality_length(r);
      for (const train::Fault& f : r.faults) faults += f.text().size();
    }
  if (faults > 0) throw Error(ErrorKind::kFormat, "faulty records");
}

struct Target {
  const char* name;
  void (*run)(Bytes);
};
inline constexpr Target kTargets[] = {{"safetensors", safetensors},
                                      {"torch_bin", torch_bin},
                                      {"pickle", pickle},
                                      {"gguf", gguf},
                                      {"tokenizer", tokenizer},
                                      {"config", config},
                                      {"tflite", tflite},
                                      {"tfjs", tfjs},
                                      {"image", image},
                                      {"npy", npy},
                                      {"pts", pts},
                                      {"landmark_json", landmark_json},
                                      {"dlib_xml", dlib_xml},
                                      {"training_data", training_data}};

inline void run_one(const Target& target, Bytes bytes) {
  try {
    target.run(bytes);
  } catch (const Error&) {
  }
}

}  // namespace facellava::fuzz

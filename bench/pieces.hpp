// Pieces of a model with weights, inputs and memory of their own, ready to run: the image tower, the projector, the
// fusion, prefill and decode. Weights are random, or read from a folder to compare with another implementation.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "facellava/cpu/device.hpp"
#include "work.hpp"

namespace facellava::bench {

struct PieceOptions {
  std::string part;
  Format weights = Format::kBf16;
  Format kv = Format::kBf16;  // keys and values: f32 or bf16
  int layers = 32, tokens = 320;
  cpu::Options device = {0, cpu::best_isa(), cpu::Precision::kNative};
  std::string from;  // a folder with model.safetensors, input.npy and output.npy; empty: random
};

struct Piece {
  std::function<void()> run;
  Work work;
  double tokens = 0;                      // produced by a run: decode
  std::optional<double> difference = {};  // from the folder's output: root mean square, relative to its own
};

inline constexpr const char* kParts[] = {"vit", "video", "projector", "fusion", "prefill", "decode", "read"};

// Errors: kArgument (an unknown part, layers other than 1, 4 or 32), as of reading files. dev must outlive the piece.
Piece make_vision_piece(cpu::Device& dev, const PieceOptions& o);
Piece make_text_piece(cpu::Device& dev, const PieceOptions& o);

// Reads of DRAM alone: what decode is measured against.
inline Piece make_read_piece(const cpu::Device& dev) {
  struct State {
    cpu::ThreadPool pool;
    Reader reader;
    State(cpu::Isa isa, int threads) : pool(threads), reader(isa, Tier::kDram, pool) {}
  };
  const auto state = std::make_shared<State>(dev.isa(), dev.threads());
  return {[state] { state->reader.run(1); }, {0, state->reader.bytes()}};
}

inline Piece make_piece(cpu::Device& dev, const PieceOptions& o) {
  if (o.part == "read") return make_read_piece(dev);
  return o.part == "prefill" || o.part == "decode" ? make_text_piece(dev, o) : make_vision_piece(dev, o);
}

}  // namespace facellava::bench

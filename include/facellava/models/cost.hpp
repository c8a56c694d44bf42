// What work on a model costs at least, and how long a machine takes for that at least: the roofline. Bounds, computed
// from a configuration alone; bench/ divides them by measured times and says what part of the machine was reached.
#pragma once
#include <algorithm>
#include <array>
#include <string_view>

#include "facellava/core/format.hpp"
#include "facellava/models/config.hpp"

namespace facellava {

struct Cost {
  double operations = 0;  // a multiply and an add are two
  double bytes = 0;       // read at least once: weights, keys and values

  constexpr Cost& operator+=(const Cost& o) {
    operations += o.operations;
    bytes += o.bytes;
    return *this;
  }
  friend constexpr Cost operator+(Cost a, const Cost& b) { return a += b; }
};

// x [rows, in] times a matrix [out, in], which is read in the format that it is stored in.
constexpr Cost product_cost(Format f, Index rows, Index in, Index out) {
  return {2. * double(rows) * double(in) * double(out), double(out * row_bytes(f, in))};
}

// One picture or clip through its tower.
constexpr Cost tower_cost(const TowerConfig& t, Format f) {
  const Index frames = t.block.frames, tokens = t.tokens(), rows = frames * tokens, d = t.block.dim;
  const auto attention = [&](Index keys) {
    Cost c{4. * double(rows) * double(keys) * double(d), 0};
    for (int i = 0; i < 4; ++i) c += product_cost(f, rows, d, d);
    return c;
  };
  Cost layer = attention(tokens) + product_cost(f, rows, d, t.block.ffn) + product_cost(f, rows, t.block.ffn, d);
  if (frames > 1) layer += attention(frames);
  Cost all = product_cost(f, rows, 3 * t.patch * t.patch, d);
  for (int i = 0; i < t.run_layers; ++i) all += layer;
  return all;
}

// `rows` tokens behind `past` tokens of each of `sequences` sequences through the decoder, causal; the words of
// `logits` rows. key_bytes: of an element of the kept keys and values.
constexpr Cost decoder_cost(const LlamaConfig& c, Format f, Index sequences, Index past, Index rows, Index logits,
                            double key_bytes) {
  const LlamaBlockConfig& b = c.block;
  const Index all = sequences * rows, q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  const double keys = double(past) + (double(rows) + 1) / 2;
  Cost layer = product_cost(f, all, b.dim, q + 2 * kv) + product_cost(f, all, q, b.dim) +
               product_cost(f, all, b.dim, 2 * b.ffn) + product_cost(f, all, b.ffn, b.dim);
  layer += {4 * double(all) * keys * double(q), double(sequences * (past + rows)) * 2 * double(kv) * key_bytes};
  Cost out = logits > 0 ? product_cost(f, logits, b.dim, c.vocab) : Cost{};
  out.bytes += double(std::min<Index>(all, c.vocab) * row_bytes(f, b.dim));  // words looked up
  for (int i = 0; i < c.layers; ++i) out += layer;
  return out;
}

// A step of training of the decoder on `rows` rows in sequences of `length`, `supervised` of them with a label:
// forward, the gradient of what a product reads and that of its weights; each matrix is read twice, its gradient
// written once, in fp32. Activations and the optimiser's moments are left out.
constexpr Cost training_cost(const LlamaConfig& c, Format f, Index rows, Index length, Index supervised) {
  const Cost once = decoder_cost(c, f, std::max<Index>(1, rows / std::max<Index>(1, length)), 0, length, supervised, 4);
  const Cost in_fp32 = decoder_cost(c, Format::kF32, 1, 0, 1, 1, 0);
  return {3 * once.operations, 2 * once.bytes + in_fp32.bytes};
}

// A processor by its maker's figures.
struct Machine {
  std::string_view name;
  double bytes_per_second, fp32, bf16;  // operations per second: without, and with tensor cores (dense, fp32 sums)
  double memory;                        // bytes
};
// NVIDIA's data sheets: H100 SXM5 80 GB; GeForce RTX 4090.
inline constexpr std::array<Machine, 2> kMachines{
    {{"h100", 3.35e12, 66.9e12, 989.4e12, 80e9}, {"rtx4090", 1.008e12, 82.6e12, 165.2e12, 24e9}}};

// Seconds that nothing on the machine can be faster than.
constexpr double least_seconds(const Cost& c, const Machine& m, bool tensor_cores) {
  return std::max(c.bytes / m.bytes_per_second, c.operations / (tensor_cores ? m.bf16 : m.fp32));
}

}  // namespace facellava

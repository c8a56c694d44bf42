// The nets of face-api.js that give 68 landmarks directly: a picture of 112 × 112 through blocks of four separable
// convolutions (three in the tiny net) with sums between them, a mean over what is left, and one matrix.
// Source: face-api.js, FaceLandmark68Net (MIT); the weights are its manifest and shard.
#pragma once
#include <deque>

#include "facellava/faces/conv_net.hpp"
#include "facellava/io/tfjs.hpp"

namespace facellava::faces {

namespace detail {

// Writes the net's graph in the terms of TensorFlow Lite, shapes following from the weights.
class FaceApiGraph {
 public:
  explicit FaceApiGraph(const std::string& manifest) : path_(manifest), weights_(io::read_tfjs_weights(manifest)) {
    int x = activation(kSide, 3);
    graph.inputs = {x};
    for (int b = 0; weights_.contains(name(b, 0, "bias")); ++b) x = block(x, b);
    const Index left = side(x);
    const int mean = activation(1, channels(x));
    graph.nodes.push_back({.op = Op::kAveragePool,
                           .inputs = {x},
                           .outputs = {mean},
                           .stride_x = 2,
                           .stride_y = 2,
                           .filter_x = int(left),
                           .filter_y = int(left)});
    const auto& matrix = at("fc/weights", 2);
    graph.outputs = {conv(mean, {1, 1, matrix.shape[0], matrix.shape[1]}, matrix.values, at("fc/bias", 1).values)};
  }
  io::TfliteGraph graph;

 private:
  using Op = io::TfliteOp;
  static constexpr Index kSide = 112;

  static std::string name(int block, int conv, const char* leaf) {
    return "dense" + std::to_string(block) + "/conv" + std::to_string(conv) + "/" + leaf;
  }
  const io::TfjsTensor& at(const std::string& tensor, std::size_t rank) const {
    const auto found = weights_.find(tensor);
    if (found == weights_.end()) throw Error(ErrorKind::kFormat, path_ + ": expected a tensor " + tensor);
    if (found->second.shape.size() != rank)
      throw Error(ErrorKind::kFormat, path_ + ", " + tensor + ": expected " + std::to_string(rank) +
                                          " dimensions, found " + io::shape_text(found->second.shape));
    return found->second;
  }
  Index side(int t) const { return graph.tensors[std::size_t(t)].shape[1]; }
  Index channels(int t) const { return graph.tensors[std::size_t(t)].shape[3]; }

  int tensor(std::vector<Index> shape, std::span<const std::byte> bytes) {
    graph.tensors.push_back({std::to_string(graph.tensors.size()), std::move(shape), io::DType::kF32, bytes});
    return int(graph.tensors.size()) - 1;
  }
  int activation(Index side, Index channels) { return tensor({1, side, side, channels}, {}); }
  int constant(std::vector<Index> shape, std::vector<float> values) {
    const auto& kept = constants_.emplace_back(std::move(values));
    return tensor(std::move(shape), std::as_bytes(std::span(kept)));
  }

  // w: [height, width, in, out].
  int conv(int x, const std::vector<Index>& shape, const std::vector<float>& w, const std::vector<float>& bias,
           int stride = 1, bool relu = false) {
    const Index out = shape[3], taps = Index(w.size()) / std::max<Index>(1, out);
    std::vector<float> turned(w.size());
    for (Index o = 0; o < out; ++o)
      for (Index k = 0; k < taps; ++k) turned[std::size_t(o * taps + k)] = w[std::size_t(k * out + o)];
    const int y = activation((side(x) + stride - 1) / stride, out);
    const int kernel = constant({out, shape[0], shape[1], shape[2]}, std::move(turned));
    graph.nodes.push_back({.op = Op::kConv,
                           .inputs = {x, kernel, constant({Index(bias.size())}, bias)},
                           .outputs = {y},
                           .same_padding = true,
                           .stride_x = stride,
                           .stride_y = stride,
                           .relu = relu});
    return y;
  }
  int separable_conv(int x, int block, int i, int stride, bool relu) {
    const auto &taps = at(name(block, i, "depthwise_filter"), 4), &points = at(name(block, i, "pointwise_filter"), 4);
    const int y = activation((side(x) + stride - 1) / stride, channels(x));
    const int kernel = constant({1, taps.shape[0], taps.shape[1], taps.shape[2]}, taps.values);
    const int none = constant({channels(x)}, std::vector<float>(std::size_t(channels(x))));
    graph.nodes.push_back({.op = Op::kDepthwiseConv,
                           .inputs = {x, kernel, none},
                           .outputs = {y},
                           .same_padding = true,
                           .stride_x = stride,
                           .stride_y = stride});
    return conv(y, points.shape, points.values, at(name(block, i, "bias"), 1).values, 1, relu);
  }
  // A convolution that halves the picture; each of the others gets the sum of what came before it in the block.
  int block(int x, int b) {
    std::vector<int> parts;
    if (b == 0) {
      const auto& filters = at(name(b, 0, "filters"), 4);
      parts.push_back(conv(x, filters.shape, filters.values, at(name(b, 0, "bias"), 1).values, 2, true));
    } else {
      parts.push_back(separable_conv(x, b, 0, 2, true));
    }
    for (int i = 1; weights_.contains(name(b, i, "bias")); ++i)
      parts.push_back(separable_conv(i == 1 ? parts[0] : sum(parts), b, i, 1, false));
    return sum(parts);
  }
  // relu(a + (b + (c + d)))
  int sum(const std::vector<int>& parts) {
    int total = parts.back();
    for (std::size_t i = parts.size() - 1; i-- > 0;) {
      const int y = activation(side(total), channels(total));
      graph.nodes.push_back({.op = Op::kAdd, .inputs = {parts[i], total}, .outputs = {y}, .relu = i == 0});
      total = y;
    }
    return total;
  }

  std::string path_;
  io::TfjsWeights weights_;
  std::deque<std::vector<float>> constants_;
};

}  // namespace detail

// From the manifest. Errors: as io::read_tfjs_weights; kFormat (another net).
inline ConvNet face_api_net(const std::string& manifest) { return {detail::FaceApiGraph(manifest).graph, manifest}; }

}  // namespace facellava::faces

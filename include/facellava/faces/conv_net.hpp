// A convolutional net from a TensorFlow Lite file, run on the library's own ops (core/image_ops.hpp): face detection
// and landmark nets are chains of convolutions, depthwise convolutions, pools and PReLUs. Weights become fp32.
#pragma once
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/image_ops.hpp"
#include "facellava/io/tflite.hpp"

namespace facellava::faces {

// Work with several pictures at once gives the bits of one at a time.
class ConvNet {
 public:
  // Errors: as io::Tflite; kFormat (shapes that do not follow from each other, operators in ways that no face net has).
  explicit ConvNet(const std::string& path) : ConvNet(io::Tflite(path).graph(), path) {}
  // name: what errors call the net.
  ConvNet(const io::TfliteGraph& graph, std::string name) : path_(std::move(name)) { build(graph); }

  // [height, width, channels] of a picture.
  const std::vector<Index>& input_shape() const { return shapes_.at(std::size_t(input_)); }
  std::size_t outputs() const { return outputs_.size(); }
  // Numbers of output i, of one picture.
  Index output_size(std::size_t i) const { return count(outputs_.at(i)); }

  // Numbers that work with one picture keeps.
  Index workspace_size() const {
    Index all = 0;
    for (Index n : slot_sizes_) all += n;
    return all;
  }

  // Memory of run(n), kept between runs of one thread.
  using Workspace = std::vector<std::vector<float>>;

  // pictures: [n, height, width, channels]. Output i: [n, output_size(i)].
  template <class Device>
  std::vector<std::vector<float>> run(Device& dev, std::span<const float> pictures, int n, Workspace& work) const {
    if (n < 1) throw Error(ErrorKind::kArgument, path_ + ": expected at least one picture, found " + std::to_string(n));
    check_equal(n * count(input_), pictures.size(), path_ + ": numbers of the pictures");
    work.resize(slot_sizes_.size());
    for (std::size_t s = 0; s < work.size(); ++s)
      work[s].resize(std::max(work[s].size(), std::size_t(n * slot_sizes_[s])));
    std::copy(pictures.begin(), pictures.end(), data(work, input_));
    for (const Step& s : steps_) step(dev, s, n, work);
    std::vector<std::vector<float>> results;
    for (int t : outputs_) results.emplace_back(data(work, t), data(work, t) + n * count(t));
    return results;
  }

 private:
  // What a file may ask for: 64 MiB of constants, and for each picture 64 MiB of tensors and 64 MiB of results (face
  // nets: 5, 3 and less than 1).
  static constexpr Index kMost = Index(1) << 24;  // numbers of each of these

  static constexpr int kMostTaps = 1024;  // of a side of a window

  struct Step {
    io::TfliteOp op;
    std::vector<int> inputs;  // activations; of a convolution a second one is added to its sums
    int output;
    Window window;  // images is set by run()
    const std::vector<float>*weights = nullptr, *bias = nullptr;
    const std::vector<float>* slope = nullptr;  // of a PReLU or ReLU behind it
  };

  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, path_ + ": " + what); }
  Index count(int t) const {
    Index n = 1;
    for (Index d : shapes_[std::size_t(t)]) n *= d;
    return n;
  }
  float* data(Workspace& work, int t) const { return work[std::size_t(slots_[std::size_t(t)])].data(); }

  // ---- running

  using Picture = View<float, Host, kDyn, kDyn, kDyn>;
  using Rows = View<float, Host, kDyn, kDyn>;
  using Vector = View<float, Host, kDyn>;
  Picture picture(Workspace& work, int t, int n) const {
    const auto& s = shapes_[std::size_t(t)];
    return Picture(data(work, t), n * s[0], s[1], s[2]);
  }
  Rows pixels(Workspace& work, int t, int n) const {
    const Index channels = shapes_[std::size_t(t)].back();
    return Rows(data(work, t), n * count(t) / channels, channels);
  }
  static Vector vector(const std::vector<float>& v) { return Vector(const_cast<float*>(v.data()), Index(v.size())); }

  template <class Device>
  void step(Device& dev, const Step& s, int n, Workspace& work) const {
    if (s.slope)
      step(dev, s, n, work, vector(*s.slope));
    else
      step(dev, s, n, work, None{});
  }
  template <class Device, class S>
  void step(Device& dev, const Step& s, int n, Workspace& work, S slope) const {
    using Op = io::TfliteOp;
    Window window = s.window;
    window.images = n;
    const int x = s.inputs[0], y = s.output;
    switch (s.op) {
      case Op::kConv:
        if (s.inputs.size() > 1)
          conv(dev, picture(work, y, n), picture(work, x, n), weights(s), vector(*s.bias),
               picture(work, s.inputs[1], n), slope, window);
        else
          conv(dev, picture(work, y, n), picture(work, x, n), weights(s), vector(*s.bias), None{}, slope, window);
        return;
      case Op::kAdd: return add(dev, pixels(work, y, n), pixels(work, x, n), pixels(work, s.inputs[1], n), slope);
      case Op::kDepthwiseConv:
        depthwise_conv(dev, picture(work, y, n), picture(work, x, n), weights(s), vector(*s.bias), window);
        break;
      case Op::kMaxPool: max_pool(dev, picture(work, y, n), picture(work, x, n), window); break;
      case Op::kAveragePool: average_pool(dev, picture(work, y, n), picture(work, x, n), window); break;
      case Op::kResizeBilinear: resize_bilinear(dev, picture(work, y, n), picture(work, x, n), n); break;
      case Op::kPad: pad(pixels(work, y, n), pixels(work, x, n)); break;
      case Op::kConcatenation: join(work, s, n); break;
      case Op::kLogistic:
        std::transform(data(work, x), data(work, x) + n * count(x), data(work, y),
                       [](float v) { return 1 / (1 + std::exp(-v)); });
        break;
      case Op::kPrelu:
      case Op::kRelu:
      case Op::kReshape: copy(dev, flat(work, y, n), flat(work, x, n)); break;
      case Op::kDequantize: break;  // is no step
    }
    if constexpr (kPresent<S>) prelu(dev, pixels(work, y, n), pixels(work, y, n), slope);
  }
  Rows weights(const Step& s) const {
    const Index channels = Index(s.bias->size());
    return Rows(const_cast<float*>(s.weights->data()), Index(s.weights->size()) / channels, channels);
  }
  Rows flat(Workspace& work, int t, int n) const { return Rows(data(work, t), n, count(t)); }
  static void pad(Rows y, Rows x) {
    for (Index r = 0; r < y.rows(); ++r) {
      std::copy_n(x.row(r), x.size(1), y.row(r));
      std::fill(y.row(r) + x.size(1), y.row(r) + y.size(1), 0.f);
    }
  }
  // Along the first dimension of each picture.
  void join(Workspace& work, const Step& s, int n) const {
    float* to = data(work, s.output);
    for (int i = 0; i < n; ++i)
      for (int t : s.inputs) to = std::copy_n(data(work, t) + i * count(t), count(t), to);
  }

  // ---- building

  void build(const io::TfliteGraph& g) {
    if (g.inputs.size() != 1 || g.outputs.empty()) fail("expected one input and at least one output");
    input_ = g.inputs[0];
    outputs_ = g.outputs;
    for (const io::TfliteTensor& t : g.tensors) shapes_.push_back(shape_of(t));
    std::vector<bool> known(g.tensors.size());  // written, or the input
    known[std::size_t(input_)] = true;
    if (shapes_[std::size_t(input_)].size() != 3) fail("expected one picture as input");
    std::vector<int> readers(g.tensors.size());
    for (int t : outputs_) ++readers[std::size_t(t)];
    for (const io::TfliteNode& n : g.nodes)
      for (int t : n.inputs)
        if (t >= 0) ++readers[std::size_t(t)];
    for (const io::TfliteNode& n : g.nodes) add_node(g, n, readers, known);
    Index results = 0;
    for (int t : outputs_) {
      if (!known[std::size_t(t)]) fail("an output is never computed");
      results += count(t);
    }
    if (results > kMost) fail("gives " + std::to_string(results) + " numbers a picture");
    place();
  }
  // Without the leading dimension of a batch of 1.
  std::vector<Index> shape_of(const io::TfliteTensor& t) const {
    std::vector<Index> shape = t.shape;
    if (shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());
    if (shape.empty()) shape = {1};
    Index n = 1;
    for (Index d : shape) {
      if (d < 1 || d > kMost / n) return {0};
      n *= d;
    }
    return shape;
  }
  // The numbers of a constant, through a DEQUANTIZE if there is one.
  std::vector<float> constant(const io::TfliteGraph& g, int t) const {
    if (t < 0) fail("an operator lacks an input");
    const auto halved = dequantised_.find(t);
    const io::TfliteTensor& tensor = g.tensors[std::size_t(halved == dequantised_.end() ? t : halved->second)];
    if (tensor.bytes.empty() || (tensor.dtype != io::DType::kF32 && tensor.dtype != io::DType::kF16))
      fail("the tensor " + tensor.name + " is no constant of f32 or f16");
    return io::to_floats({*tensor.dtype, tensor.shape, tensor.bytes});
  }
  const std::vector<float>* keep(std::vector<float> values) {
    kept_ += Index(values.size());
    if (kept_ > kMost) fail("has more than " + std::to_string(kMost) + " numbers of constants");
    return constants_.emplace_back(std::make_unique<std::vector<float>>(std::move(values))).get();
  }

  void add_node(const io::TfliteGraph& g, const io::TfliteNode& n, const std::vector<int>& readers,
                std::vector<bool>& known) {
    using Op = io::TfliteOp;
    if (n.inputs.empty() || n.outputs.size() != 1) fail("an operator without input or with several outputs");
    if (n.op == Op::kDequantize) {
      if (n.inputs[0] < 0) fail("an operator lacks an input");
      dequantised_[n.outputs[0]] = n.inputs[0];
      return;
    }
    const std::size_t activations = n.op == Op::kConcatenation ? n.inputs.size() : n.op == Op::kAdd ? 2 : 1;
    if (n.inputs.size() < activations) fail("an operator lacks an input");
    Step s{n.op, {n.inputs.begin(), n.inputs.begin() + std::ptrdiff_t(activations)}, n.outputs[0], {}};
    for (int t : s.inputs)
      if (t < 0 || !known[std::size_t(t)]) fail("an operator reads what is not computed before it");
    if (known[std::size_t(s.output)]) fail("a tensor is computed twice");
    if (n.op == Op::kConv || n.op == Op::kDepthwiseConv || is_pool(n.op)) add_window(g, n, s);
    if (n.op == Op::kConcatenation) {
      const int rank = int(g.tensors[std::size_t(s.output)].shape.size());
      if ((n.axis < 0 ? n.axis + rank : n.axis) != 1) fail("expected tensors joined along their first dimension");
    }
    check_shapes(s);
    if (n.op == Op::kPrelu) {
      s.slope = keep(constant(g, n.inputs.size() > 1 ? n.inputs[1] : -1));
      if (std::cmp_not_equal(s.slope->size(), shapes_[std::size_t(s.output)].back())) fail("a PReLU lacks slopes");
    } else if (n.relu || n.op == Op::kRelu) {
      s.slope = keep(std::vector<float>(std::size_t(shapes_[std::size_t(s.output)].back())));
    }
    known[std::size_t(s.output)] = true;
    if (n.op == Op::kAdd && joins_conv(s, readers)) return;
    if ((n.op == Op::kPrelu || n.op == Op::kRelu) && readers[std::size_t(s.inputs[0])] == 1 && follows(s.inputs[0])) {
      steps_.back().output = s.output;
      steps_.back().slope = s.slope;
    } else {
      steps_.push_back(std::move(s));
    }
  }
  // Makes a sum a part of the convolution right before it, if that is where one of its terms comes from.
  bool joins_conv(const Step& sum, const std::vector<int>& readers) {
    for (const int i : {0, 1}) {
      const int t = sum.inputs[std::size_t(i)];
      if (readers[std::size_t(t)] != 1 || !follows(t)) continue;
      Step& last = steps_.back();
      if (last.op != io::TfliteOp::kConv || last.inputs.size() > 1) return false;
      last.inputs.push_back(sum.inputs[std::size_t(1 - i)]);
      last.output = sum.output;
      last.slope = sum.slope;
      return true;
    }
    return false;
  }
  // Whether tensor t is what the last step computes, with nothing done to it yet.
  bool follows(int t) const { return !steps_.empty() && steps_.back().output == t && !steps_.back().slope; }

  static bool is_pool(io::TfliteOp op) { return op == io::TfliteOp::kMaxPool || op == io::TfliteOp::kAveragePool; }

  // Taps, strides and what lies outside; weights as [taps · in, out] or [taps, channels].
  void add_window(const io::TfliteGraph& g, const io::TfliteNode& n, Step& s) {
    const auto &x = shapes_[std::size_t(s.inputs[0])], &y = shapes_[std::size_t(s.output)];
    if (x.size() != 3 || y.size() != 3) fail("expected pictures around a convolution or a pool");
    Window& w = s.window;
    w.stride_y = n.stride_y;
    w.stride_x = n.stride_x;
    if (is_pool(n.op)) {
      w.height = n.filter_y;
      w.width = n.filter_x;
    } else {
      if (n.inputs.size() < 3) fail("a convolution lacks its weights or its bias");
      take_weights(g, n, s, x[2], y[2]);
    }
    for (const int size : {w.height, w.width, w.stride_y, w.stride_x})
      if (size < 1 || size > kMostTaps)
        fail("expected taps and strides from 1 to " + std::to_string(kMostTaps) + ", found " + std::to_string(size));
    w.top = padding(n.same_padding, x[0], y[0], w.height, w.stride_y);
    w.left = padding(n.same_padding, x[1], y[1], w.width, w.stride_x);
  }
  void take_weights(const io::TfliteGraph& g, const io::TfliteNode& n, Step& s, Index in, Index out) {
    const bool depthwise = n.op == io::TfliteOp::kDepthwiseConv;
    const auto& shape =
        g.tensors[std::size_t(std::max(0, n.inputs[1]))].shape;  // [out, h, w, in] or [1, h, w, channels]
    std::vector<float> weights = constant(g, n.inputs[1]), bias = constant(g, n.inputs[2]);
    if (shape.size() != 4 || shape[0] != (depthwise ? 1 : out) || shape[3] != (depthwise ? out : in) ||
        (depthwise && in != out) || std::cmp_not_equal(bias.size(), out) ||
        std::cmp_not_equal(weights.size(), shape[0] * shape[1] * shape[2] * shape[3]))
      fail("weights of " + io::shape_text(shape) + " for " + std::to_string(in) + " channels to " +
           std::to_string(out));
    s.window.height = int(shape[1]);
    s.window.width = int(shape[2]);
    if (!depthwise) {
      const Index taps = Index(weights.size()) / out;
      std::vector<float> turned(weights.size());
      for (Index o = 0; o < out; ++o)
        for (Index k = 0; k < taps; ++k) turned[std::size_t(k * out + o)] = weights[std::size_t(o * taps + k)];
      weights = std::move(turned);
    }
    s.weights = keep(std::move(weights));
    s.bias = keep(std::move(bias));
  }
  // Above or left of a picture; checks the size that the file gives for what comes out.
  int padding(bool same, Index in, Index out, int taps, int stride) const {
    const Index expected = same ? (in + stride - 1) / stride : in < taps ? 0 : (in - taps) / stride + 1;
    if (out != expected)
      fail("a window gives " + std::to_string(expected) + " rows or columns, not " + std::to_string(out));
    return same ? int(std::max<Index>(0, (out - 1) * stride + taps - in) / 2) : 0;
  }

  void check_shapes(const Step& s) const {
    using Op = io::TfliteOp;
    const auto &x = shapes_[std::size_t(s.inputs[0])], &y = shapes_[std::size_t(s.output)];
    bool fits = count(s.inputs[0]) > 0 && count(s.output) > 0;
    switch (s.op) {
      case Op::kMaxPool:
      case Op::kAveragePool: fits = fits && x[2] == y[2]; break;
      case Op::kResizeBilinear: fits = fits && x.size() == 3 && y.size() == 3 && x[2] == y[2]; break;
      case Op::kAdd: fits = fits && x == y && shapes_[std::size_t(s.inputs[1])] == y; break;
      case Op::kPrelu:
      case Op::kRelu:
      case Op::kLogistic: fits = fits && x == y; break;
      case Op::kReshape: fits = fits && count(s.inputs[0]) == count(s.output); break;
      case Op::kPad:  // channels only
        fits = fits && x.size() == 3 && y.size() == 3 && x[0] == y[0] && x[1] == y[1] && x[2] <= y[2];
        break;
      case Op::kConcatenation: {
        Index all = 0;
        for (int t : s.inputs) {
          const auto& part = shapes_[std::size_t(t)];
          fits = fits && part.size() == y.size() && std::equal(part.begin() + 1, part.end(), y.begin() + 1);
          all += part[0];
        }
        fits = fits && all == y[0];
        break;
      }
      default: break;
    }
    if (!fits) fail("an operator makes " + io::shape_text(y) + " of " + io::shape_text(x));
  }

  // Gives every tensor a place in memory that no other one needs at that time.
  void place() {
    std::vector<std::size_t> last(shapes_.size(), 0);
    for (std::size_t i = 0; i < steps_.size(); ++i)
      for (int t : steps_[i].inputs) last[std::size_t(t)] = i;
    for (int t : outputs_) last[std::size_t(t)] = steps_.size();
    slots_.assign(shapes_.size(), -1);
    std::vector<int> free;
    const auto take = [&](int t) {
      const auto better = [&](int a, int b) { return slot_sizes_[std::size_t(a)] < slot_sizes_[std::size_t(b)]; };
      auto best = std::max_element(free.begin(), free.end(), better);
      for (auto it = free.begin(); it != free.end(); ++it)  // the smallest that is large enough
        if (slot_sizes_[std::size_t(*it)] >= count(t) &&
            (slot_sizes_[std::size_t(*best)] < count(t) || better(*it, *best)))
          best = it;
      if (best == free.end()) {
        slot_sizes_.push_back(0);
        free.push_back(int(slot_sizes_.size()) - 1);
        best = free.end() - 1;
      }
      const int slot = *best;
      free.erase(best);
      slots_[std::size_t(t)] = slot;
      slot_sizes_[std::size_t(slot)] = std::max(slot_sizes_[std::size_t(slot)], count(t));
    };
    take(input_);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      take(steps_[i].output);
      for (int t : steps_[i].inputs)
        if (last[std::size_t(t)] == i && std::find(free.begin(), free.end(), slots_[std::size_t(t)]) == free.end())
          free.push_back(slots_[std::size_t(t)]);
    }
    if (workspace_size() > kMost) fail("needs room for " + std::to_string(workspace_size()) + " numbers a picture");
  }

  std::string path_;
  std::vector<std::vector<Index>> shapes_;  // of all tensors, without the batch; {0}: none that could be run
  std::vector<Step> steps_;
  std::vector<std::unique_ptr<std::vector<float>>> constants_;
  Index kept_ = 0;                  // numbers of constants_
  std::map<int, int> dequantised_;  // a tensor to the constant in f16 that it is of
  std::vector<int> slots_;
  std::vector<Index> slot_sizes_;
  int input_ = 0;
  std::vector<int> outputs_;
};

}  // namespace facellava::faces

// Writes small TensorFlow Lite models: every node is the same operator, with strides of 1 and padding that keeps sizes.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace facellava::test {

struct TfliteModel {
  struct Tensor {
    std::vector<int> shape;
    int type = 0;    // 0: f32, 1: f16
    int buffer = 0;  // 0: none
  };
  struct Node {
    std::vector<int> inputs, outputs;
  };
  int op = 0;  // its number in the schema
  std::vector<Tensor> tensors;
  std::vector<Node> nodes;
  std::vector<int> inputs, outputs;
  std::vector<std::string> buffers{""};
};

// A FlatBuffer: whatever is linked stands behind what links it.
class TfliteWriter {
 public:
  explicit TfliteWriter(const TfliteModel& m) {
    bytes = std::string(4, '\0') + "TFL3";
    const auto model = table({1, 2, 4});
    link(0, model);
    const auto codes = list(model + 4, 1), graphs = list(model + 8, 1);
    const auto code = table({3}), graph = table({0, 1, 2, 3});
    link(codes, code);
    set(code + 4, m.op);
    link(graphs, graph);
    const auto tensors = list(graph + 4, m.tensors.size());
    for (std::size_t i = 0; i < m.tensors.size(); ++i) {
      const auto tensor = table({0, 1, 2});
      link(tensors + 4 * i, tensor);
      numbers(tensor + 4, m.tensors[i].shape);
      set(tensor + 8, m.tensors[i].type);
      set(tensor + 12, m.tensors[i].buffer);
    }
    numbers(graph + 8, m.inputs);
    numbers(graph + 12, m.outputs);
    const auto nodes = list(graph + 16, m.nodes.size());
    for (std::size_t i = 0; i < m.nodes.size(); ++i) {
      const auto node = table({1, 2, 4});
      link(nodes + 4 * i, node);
      numbers(node + 4, m.nodes[i].inputs);
      numbers(node + 8, m.nodes[i].outputs);
      const auto options = table({1, 2});
      link(node + 12, options);
      set(options + 4, 1);
      set(options + 8, 1);
    }
    const auto buffers = list(model + 12, m.buffers.size());
    for (std::size_t i = 0; i < m.buffers.size(); ++i) {
      const auto buffer = table({0});
      link(buffers + 4 * i, buffer);
      link(buffer + 4, bytes.size());
      set(bytes.size(), int(m.buffers[i].size()));
      bytes += m.buffers[i];
    }
  }
  std::string bytes;

 private:
  // Four bytes, which may be the next ones.
  void set(std::size_t at, int value) {
    if (at + 4 > bytes.size()) bytes.resize(at + 4);
    std::memcpy(bytes.data() + at, &value, 4);
  }
  void link(std::size_t at, std::size_t to) { set(at, int(to - at)); }
  // With these fields, of four bytes each; the first one is 4 bytes from where it begins.
  std::size_t table(const std::vector<int>& fields) {
    const auto last = std::size_t(fields.back());
    std::vector<std::uint16_t> places(3 + last);
    places[0] = std::uint16_t(2 * places.size());
    places[1] = std::uint16_t(4 + 4 * fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) places[2 + std::size_t(fields[i])] = std::uint16_t(4 + 4 * i);
    const std::size_t first = bytes.size();
    bytes.append(reinterpret_cast<const char*>(places.data()), 2 * places.size());
    const std::size_t at = bytes.size();
    set(at, int(at - first));
    bytes.resize(at + 4 + 4 * fields.size());
    return at;
  }
  // Room for n elements, linked from `from`; where the first one stands.
  std::size_t list(std::size_t from, std::size_t n) {
    link(from, bytes.size());
    set(bytes.size(), int(n));
    bytes.resize(bytes.size() + 4 * n);
    return bytes.size() - 4 * n;
  }
  void numbers(std::size_t from, const std::vector<int>& values) {
    const auto at = list(from, values.size());
    for (std::size_t i = 0; i < values.size(); ++i) set(at + 4 * i, values[i]);
  }
};

}  // namespace facellava::test

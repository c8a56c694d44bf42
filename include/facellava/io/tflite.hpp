// Reads TensorFlow Lite models: the graph, its constants and the options of the operators that face nets are made of.
// A .tflite file is one FlatBuffer: tables whose fields are found through a table of offsets, vectors that begin with
// their length, all little-endian, all by offsets within the file. Every offset is checked before it is followed, and
// every list is bounded, as many may be the same bytes of the file; tensors point into the file.   Source:
// tensorflow/compiler/mlir/lite/schema/schema.fbs; flatbuffers' binary format.
#pragma once
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "facellava/io/mapped_file.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

enum class TfliteOp {
  kAdd = 0,
  kAveragePool = 1,
  kConcatenation = 2,
  kConv = 3,
  kDepthwiseConv = 4,
  kDequantize = 6,
  kLogistic = 14,
  kMaxPool = 17,
  kRelu = 19,
  kReshape = 22,
  kResizeBilinear = 23,
  kPad = 34,
  kPrelu = 54
};
inline constexpr std::pair<TfliteOp, const char*> kTfliteOps[] = {
    {TfliteOp::kAdd, "ADD"},
    {TfliteOp::kAveragePool, "AVERAGE_POOL_2D"},
    {TfliteOp::kConcatenation, "CONCATENATION"},
    {TfliteOp::kConv, "CONV_2D"},
    {TfliteOp::kDepthwiseConv, "DEPTHWISE_CONV_2D"},
    {TfliteOp::kDequantize, "DEQUANTIZE"},
    {TfliteOp::kLogistic, "LOGISTIC"},
    {TfliteOp::kMaxPool, "MAX_POOL_2D"},
    {TfliteOp::kRelu, "RELU"},
    {TfliteOp::kReshape, "RESHAPE"},
    {TfliteOp::kResizeBilinear, "RESIZE_BILINEAR"},
    {TfliteOp::kPad, "PAD"},
    {TfliteOp::kPrelu, "PRELU"},
};

struct TfliteTensor {
  std::string name;
  std::vector<Index> shape;
  std::optional<DType> dtype;        // none: a type that no face net has
  std::span<const std::byte> bytes;  // of a constant
};
struct TfliteNode {
  TfliteOp op;
  std::vector<int> inputs, outputs;  // tensors; −1: an input that is left out
  bool same_padding = false;         // as much as keeps the size / stride, the larger half below and right
  int stride_x = 1, stride_y = 1, filter_x = 1, filter_y = 1;
  int axis = 0;  // of a concatenation
  bool relu = false;
};
struct TfliteGraph {
  std::vector<TfliteTensor> tensors;
  std::vector<TfliteNode> nodes;
  std::vector<int> inputs, outputs;
};

namespace detail {

// Bounds-checked access to a FlatBuffer.
class FlatBuffer {
 public:
  FlatBuffer(std::span<const std::byte> bytes, std::string path) : bytes_(bytes), path_(std::move(path)) {}

  template <class T>
  T load(std::size_t at) const {
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T))
      fail("an offset of " + std::to_string(at) + " lies beyond its " + std::to_string(bytes_.size()) + " bytes");
    T v;
    std::memcpy(&v, bytes_.data() + at, sizeof v);
    return v;
  }
  std::size_t follow(std::size_t at) const { return at + load<std::uint32_t>(at); }
  std::span<const std::byte> part(std::size_t at, std::size_t n) const {
    if (at > bytes_.size() || bytes_.size() - at < n)
      fail(std::to_string(n) + " bytes from " + std::to_string(at) + " on lie beyond its " +
           std::to_string(bytes_.size()) + " bytes");
    return bytes_.subspan(at, n);
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, path_ + ": " + what); }

 private:
  std::span<const std::byte> bytes_;
  std::string path_;
};

struct FlatVector {
  const FlatBuffer* buffer;
  std::size_t first = 0;
  std::uint32_t count = 0;
};

class FlatTable {
 public:
  FlatTable(const FlatBuffer& b, std::size_t at) : b_(&b), at_(at) {
    const std::int64_t fields = std::int64_t(at) - b.load<std::int32_t>(at);
    if (fields < 0) b.fail("a table's list of fields lies before the file");
    fields_ = std::size_t(fields);
    size_ = b.load<std::uint16_t>(fields_);
  }
  template <class T>
  T get(int field, T absent) const {
    const auto at = find(field);
    return at ? b_->load<T>(*at) : absent;
  }
  std::optional<FlatTable> table(int field) const {
    const auto at = find(field);
    if (!at) return {};
    return FlatTable(*b_, b_->follow(*at));
  }
  // Elements of `size` bytes; empty if the field is absent.
  FlatVector vector(int field, std::size_t size) const {
    const auto at = find(field);
    if (!at) return {b_};
    const std::size_t start = b_->follow(*at);
    const auto count = b_->load<std::uint32_t>(start);
    b_->part(start + 4, std::size_t(count) * size);
    return {b_, start + 4, count};
  }
  std::vector<FlatTable> tables(int field) const {
    const FlatVector v = vector(field, 4);
    check_length(v, kMostTables);
    std::vector<FlatTable> out;
    for (std::uint32_t i = 0; i < v.count; ++i) out.emplace_back(*b_, b_->follow(v.first + 4 * i));
    return out;
  }
  std::vector<int> integers(int field) const {
    const FlatVector v = vector(field, 4);
    check_length(v, kMostIntegers);
    std::vector<int> out;
    for (std::uint32_t i = 0; i < v.count; ++i) out.push_back(b_->load<std::int32_t>(v.first + 4 * i));
    return out;
  }
  std::span<const std::byte> bytes(int field) const {
    const FlatVector v = vector(field, 1);
    return b_->part(v.first, v.count);
  }

 private:
  static constexpr std::uint32_t kMostTables = 1 << 14, kMostIntegers = 64;  // face nets: below 1000, below 8

  void check_length(const FlatVector& v, std::uint32_t most) const {
    if (v.count > most)
      b_->fail("expected a list of at most " + std::to_string(most) + " elements, found " + std::to_string(v.count));
  }
  std::optional<std::size_t> find(int field) const {
    const std::size_t entry = 4 + 2 * std::size_t(field);
    if (entry + 2 > size_) return {};
    const auto offset = b_->load<std::uint16_t>(fields_ + entry);
    if (offset == 0) return {};
    return at_ + offset;
  }

  const FlatBuffer* b_;
  std::size_t at_, fields_ = 0, size_ = 0;
};

inline std::optional<DType> dtype_of_tflite(int type) {
  switch (type) {
    case 0: return DType::kF32;
    case 1: return DType::kF16;
    case 2: return DType::kI32;
    case 3: return DType::kU8;
    case 4: return DType::kI64;
    default: return {};
  }
}

}  // namespace detail

// The first subgraph of a model. The file must outlive what is returned.
// Errors: kFormat (truncated, offsets that lead out of the file, an operator that is not in kTfliteOps, by number).
class Tflite {
 public:
  explicit Tflite(const std::string& path) : file_(path), graph_(read(file_.bytes(), path)) {}
  const TfliteGraph& graph() const { return graph_; }
  const std::string& path() const { return file_.path(); }

  static TfliteGraph read(std::span<const std::byte> bytes, const std::string& path) {
    const detail::FlatBuffer b(bytes, path);
    if (bytes.size() < 8 || std::memcmp(bytes.data() + 4, "TFL3", 4) != 0)
      b.fail("is no TensorFlow Lite model (bytes 4 to 8 are not TFL3)");
    const detail::FlatTable model(b, b.follow(0));
    const auto subgraphs = model.tables(2);
    if (subgraphs.empty()) b.fail("has no subgraph");
    const detail::FlatTable& main = subgraphs[0];
    std::vector<TfliteOp> codes;
    for (const detail::FlatTable& code : model.tables(1)) codes.push_back(operator_of(b, code));
    TfliteGraph g;
    const auto buffers = model.tables(4);
    for (const detail::FlatTable& t : main.tables(0)) g.tensors.push_back(tensor(b, t, buffers));
    for (const detail::FlatTable& n : main.tables(3)) g.nodes.push_back(node(b, n, codes, g.tensors.size()));
    g.inputs = main.integers(1);
    g.outputs = main.integers(2);
    for (const auto* list : {&g.inputs, &g.outputs}) check_tensors(b, *list, 0, g.tensors.size());
    return g;
  }

 private:
  static TfliteOp operator_of(const detail::FlatBuffer& b, const detail::FlatTable& code) {
    const int number = std::max<int>(code.get<std::int8_t>(0, 0), code.get<std::int32_t>(3, 0));
    for (const auto& [op, name] : kTfliteOps)
      if (int(op) == number) return op;
    std::string known;
    for (const auto& [op, name] : kTfliteOps) known += (known.empty() ? "" : ", ") + std::string(name);
    b.fail("expected operators among " + known + ", found number " + std::to_string(number));
  }
  static TfliteTensor tensor(const detail::FlatBuffer& b, const detail::FlatTable& t,
                             const std::vector<detail::FlatTable>& buffers) {
    TfliteTensor out;
    const auto name = t.bytes(3);
    constexpr std::size_t kMostName = 256;
    out.name.assign(reinterpret_cast<const char*>(name.data()), std::min(name.size(), kMostName));
    for (int d : t.integers(0)) {
      if (d < 0) b.fail("the tensor " + out.name + " has a dimension of " + std::to_string(d));
      out.shape.push_back(d);
    }
    out.dtype = detail::dtype_of_tflite(t.get<std::int8_t>(1, 0));
    const auto buffer = t.get<std::uint32_t>(2, 0);
    if (buffer >= buffers.size()) b.fail("the tensor " + out.name + " is in a buffer that is not there");
    out.bytes = buffers[buffer].bytes(0);
    if (out.bytes.empty() || !out.dtype) return out;
    const auto wanted = checked_bytes(*out.dtype, out.shape);
    if (!wanted || std::cmp_not_equal(*wanted, out.bytes.size()))
      b.fail("the tensor " + out.name + ", " + shape_text(out.shape) + ", has " + std::to_string(out.bytes.size()) +
             " bytes");
    return out;
  }
  static TfliteNode node(const detail::FlatBuffer& b, const detail::FlatTable& t, const std::vector<TfliteOp>& codes,
                         std::size_t tensors) {
    const auto code = t.get<std::uint32_t>(0, 0);
    if (code >= codes.size()) b.fail("an operator has a code that is not there");
    TfliteNode n{codes[code], t.integers(1), t.integers(2)};
    check_tensors(b, n.inputs, -1, tensors);
    check_tensors(b, n.outputs, 0, tensors);
    const auto options = t.table(4);
    if (!options) return n;
    const bool pool = n.op == TfliteOp::kMaxPool || n.op == TfliteOp::kAveragePool;
    if (n.op == TfliteOp::kConv || n.op == TfliteOp::kDepthwiseConv || pool) {
      n.same_padding = options->get<std::int8_t>(0, 0) == 0;
      n.stride_x = options->get<std::int32_t>(1, 0);
      n.stride_y = options->get<std::int32_t>(2, 0);
    }
    if (pool) {
      n.filter_x = options->get<std::int32_t>(3, 0);
      n.filter_y = options->get<std::int32_t>(4, 0);
    }
    if (n.op == TfliteOp::kConcatenation) n.axis = options->get<std::int32_t>(0, 0);
    if (n.op == TfliteOp::kResizeBilinear &&
        (options->get<std::int8_t>(2, 0) != 0 || options->get<std::int8_t>(3, 0) == 0))
      b.fail("a picture is resized by its corners, expected by the centres of its pixels");
    n.relu = activation(b, n, *options);
    const int dilation = n.op == TfliteOp::kConv ? 4 : n.op == TfliteOp::kDepthwiseConv ? 5 : -1;
    if (dilation >= 0 &&
        (options->get<std::int32_t>(dilation, 1) != 1 || options->get<std::int32_t>(dilation + 1, 1) != 1))
      b.fail("a convolution is dilated, which is not supported");
    return n;
  }
  static bool activation(const detail::FlatBuffer& b, const TfliteNode& n, const detail::FlatTable& options) {
    int field = -1;
    if (n.op == TfliteOp::kAdd) field = 0;
    if (n.op == TfliteOp::kConcatenation) field = 1;
    if (n.op == TfliteOp::kConv) field = 3;
    if (n.op == TfliteOp::kDepthwiseConv) field = 4;
    if (n.op == TfliteOp::kMaxPool || n.op == TfliteOp::kAveragePool) field = 5;
    const int kind = field < 0 ? 0 : options.get<std::int8_t>(field, 0);
    if (kind > 1) b.fail("expected no activation or ReLU in an operator, found number " + std::to_string(kind));
    return kind == 1;
  }
  static void check_tensors(const detail::FlatBuffer& b, const std::vector<int>& list, int least, std::size_t tensors) {
    for (int i : list)
      if (i < least || std::cmp_greater_equal(i, tensors))
        b.fail("tensor " + std::to_string(i) + " of " + std::to_string(tensors) + " is used");
  }

  MappedFile file_;
  TfliteGraph graph_;
};

}  // namespace facellava::io

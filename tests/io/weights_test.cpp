#include "facellava/io/weights.hpp"

#include "facellava/core/visit.hpp"
#include "facellava/io/safetensors_writer.hpp"
#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

template <class P>
struct Toy {
  Matrix<P, 2, 3> matrix;
  Matrix<P, 2, 12> kernel;    // [2, 3, 2, 2] in the file
  Matrix<P, 4, 3> positions;  // [1, 4, 3] in the file
  Matrix<P, 2, 3> q, k;       // halves of a fused [4, 3]
  Matrix<P, 2, 3> head;       // shares the tensor of `matrix`
  Vector<P, 3> vector;
  Vector<P, 1> scalar;  // [] in the file
  void visit(auto&& f) {
    f("toy.matrix", matrix);
    f("toy.kernel", kernel);
    f("toy.positions", positions);
    f("toy.q", q);
    f("toy.k", k);
    f("toy.head", head);
    f("toy.vector", vector);
    f("toy.scalar", scalar);
  }
};

constexpr Rename kRules[] = {
    {"toy.q", "model.qk", 0, 2}, {"toy.k", "model.qk", 1, 2}, {"toy.head", "model.matrix"}, {"toy.*", "model.*"}};
bool everything(std::string_view) { return true; }
bool nothing(std::string_view) { return false; }

struct Shape {
  std::string name;
  std::vector<Index> shape;
};
const std::vector<Shape> kShapes{{"model.matrix", {2, 3}},       {"model.kernel", {2, 3, 2, 2}},
                                 {"model.positions", {1, 4, 3}}, {"model.qk", {4, 3}},
                                 {"model.vector", {3}},          {"model.scalar", {}}};

// Element i of each tensor is i + 1, exact in every format.
template <class T>
std::string counting(Index n) {
  std::string bytes;
  for (Index i = 0; i < n; ++i) {
    if constexpr (std::same_as<T, float>) bytes += le(float(i + 1));
    if constexpr (std::same_as<T, bf16>) bytes += le(to_bf16(float(i + 1)));
    if constexpr (std::same_as<T, std::int32_t>) bytes += le(std::int32_t(i + 1));
  }
  return bytes;
}
template <class T>
std::shared_ptr<const Checkpoint> toy_file(const std::string& path, const std::vector<Shape>& shapes) {
  const DType dtype = std::same_as<T, float> ? DType::kF32 : std::same_as<T, bf16> ? DType::kBf16 : DType::kI32;
  std::vector<std::string> bytes;
  for (const auto& s : shapes) bytes.push_back(counting<T>(*checked_count(s.shape)));
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < shapes.size(); ++i)
    tensors.push_back({shapes[i].name, dtype, shapes[i].shape, as_bytes(bytes[i])});
  write_safetensors(path, tensors);
  return std::make_shared<Checkpoint>(path);
}

Report bind_strict(Weights& weights, auto& toy, Weights::Convert convert = {}) {
  return weights.bind_strict(leaves_from([&](auto&& f) { toy.visit(f); }), convert, nothing, nothing);
}
template <class P>
void check_counting(Toy<P>& toy, Index k_first = 7) {
  const auto check = [](const auto& matrix, Index first) {
    REQUIRE(matrix.data != nullptr);
    for (Index i = 0, n = first; i < matrix.size(0); ++i)
      for (Index j = 0; j < matrix.size(1); ++j, ++n) CHECK(float(matrix(i, j)) == float(n));
  };
  for (const auto* m : {&toy.matrix, &toy.q, &toy.head}) check(*m, 1);
  check(toy.kernel, 1);
  check(toy.positions, 1);
  check(toy.k, k_first);
  for (Index i = 0; i < 3; ++i) CHECK(toy.vector(i) == float(i + 1));
  CHECK(toy.scalar(0) == 1.f);
}

}  // namespace

TEST_CASE("leaves of every kind are bound from fp32 and bf16") {
  const Scratch scratch;
  const auto f32 = toy_file<float>(scratch.at("f32.safetensors"), kShapes);
  const auto bf = toy_file<bf16>(scratch.at("bf16.safetensors"), kShapes);
  for (const auto& file : {f32, bf}) {
    Weights weights;
    weights.add(file, kRules, everything);
    Toy<Stored<Host>> stored;
    const Report report = bind_strict(weights, stored);
    CHECK(report.bound.size() == 8);
    check_counting(stored);
    CHECK(stored.matrix.format == (file == bf ? Format::kBf16 : Format::kF32));
    CHECK(stored.matrix.data == file->at("model.matrix").bytes.data());  // as it lies in the file
    CHECK(stored.k.data == file->at("model.qk").bytes.data() + 6 * (file == bf ? 2 : 4));

    Toy<Plain<const float, Host>> read_only;
    bind_strict(weights, read_only);
    check_counting(read_only);

    Toy<Plain<float, Host>> own;
    bind_strict(weights, own);
    check_counting(own);
    std::vector<float> mine(6);
    Toy<Plain<float, Host>> given;
    given.matrix = View<float, Host, 2, 3>(mine.data());
    bind_strict(weights, given);
    CHECK(given.matrix.data == mine.data());
    CHECK(mine == std::vector<float>{1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("matrices are rounded to bf16 on demand") {
  const Scratch scratch;
  Weights weights;
  weights.add(toy_file<float>(scratch.at("a.safetensors"), kShapes), kRules, everything);
  Toy<Stored<Host>> toy;
  bind_strict(weights, toy, Format::kBf16);
  CHECK(toy.kernel.format == Format::kBf16);
  check_counting(toy);
}

TEST_CASE("tensors that are not aligned for their type are copied") {
  const Scratch scratch;
  // A header whose length is odd shifts all data by one byte.
  std::string header = R"({"model.matrix":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  if (header.size() % 2 == 0) header += ' ';
  const auto file = std::make_shared<Checkpoint>(
      scratch.write("odd.safetensors", le(std::uint64_t(header.size())) + header + counting<float>(6)));
  const auto* lies = file->at("model.matrix").bytes.data();
  REQUIRE(reinterpret_cast<std::uintptr_t>(lies) % 2 == 1);
  Weights weights;
  weights.add(file, kRules, everything);
  StoredTensor<Host, 2, 3> stored;
  View<const float, Host, 2, 3> view;
  CHECK(weights
            .bind(leaves_from([&](auto&& f) {
              f("toy.matrix", stored);
              f("toy.head", view);
            }))
            .complete());
  CHECK(stored.data != lies);
  CHECK(reinterpret_cast<std::uintptr_t>(stored.data) % 4 == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(view.data) % 4 == 0);
  CHECK(stored(1, 2) == 6.f);
  CHECK(view(1, 2) == 6.f);
}

TEST_CASE("the report names what is missing, unexpected and of another shape") {
  const Scratch scratch;
  auto shapes = kShapes;
  shapes[0].shape = {3, 2};
  shapes[1].shape = {2, 3, 2};
  shapes[3].shape = {5, 3};
  shapes.erase(shapes.begin() + 4);
  shapes.push_back({"model.extra", {1}});
  shapes.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {1}});
  Weights weights;
  weights.add(toy_file<float>(scratch.at("a.safetensors"), shapes), kRules, everything);
  Toy<Stored<Host>> toy;
  const Report report = weights.bind(leaves_from([&](auto&& f) { toy.visit(f); }));
  CHECK_FALSE(report.complete());
  CHECK(report.missing == std::vector<std::string>{"model.vector"});
  CHECK(report.unexpected == std::vector<std::string>{"model.extra"});
  CHECK(report.misshaped.size() == 5);
  CHECK(report.bound.size() == 2);
  CHECK(mentions(report.text(), "model.matrix: expected [2, 3], found [3, 2]"));
  CHECK(toy.matrix.data == nullptr);
  CHECK(toy.vector.data == nullptr);
  const auto text = error_of(ErrorKind::kFormat, [&] { bind_strict(weights, toy); });
  for (const char* part : {"a.safetensors", "model.vector", "model.extra", "model.kernel"}) CHECK(mentions(text, part));
  error_of(ErrorKind::kArgument, [&] {
    Weights none;
    bind_strict(none, toy);
  });
}

TEST_CASE("what may be absent and what may be there besides is up to the caller") {
  const Scratch scratch;
  auto shapes = kShapes;
  shapes.erase(shapes.begin());  // model.matrix, of two leaves
  shapes.push_back({"model.extra", {1}});
  Weights weights;
  weights.add(toy_file<bf16>(scratch.at("a.safetensors"), shapes), kRules, everything);
  Toy<Stored<Host>> toy;
  const auto bind = [&](std::string_view may_lack, std::string_view also, std::string_view may_have) {
    weights.bind_strict(
        leaves_from([&](auto&& f) { toy.visit(f); }), {},
        [&](std::string_view ours) { return ours == may_lack || ours == also; },
        [&](std::string_view theirs) { return theirs == may_have; });
  };
  CHECK_NOTHROW(bind("toy.matrix", "toy.head", "model.extra"));
  CHECK(toy.matrix.data == nullptr);
  CHECK(toy.kernel.data != nullptr);
  // The head cannot do without a tensor that only the matrix may lack.
  CHECK(mentions(error_of(ErrorKind::kFormat, [&] { bind("toy.matrix", "", "model.extra"); }), "1 missing"));
  CHECK(mentions(error_of(ErrorKind::kFormat, [&] { bind("toy.matrix", "toy.head", ""); }), "1 unexpected"));
}

TEST_CASE("each leaf comes from the first source that serves it") {
  const Scratch scratch;
  constexpr Rename other[] = {{"toy.vector", "vision.bias"}};
  Weights weights;
  weights.add(toy_file<float>(scratch.at("tower.safetensors"), {{"vision.bias", {3}}}), other,
              [](std::string_view ours) { return ours == "toy.vector"; });
  auto shapes = kShapes;
  shapes.erase(shapes.begin() + 4);
  weights.add(toy_file<bf16>(scratch.at("model.safetensors"), shapes), kRules, everything);
  Toy<Stored<Host>> toy;
  bind_strict(weights, toy);
  check_counting(toy);
}

TEST_CASE("integers are no weights") {
  const Scratch scratch;
  Weights weights;
  weights.add(toy_file<std::int32_t>(scratch.at("a.safetensors"), kShapes), kRules, everything);
  Toy<Stored<Host>> toy;
  CHECK(mentions(error_of(ErrorKind::kFormat, [&] { bind_strict(weights, toy); }), "q4_1 or nf4, found i32"));
}

TEST_CASE("a long report is cut") {
  Report report;
  for (int i = 0; i < 50; ++i) report.missing.push_back("tensor " + std::to_string(i));
  const std::string text = report.text(20);
  CHECK(mentions(text, "50 missing"));
  CHECK(mentions(text, "tensor 19\n"));
  CHECK(text.find("tensor 20\n") == text.npos);
  CHECK(mentions(text, "... and 30 more"));
}

TEST_CASE("leaves of a real checkpoint, from .bin and safetensors") {
  const std::string folder = std::string(FACELLAVA_GOLDENS) + "/model_tiny/";
  std::vector<float> first;
  for (const char* name : {"ckpt_bin_fp16", "ckpt_safetensors_bf16"}) {
    Weights weights;
    weights.add(std::make_shared<Checkpoint>(folder + name), kOfficial, everything);
    StoredTensor<Host, 16, 16> q;
    StoredTensor<Host, 32, 3 * 14 * 14> patches;
    View<const float, Host, 16> norm;
    const Report report = weights.bind(leaves_from([&](auto&& f) {
      f("llama.layers.0.self_attn.q_proj.weight", q);
      f("image_tower.embeddings.patch_embedding.weight", patches);
      f("llama.norm.weight", norm);
    }));
    CHECK(report.missing.empty());
    CHECK(report.misshaped.empty());
    REQUIRE(report.bound.size() == 3);
    std::vector<float> values{norm(0), norm(15)};
    for (Index i = 0; i < 16; ++i) values.push_back(q(i, 15 - i));
    for (Index i = 0; i < 32; ++i) values.push_back(patches(i, 587 - i));
    if (first.empty()) first = values;
    CHECK(values == first);
  }
}

// What work costs at least, against the weights themselves and against sums by hand.
#include "facellava/models/cost.hpp"

#include <doctest/doctest.h>

#include "facellava/core/leaf.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"

using namespace facellava;

namespace {

// Bytes of the matrices of L in a format; vectors and tables of positions, which are small, are not counted.
template <class L>
double bytes_of(Format f) {
  typename L::template Params<Stored<Host>> p;
  double bytes = 0;
  L::visit(
      [&](const std::string& name, auto& leaf) {
        if constexpr (requires { leaf.format; })
          if (name.find("position_embedding") == name.npos) bytes += double(leaf.rows() * row_bytes(f, leaf.size(1)));
      },
      "", p);
  return bytes;
}

}  // namespace

TEST_CASE("a decoder reads its matrices once, of the table of words the rows that are asked for") {
  for (Format f : {Format::kF32, Format::kBf16, Format::kQ4}) {
    constexpr LlamaConfig c = configs::kTiny.llama;
    const double table = double(c.vocab * row_bytes(f, c.block.dim)), row = table / c.vocab;
    const Cost cost = decoder_cost(c, f, 1, 0, 5, 1, 0);
    CHECK(cost.bytes == doctest::Approx(bytes_of<Llama<c>>(f) - table + 5 * row));
  }
}

TEST_CASE("a tower reads the matrices of the layers that run") {
  constexpr TowerConfig c = configs::kTiny.image;
  const double all = bytes_of<Tower<c>>(Format::kF32);
  const double layer = double(4 * c.block.dim * c.block.dim + 2 * c.block.dim * c.block.ffn) * 4;
  CHECK(tower_cost(c, Format::kF32).bytes == doctest::Approx(all - (c.layers - c.run_layers) * layer));
}

TEST_CASE("a chunk costs what its tokens cost one behind the other, but for the weights") {
  constexpr LlamaConfig c = configs::kFaceLlava7B.llama;
  Cost one_by_one;
  for (Index past = 0; past < 40; ++past) one_by_one += decoder_cost(c, Format::kBf16, 1, past, 1, 0, 2);
  CHECK(decoder_cost(c, Format::kBf16, 1, 0, 40, 0, 2).operations == doctest::Approx(one_by_one.operations));
}

TEST_CASE("the bounds of LLaMA-7B on an H100 are those of a sheet of paper") {
  constexpr LlamaConfig c = configs::kFaceLlava7B.llama;
  const Machine h100 = kMachines[0];
  // 6.6e9 weights in bf16 at 3.35 TB/s: 3.9 ms a token. 2,100 tokens: 28 TFLOP at 989 TFLOP/s, 28 ms.
  CHECK(least_seconds(decoder_cost(c, Format::kBf16, 1, 0, 1, 1, 2), h100, true) ==
        doctest::Approx(3.9e-3).epsilon(0.02));
  CHECK(least_seconds(decoder_cost(c, Format::kBf16, 1, 0, 2100, 1, 2), h100, true) ==
        doctest::Approx(28e-3).epsilon(0.05));
  // Forward and twice as much backward.
  CHECK(training_cost(c, Format::kBf16, 2048, 2048, 2048).operations ==
        doctest::Approx(3 * decoder_cost(c, Format::kBf16, 1, 0, 2048, 2048, 4).operations));
}

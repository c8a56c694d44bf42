// A real checkpoint: 260 thousand parameters trained on TinyStories, grouped-query attention, tied head. Its published
// greedy text must come out token for token. The file is llama2.c's: rotary pairs stand side by side, ours half a head
// apart.
#include "run/stories260k.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <list>
#include <sstream>

#include "facellava/io/mapped_file.hpp"
#include "facellava/run/generate.hpp"
#include "facellava/run/session.hpp"
#include "support/devices.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

using M = FaceLlava<kStories>;
using Weights = Plain<const float, Host>;

// Rows of q or k from adjacent pairs to half-head pairs.
std::vector<float> half_head_pairs(const float* w, int heads, int d, int width) {
  std::vector<float> o(std::size_t(heads * d * width));
  for (int h = 0; h < heads; ++h)
    for (int k = 0; k < d; ++k)
      std::copy_n(w + (h * d + k) * width, width, &o[std::size_t((h * d + k % 2 * d / 2 + k / 2) * width)]);
  return o;
}

struct Stories {
  io::MappedFile file{asset("stories260K.bin")};
  std::list<std::vector<float>> turned;
  M::Params<Weights> params;

  Stories() {
    const auto* header = reinterpret_cast<const int*>(file.bytes().data());
    REQUIRE(std::vector<int>(header, header + 7) == std::vector<int>{64, 172, 5, 8, 4, 512, 512});
    const float* at = reinterpret_cast<const float*>(header + 7);
    auto& p = params.llama;
    const auto take = [&](auto& leaf) {
      leaf = std::remove_reference_t<decltype(leaf)>(at);
      at += leaf.count();
    };
    const auto turn = [&](auto& leaf, int heads) {
      leaf = std::remove_reference_t<decltype(leaf)>(turned.emplace_back(half_head_pairs(at, heads, 8, 64)).data());
      at += leaf.count();
    };
    take(p.embed_tokens);
    for (auto& l : p.layers) take(l.input_layernorm.weight);
    for (auto& l : p.layers) turn(l.q_proj.weight, 8);
    for (auto& l : p.layers) turn(l.k_proj.weight, 4);
    for (auto& l : p.layers) take(l.v_proj.weight);
    for (auto& l : p.layers) take(l.o_proj.weight);
    for (auto& l : p.layers) take(l.post_attention_layernorm.weight);
    for (auto& l : p.layers) take(l.gate_proj.weight);
    for (auto& l : p.layers) take(l.down_proj.weight);
    for (auto& l : p.layers) take(l.up_proj.weight);
    take(p.norm.weight);
  }
};

// llama2.c's flat vocabulary: longest piece, then score, length and bytes of each.
std::vector<std::string> vocabulary() {
  const io::MappedFile file(asset("tok512.bin"));
  const std::byte* at = file.bytes().data() + 4;
  std::vector<std::string> pieces;
  for (int i = 0; i < 512; ++i) {
    int length;
    std::memcpy(&length, at + 4, 4);
    pieces.emplace_back(reinterpret_cast<const char*>(at + 8), std::size_t(length));
    at += 8 + length;
  }
  return pieces;
}

std::string words(const std::vector<int>& ids) {
  static const auto pieces = vocabulary();
  std::string text;
  for (int id : ids) {
    std::string piece = pieces[std::size_t(id)];
    if (text.empty() && piece.starts_with(' ')) piece.erase(0, 1);  // behind the begin token
    unsigned byte;
    text += std::sscanf(piece.c_str(), "<0x%02X>", &byte) == 1 ? std::string(1, char(byte)) : piece;
  }
  return text;
}

}  // namespace

TEST_CASE("the published greedy text, token for token, at every instruction set") {
  const Stories stories;
  std::ifstream file(asset("expected_greedy_200.txt"));
  std::stringstream want;
  want << file.rdbuf();
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    run::Session<M, cpu::Device, Weights> own(stories.params, run::LoadedParts{}, {.kv_rows = 512, .positions = 512},
                                              cpu::Options{.threads = 2, .isa = isa});
    run::AnySession& session = own;
    const run::Request begin{{1}, {}};
    const auto sequences = session.prefill(std::span(&begin, 1), 200);
    const auto story = run::generate(session, sequences, {.max_new_tokens = 200, .ends = {1}}, 512);
    CHECK(words(story[0].ids) == want.str());
  }
}

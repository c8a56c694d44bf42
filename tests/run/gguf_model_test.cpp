// GGUF files as models: the TinyStories checkpoint, written as GGUF in llama.cpp's order of rows, must give its
// published greedy text; what cannot be run is refused by name.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "facellava/run/generate.hpp"
#include "facellava/run/model.hpp"
#include "facellava/text/load_tokenizer.hpp"
#include "io/scratch.hpp"
#include "run/stories260k.hpp"
#include "support/devices.hpp"
#include "support/gguf_writer.hpp"

using namespace facellava;
using namespace facellava::test;
using Strings = std::vector<std::string>;

namespace {

using StoriesModel = run::Model<FaceLlava<kStories>, cpu::Device>;

// The tokenizer of llama2.c's flat file, as GGUF has it.
void add_tokenizer(GgufWriter& w, std::size_t tokens) {
  const io::MappedFile file(asset("tok512.bin"));
  const std::byte* at = file.bytes().data() + 4;
  Strings texts;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (std::size_t i = 0; i < tokens; ++i) {
    float score;
    std::uint32_t bytes;
    std::memcpy(&score, at, 4);
    std::memcpy(&bytes, at + 4, 4);
    std::string text(reinterpret_cast<const char*>(at + 8), bytes);
    at += 8 + bytes;
    const bool is_byte = i >= 3 && text.size() == 6 && text.starts_with("<0x");
    if (i < 3) text = Strings{"<unk>", "<s>", "</s>"}[i];
    for (std::size_t space; (space = text.find(' ')) != std::string::npos;) text.replace(space, 1, "\u2581");
    texts.push_back(text);
    scores.push_back(score);
    types.push_back(i == 0 ? 2 : i < 3 ? 3 : is_byte ? 6 : 1);
  }
  w.add("tokenizer.ggml.model", std::string("llama")).add("tokenizer.ggml.tokens", texts);
  w.add("tokenizer.ggml.scores", scores).add("tokenizer.ggml.token_type", types);
}

// What a test may change of the metadata: a number is written instead of the right one, "" leaves a key out.
struct Change {
  std::string key;
  std::optional<int> number = {};
};

void add_geometry(GgufWriter& w, const Change& change = {}) {
  const auto add = [&](const std::string& key, int right) {
    if (key != change.key)
      w.add(key, std::uint32_t(right));
    else if (change.number)
      w.add(key, std::int32_t(*change.number));
  };
  add("llama.block_count", 5);
  add("llama.context_length", 512);
  add("llama.embedding_length", 64);
  add("llama.feed_forward_length", 172);
  add("llama.attention.head_count", 8);
  add("llama.attention.head_count_kv", 4);
  add("llama.rope.dimension_count", 8);
  add("llama.vocab_size", 512);
  if (change.key != "llama.attention.layer_norm_rms_epsilon") w.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

// A matrix in Q8_0 where its rows are whole blocks, else in F32.
enum class Matrices { kF32, kQ8 };
void add_matrix(GgufWriter& w, const std::string& name, std::uint64_t rows, std::uint64_t columns, const float* values,
                Matrices matrices) {
  if (matrices == Matrices::kF32 || columns % 32 != 0) {
    w.tensor(name, {rows, columns}, values);
    return;
  }
  const Index step = row_bytes(Format::kQ8, Index(columns));
  std::string bytes(std::size_t(Index(rows) * step), '\0');
  for (Index r = 0; r < Index(rows); ++r)
    quantise_row(Format::kQ8, reinterpret_cast<std::byte*>(bytes.data()) + r * step, values + r * Index(columns),
                 Index(columns));
  w.tensor(name, 8, {rows, columns}, bytes);
}

// llama2.c keeps neighbours beside each other, as GGUF does: its rows are copied as they are.
void add_tensors(GgufWriter& w, Matrices matrices = Matrices::kF32) {
  const io::MappedFile file(asset("stories260K.bin"));
  const float* at = reinterpret_cast<const float*>(file.bytes().data()) + 7;
  const auto take = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    if (columns == 0)
      w.tensor(name, {rows}, at);
    else
      add_matrix(w, name, rows, columns, at, matrices);
    at += rows * std::max<std::uint64_t>(columns, 1);
  };
  const auto layers = [&](const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    for (int i = 0; i < 5; ++i) take("blk." + std::to_string(i) + "." + name + ".weight", rows, columns);
  };
  take("token_embd.weight", 512, 64);
  layers("attn_norm", 64, 0);
  layers("attn_q", 64, 64);
  layers("attn_k", 32, 64);
  layers("attn_v", 32, 64);
  layers("attn_output", 64, 64);
  layers("ffn_norm", 64, 0);
  layers("ffn_gate", 172, 64);
  layers("ffn_down", 64, 172);
  layers("ffn_up", 172, 64);
  take("output_norm.weight", 64, 0);
}

GgufWriter architecture(const std::string& name = "llama") {
  GgufWriter w;
  w.add("general.architecture", name);
  return w;
}
// A whole file; `more` may add to its metadata.
template <class More>
std::string stories(More&& more, const Change& change = {}, std::size_t tokens = 512) {
  GgufWriter w = architecture();
  add_geometry(w, change);
  more(w);
  add_tokenizer(w, tokens);
  add_tensors(w);
  return w.bytes();
}
std::string changed(const Change& change, std::size_t tokens = 512) {
  return stories([](GgufWriter&) {}, change, tokens);
}

std::vector<int> greedy(const StoriesModel& model, int tokens) {
  const auto session = model.open({.kv_rows = 512, .positions = 512});
  const run::Request begin{{1}, {}};
  const auto sequences = session->prefill(std::span(&begin, 1), tokens);
  return run::generate(*session, sequences, {.max_new_tokens = tokens, .ends = {1}}, 512)[0].ids;
}

std::string refused(const Scratch& scratch, const std::string& bytes) {
  const std::string path = scratch.write("bad.gguf", bytes);
  return error_of(ErrorKind::kFormat, [&] { run::ModelFolder({path}); });
}

}  // namespace

TEST_CASE("the published greedy text from a GGUF file, tokenizer included") {
  const Scratch scratch;
  const std::string path = scratch.write("stories.gguf", changed({}));
  const run::ModelFolder folder({path});
  CHECK(folder.geometry() == kStories);
  CHECK(folder.settings().positions == 512);
  CHECK(folder.settings().prompt_template == text::Template::kRaw);
  CHECK(folder.settings().ends == std::vector<int>{2});
  const auto report = run::inspect<FaceLlava<kStories>>(folder);
  CHECK(report.complete());
  CHECK(report.bound.size() == 47);
  std::stringstream want;
  want << std::ifstream(asset("expected_greedy_200.txt")).rdbuf();
  const auto ids = greedy(StoriesModel(folder, {}, cpu::Options{.threads = 2}), 200);
  const auto tokenizer = text::load_tokenizer(path);
  CHECK(tokenizer.decode(ids, text::Specials::kSkip) == want.str());
}

TEST_CASE("blocks move with their rows: as quantising what is in order") {
  const Scratch scratch;
  GgufWriter w = architecture();
  add_geometry(w);
  add_tokenizer(w, 512);
  add_tensors(w, Matrices::kQ8);
  const run::ModelFolder blocks({scratch.write("q8.gguf", w.bytes())}), plain({scratch.write("f32.gguf", changed({}))});
  const auto keys = [](const run::ModelFolder& folder, io::Weights::Convert convert) {
    FaceLlava<kStories>::Params<Stored<Host>> params;
    io::Weights weights;
    run::add_sources(weights, folder);
    weights.bind(leaves_of<FaceLlava<kStories>>(params), convert);
    std::vector<float> values;
    for (const auto& layer : params.llama.layers)
      for (Index r = 0; r < 32; ++r)
        for (Index c = 0; c < 64; ++c) values.push_back(layer.k_proj.weight(r, c));
    return values;
  };
  CHECK(keys(blocks, {}) == keys(plain, Format::kQ8));
}

TEST_CASE("a head of its own, and rope bases and scalings that can be run") {
  const Scratch scratch;
  const auto geometry = [&](auto&& more) {
    return run::ModelFolder({scratch.write("m.gguf", stories(more))}).geometry().llama;
  };
  const auto plain = geometry([](auto& w) { w.add("llama.rope.scaling.type", std::string("none")); });
  CHECK(plain.head == Head::kTied);
  CHECK(plain.rope == RopeConfig{});
  const std::vector<float> head(512 * 64);
  CHECK(geometry([&](auto& w) { w.tensor("output.weight", {512, 64}, head.data()); }).head == Head::kOwn);
  CHECK(geometry([](auto& w) { w.add("llama.rope.freq_base", 1e5f); }).rope.theta == 1e5f);
  const RopeConfig linear{.scaling = RopeScaling::kLinear, .factor = 4};
  CHECK(geometry([](auto& w) { w.add("llama.rope.scaling.factor", 4.f); }).rope == linear);
  CHECK(geometry([](auto& w) { w.add("llama.rope.scale_linear", 4.f); }).rope == linear);
  CHECK(geometry([](auto& w) { w.add("llama.rope.scaling.factor", 1.f); }).rope == RopeConfig{});
}

TEST_CASE("what would compute something else is refused by name") {
  const Scratch scratch;
  const auto with = [&](auto&& more) { return refused(scratch, stories(more)); };
  GgufWriter other = architecture("qwen2");
  CHECK(mentions(refused(scratch, other.bytes()), "the architecture \"qwen2\" is not supported"));
  CHECK(mentions(refused(scratch, GgufWriter().bytes()), "\"general.architecture\" is missing"));
  CHECK(
      mentions(with([](auto& w) { w.add("llama.rope.scaling.type", std::string("yarn")); }), "rope scaling \"yarn\""));
  CHECK(mentions(with([](auto& w) { w.add("llama.rope.scaling.factor", 0.5f); }), "makes no sense"));
  const float table[4] = {1, 1, 1, 1};
  CHECK(mentions(with([&](auto& w) { w.tensor("rope_freqs.weight", {4}, table); }), "rope_freqs.weight"));
  CHECK(mentions(with([](auto& w) { w.add("llama.expert_count", std::uint32_t(8)); }), "llama.expert_count"));
  CHECK(mentions(with([](auto& w) { w.add("llama.attention.causal", false); }), "llama.attention.causal"));
  CHECK(mentions(with([](auto& w) { w.add("llama.logit_scale", 2.f); }), "llama.logit_scale"));
  CHECK(mentions(with([](auto& w) { w.add("llama.attention.value_length", std::uint32_t(16)); }),
                 "expected 8, found 16"));
  const Scratch& s = scratch;
  const auto path = s.write("good.gguf", changed({}));
  CHECK(mentions(error_of(ErrorKind::kArgument, [&] { run::ModelFolder({path, "tower"}); }), "no projector"));
}

TEST_CASE("metadata that is missing or makes no sense") {
  const Scratch scratch;
  for (const std::string key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                                "attention.head_count", "attention.layer_norm_rms_epsilon"})
    CHECK(mentions(refused(scratch, changed({"llama." + key})), "\"llama." + key + "\" is missing"));
  for (const std::string key : {"block_count", "context_length", "attention.head_count", "attention.head_count_kv"})
    for (const int number : {0, -1})
      CHECK(mentions(refused(scratch, changed({"llama." + key, number})), "expected a positive number"));
  CHECK(mentions(refused(scratch, changed({"llama.context_length", 2000000000})), "at most"));
  CHECK(mentions(refused(scratch, changed({"llama.rope.dimension_count", 4})), "expected 8, found 4"));
  CHECK(mentions(refused(scratch, changed({"llama.vocab_size", 511})), "expected 512, found 511"));
  CHECK(mentions(refused(scratch, changed({}, 500)),
                 "tokens of a model with that many embeddings: expected 512, found 500"));
  const auto eos = [](GgufWriter& w) { w.add("tokenizer.ggml.eos_token_id", std::uint32_t(512)); };
  CHECK(mentions(refused(scratch, stories(eos)), "tokenizer.ggml.eos_token_id"));
}

TEST_CASE("a file with other tensors than its geometry says is refused at load") {
  const Scratch scratch;
  const auto what = [&](const std::string& bytes) {
    const run::ModelFolder folder({scratch.write("m.gguf", bytes)});
    return error_of(ErrorKind::kFormat, [&] { StoriesModel(folder, {}, cpu::Options{.threads = 1}); });
  };
  const float bias[64] = {};
  CHECK(mentions(what(stories([&](auto& w) { w.tensor("blk.0.attn_q.bias", {64}, bias); })), "blk.0.attn_q.bias"));
  GgufWriter w = architecture();
  add_geometry(w);
  add_tokenizer(w, 512);
  const std::vector<float> zeros(512 * 64);
  w.tensor("token_embd.weight", {512, 64}, zeros.data()).tensor("blk.0.attn_q.weight", {32, 64}, zeros.data());
  const std::string text = what(w.bytes());
  CHECK(mentions(text, "blk.0.attn_q.weight: expected [64, 64], found [32, 64]"));
  CHECK(mentions(text, "45 missing"));
}

TEST_CASE("chat templates and ends of answers") {
  const Scratch scratch;
  const auto settings = [&](auto&& more) {
    GgufWriter w = architecture();
    add_geometry(w, {"llama.vocab_size", 4});
    more(w);
    w.add("tokenizer.ggml.tokens", Strings{"<|endoftext|>", "a", "<|im_end|>", "</s>"});
    w.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{3, 1, 3, 1});
    w.tensor("token_embd.weight", {4, 2}, std::vector<float>(8).data());
    return run::ModelFolder({scratch.write("m.gguf", w.bytes())}).settings();
  };
  const auto chat = settings([](auto& w) {
    w.add("tokenizer.ggml.eos_token_id", std::uint32_t(2));
    w.add("tokenizer.chat_template", std::string("<|im_start|>{{x}}<|im_end|>"));
  });
  CHECK(chat.prompt_template == text::Template::kChatMl);
  CHECK(chat.ends == std::vector<int>{2, 0});
  const auto own = settings([](auto& w) {
    w.add("tokenizer.ggml.eot_token_id", std::uint32_t(1));
    w.add("tokenizer.chat_template", std::string("[INST]"));
  });
  CHECK(own.prompt_template == text::Template::kUnknown);
  CHECK(own.ends == std::vector<int>{1, 0, 2});
}

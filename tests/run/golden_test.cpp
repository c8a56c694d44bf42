// The whole tiny Face-LLaVA, from pixels and ids to logits and greedy tokens, against the official code: every case,
// both checkpoint formats, every instruction set. Demands: inputs_embeds 2e-5, hidden states and logits 1e-4 of the
// largest value (noise floors 1e-6 and 7e-6), greedy ids equal.
#include <doctest/doctest.h>

#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

// One padded golden tensor against the unpadded rows of every request; every 16th position of long cases.
void compare(const TinyCase& c, const Keeper& kept, const std::string& mine, const std::string& theirs, Index width,
             const std::vector<Index>& columns, double demand) {
  const std::string name = c.golden.has(theirs) ? theirs : theirs + ".every16";
  if (!c.golden.has(name)) return;
  const Index step = name == theirs ? 1 : 16, length = c.golden.shape(name)[1], n = Index(columns.size());
  const auto golden = c.golden.floats(name);
  std::vector<float> a, b;
  for (std::size_t r = 0; r < c.requests.size(); ++r) {
    const auto& values = kept.at(r, mine);
    REQUIRE(Index(values.size()) == Index(c.rows[r].size()) * width);
    for (std::size_t i = 0; i < c.rows[r].size(); ++i) {
      if (c.rows[r][i] % step != 0) continue;
      for (Index k = 0; k < n; ++k) {
        a.push_back(values[i * std::size_t(width) + std::size_t(columns[std::size_t(k)])]);
        b.push_back(golden[std::size_t((Index(r) * length + c.rows[r][i] / step) * n + k)]);
      }
    }
  }
  REQUIRE(!a.empty());
  CAPTURE(name);
  CHECK(relative_to_max(a, b, Index(a.size())) < demand);
}

std::vector<Index> all_columns(Index n) {
  std::vector<Index> c(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; ++i) c[std::size_t(i)] = i;
  return c;
}

void check_case(const TinyCase& c, run::AnySession& session) {
  Keeper kept;
  const auto sequences = session.prefill(c.requests, 32, &kept);
  compare(c, kept, "inputs_embeds", "inputs_embeds", kTinyWidth, all_columns(kTinyWidth), 2e-5);
  compare(c, kept, "hidden_final", "hidden_final", kTinyWidth, all_columns(kTinyWidth), 1e-4);
  compare(c, kept, "logits", "logits.columns", kTinyVocabulary, c.meta["logits_columns"].get<std::vector<Index>>(),
          1e-4);

  const auto last = c.golden.floats("logits.last");
  std::vector<float> mine;
  for (Index r = 0; r < session.logits().rows(); ++r)
    mine.insert(mine.end(), session.logits().row(r), session.logits().row(r) + kTinyVocabulary);
  REQUIRE(mine.size() == last.size());
  CHECK(relative_to_max(mine, last, Index(last.size())) < 1e-4);

  if (!c.golden.has("generated_ids")) return;
  const auto want = c.golden.integers("generated_ids");
  const auto got = run::generate(session, sequences, {.max_new_tokens = int(want.size())}, 4096);
  CHECK(std::vector<std::int64_t>(got[0].ids.begin(), got[0].ids.end()) == want);
}

}  // namespace

TEST_CASE("every case, both formats, every instruction set") {
  for (const char* format : {"ckpt_safetensors_bf16", "ckpt_bin_fp16"}) {
    CAPTURE(format);
    const run::ModelFolder folder({tiny_folder(format)});
    REQUIRE(run::runs(configs::kTiny, folder.geometry()));
    for (cpu::Isa isa : cpu::kIsas) {
      if (isa > cpu::best_isa()) continue;
      CAPTURE(cpu::isa_name(isa));
      const TinyModel model(folder, {}, cpu::Options{.threads = 2, .isa = isa});
      for (const char* name : kTinyCases) {
        CAPTURE(name);
        const TinyCase c(name);
        check_case(c, *model.open({.kv_rows = 5000, .positions = 4096}));
      }
    }
  }
}

TEST_CASE("the reference device gives the same, on a picture and on text") {
  const run::ModelFolder folder({tiny_folder("ckpt_safetensors_bf16")});
  const run::Model<FaceLlava<configs::kTiny>, ref::Device> model(folder, {});
  for (const char* name : {"image_landmarks", "text_only"}) {
    CAPTURE(name);
    check_case(TinyCase(name), *model.open({.kv_rows = 500, .positions = 4096}));
  }
}

TEST_CASE("bf16 products stay near fp32") {
  // Activations rounded to 8 bits of mantissa before every product: 2^-9 each, through 3 layers with residual streams.
  const run::ModelFolder folder({tiny_folder("ckpt_safetensors_bf16")});
  const TinyModel model(folder, {}, cpu::Options{.precision = cpu::Precision::kNative});
  for (const char* name : kTinyCases) {
    const TinyCase c(name);
    const auto session = model.open({.kv_rows = 5000, .positions = 4096});
    session->prefill(c.requests, 0);
    const auto last = c.golden.floats("logits.last");
    CHECK(relative_to_max(session->logits().data, last, Index(last.size())) < 0.05);
  }
}

// The memory plan against what sessions really ask for; limits; memory that is not granted.
#include "facellava/run/memory_plan.hpp"

#include <doctest/doctest.h>

#include "support/counting_memory.hpp"
#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// An Error of that kind; its message.
template <class F>
std::string refused(ErrorKind kind, F f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  FAIL("accepted");
  return {};
}

// Runs f with a session of the model that takes memory from two counters; the plan is for `work`.
template <class Model, class F>
void compare(const run::ModelFolder& from, int threads, run::SessionOptions o, const run::Workload& work, F f) {
  CountingMemory session_memory, scratch;
  const Model model(from, {}, cpu::Options{.threads = threads, .memory = &scratch});
  const run::MemoryPlan plan = model.plan(o, work);
  CHECK(session_memory.calls() == 0);
  CHECK(scratch.calls() == 0);
  o.services.memory = &session_memory;
  {
    const auto session = model.open(o);
    f(*session);
  }
  CAPTURE(plan.text());
  CHECK(session_memory.live() == 0);
  // Never less than what is taken. A little more: the visual tokens are gone when candidates are scored, and each
  // thread is planned to do the largest piece of everything.
  CHECK(session_memory.peak() <= plan.session_bytes());
  CHECK(scratch.peak() <= plan.scratch);
  CHECK(double(plan.session_bytes()) < 1.05 * double(session_memory.peak()));
  CHECK(double(plan.total()) < 1.05 * double(plan.weight_bytes() + session_memory.peak() + scratch.peak()));
}

}  // namespace

TEST_CASE("the plan of a session is its measured peak: pictures, videos, batches, chunks, answers, candidates") {
  for (const char* name : kTinyCases)
    for (Index chunk : {512, 100}) {
      CAPTURE(name);
      CAPTURE(chunk);
      const TinyCase c(name);
      run::Workload work = run::workload_of(c.requests, 6);
      work.scored = {3, 1, 9};
      const run::SessionOptions o{.kv_rows = run::rows_of(configs::kTiny, work), .positions = 4096, .chunk = chunk};
      compare<TinyModel>(bf16_folder(), 2, o, work, [&](run::AnySession& session) {
        const auto ids = session.prefill(c.requests, int(work.reserve));
        const std::vector<float> first(session.logits().row(0), session.logits().row(0) + kTinyVocabulary);
        run::generate(session, ids, {.max_new_tokens = 6, .ends = {}}, 4096);
        session.log_probs(ids[0], View<const float, Host, kDyn>(first.data(), kTinyVocabulary),
                          std::vector<std::vector<int>>{{5, 6, 7}, {8}, {1, 2, 3, 4, 5, 6, 7, 8, 9}});
      });
    }
}

TEST_CASE("the plan of the probe model with a picture, at several sizes of batch") {
  const run::ModelFolder probe({std::string(FACELLAVA_TEST_DATA) + "/assets/probe/model"});
  using Probe = run::Model<FaceLlava<configs::kProbe>, cpu::Device>;
  for (std::size_t batch : {1, 5}) {
    run::Request r{{1, text::kMediaSlot, 7, 8, 9}, {{}}};
    r.media[0].pixels.assign(3 * 112 * 112, 0.25f);
    r.media[0].points.assign(2 * kPoints, 0.5f);
    const std::vector<run::Request> requests(batch, r);
    const run::Workload work = run::workload_of(requests, 2);
    compare<Probe>(probe, 1, {.kv_rows = run::rows_of(configs::kProbe, work), .positions = 256}, work,
                   [&](run::AnySession& session) { session.prefill(requests, 2); });
  }
}

TEST_CASE("a plan has every weight once, and knows which are read") {
  const TinyModel model(bf16_folder(), {}, cpu::Options{.threads = 1});
  const auto plan = [&](run::RequestShape r) {
    return model.plan({.kv_rows = 4000, .positions = 4000}, {.requests = {r}});
  };
  std::size_t all = 0;
  for (const auto& [name, tensor] : bf16_folder().model()->tensors()) all += std::size_t(tensor.count()) * 2;
  std::size_t vectors = 0;  // bf16 in the file, fp32 in memory
  for (const auto& [name, tensor] : bf16_folder().model()->tensors())
    if (tensor.shape.size() == 1) vectors += std::size_t(tensor.count()) * 2;
  const auto sum = [](const run::MemoryPlan& p) {
    std::size_t n = p.weight_bytes();
    for (const auto& w : p.idle) n += w.bytes;
    return n;
  };
  const auto text = plan({.text = 5}), image = plan({.text = 5, .images = 1}), video = plan({.text = 5, .videos = 1});
  // The position ids of the towers are in the file and are no weights; biases of three dimensions are vectors too.
  CHECK(double(sum(text)) == doctest::Approx(double(all + vectors)).epsilon(0.01));
  CHECK(sum(image) == sum(text));
  CHECK(text.weight_bytes() < image.weight_bytes());
  CHECK(says(text.text(), "not read: image tower, bf16, mapped"));
  CHECK(says(image.text(), "weights, image tower, bf16, mapped"));
  CHECK(says(image.text(), "not read: video tower, bf16, mapped"));
  CHECK(says(video.text(), "weights, video tower, bf16, mapped"));
  CHECK(text.visual_tokens == 0);
  CHECK(image.visual_tokens > 0);

  const auto described = [](const std::vector<run::WeightBytes>& weights) {
    std::map<std::string, std::size_t> lines;
    for (const auto& w : weights) lines[run::MemoryPlan::describe(w)] += w.bytes;
    return lines;
  };
  using M = FaceLlava<configs::kTiny>;
  CHECK(described(run::all_weights<M>(Format::kBf16)) == described(run::planned_weights<M>(bf16_folder(), {})));
  const auto q8 = described(run::planned_weights<M>(bf16_folder(), {.convert = Format::kQ8}));
  CHECK(q8.at("decoder, q8, converted at load") ==
        std::size_t(2 * 32000 * 34 + 3 * (4 * 16 * 34 + 2 * 48 * 34 + 16 * 2 * 34)));
  CHECK_FALSE(q8.contains("decoder, bf16, mapped"));
}

TEST_CASE("the published model: keys, values and weights are what arithmetic says") {
  using M = FaceLlava<configs::kFaceLlava7B>;
  const auto bf16 = run::all_weights<M>(Format::kBf16), q4 = run::all_weights<M>(Format::kQ4);
  const auto decoder = [](const std::vector<run::WeightBytes>& all, Format f) {
    for (const auto& w : all)
      if (w.part == run::Part::kDecoder && w.format == f) return w.bytes;
    return std::size_t(0);
  };
  const std::size_t matrices = std::size_t(32) * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 2 * std::size_t(32000) * 4096;
  CHECK(decoder(bf16, Format::kBf16) == 2 * matrices);
  const std::size_t words = 2 * std::size_t(32000) * 4096;  // the table of words and the head stay in q8
  CHECK(decoder(q4, Format::kQ4) == (matrices - words) / 32 * 18);
  CHECK(decoder(q4, Format::kQ8) == words / 32 * 34);
  const run::SessionOptions o{.kv_rows = 1024, .positions = 2048};
  const run::Workload work{.requests = {{.text = 64, .images = 1}}, .reserve = 100};
  const auto plan = run::plan_memory<M, ref::Device>(bf16, o, work);
  CHECK(plan.keys_and_values == std::size_t(32) * 2 * 1024 * 4096 * 4);
  const auto half = run::plan_memory<M, ref::Device, facellava::bf16>(bf16, o, work);
  CHECK(half.keys_and_values == plan.keys_and_values / 2);
  CHECK(plan.visual_tokens == 256 * 4096 * 4);
  CHECK(plan.logits == 32000 * 4);
  CHECK(says(
      refused(ErrorKind::kCapacity, [&] { run::plan_memory<M, ref::Device>(bf16, o, {.requests = {{.text = 4000}}}); }),
      "expected at most 2048, found 4000"));
  CHECK(says(refused(ErrorKind::kArgument,
                     [&] {
                       using Probe = FaceLlava<configs::kProbe>;
                       run::plan_memory<Probe, ref::Device>({}, o, {.requests = {{.videos = 1}}});
                     }),
             "no tower for videos"));
}

TEST_CASE("a limit refuses with the lines of the plan, before memory is asked for") {
  const TinyCase c("image_landmarks");
  CountingMemory memory;
  const TinyModel model(bf16_folder(), {}, cpu::Options{.threads = 1});
  run::Workload work = run::workload_of(c.requests, 4);
  run::SessionOptions o{.kv_rows = run::rows_of(configs::kTiny, work), .positions = 4096};
  const run::MemoryPlan plan = model.plan(o, work);
  o.services.memory = &memory;

  o.services.memory_limit = plan.total();
  {
    const auto session = model.open(o);
    session->prefill(c.requests, 4);
  }
  CHECK(memory.peak() <= plan.total());

  o.services.memory_limit = plan.total() - 1;
  const auto session = model.open(o);
  const int calls = memory.calls();
  const std::string why = refused(ErrorKind::kCapacity, [&] { session->prefill(c.requests, 4); });
  CHECK(memory.calls() == calls);
  CHECK(says(why, "prefill: expected to need at most " + std::to_string(plan.total() - 1) + " bytes"));
  CHECK(says(why, "needs " + std::to_string(plan.total())));
  for (const auto& line : plan.lines()) CHECK(says(why, line.what));
  const run::Request text{{1, 2, 3}, {}};
  session->prefill(std::span(&text, 1), 0);  // the rows that the refused one held are free again
  CHECK(session->length(0) == 3);

  o.services.memory_limit = plan.weight_bytes();
  const int before = memory.calls();
  CHECK(says(refused(ErrorKind::kCapacity, [&] { model.open(o); }), "keys and values"));
  CHECK(memory.calls() == before);

  run::LoadOptions load;
  load.services.memory_limit = 1000;
  CHECK(says(refused(ErrorKind::kCapacity, [&] { TinyModel(bf16_folder(), load, cpu::Options{}); }),
             "weights, decoder, bf16, mapped"));
  load.convert = Format::kF32;
  CHECK(says(refused(ErrorKind::kCapacity, [&] { TinyModel(bf16_folder(), load, cpu::Options{}); }),
             "weights, decoder, f32, converted at load"));
}

TEST_CASE("memory that is not granted, at every call in turn: an error, and everything can be used again") {
  const TinyCase c("image_landmarks");
  CountingMemory memory;
  const TinyModel model(bf16_folder(), {}, cpu::Options{.threads = 2, .memory = &memory});
  const run::SessionOptions o{.kv_rows = 600, .positions = 4096, .chunk = 100, .services = {.memory = &memory}};
  const auto ask = [&](run::AnySession& s) {
    const auto ids = s.prefill(c.requests, 0);
    const std::vector<int> more(120, 5);
    s.append(ids, std::span(&more, 1));
    const std::vector<float> last(s.logits().row(0), s.logits().row(0) + kTinyVocabulary);
    const std::vector<std::vector<int>> labels{{5, 6, 7}, std::vector<int>(50, 3)};
    const auto scores = s.log_probs(ids[0], View<const float, Host, kDyn>(last.data(), kTinyVocabulary), labels);
    s.erase(ids[0]);
    std::vector<float> out = last;
    for (const auto& row : scores) out.insert(out.end(), row.begin(), row.end());
    return out;
  };
  std::vector<float> want;
  {
    const auto session = model.open(o);
    want = ask(*session);
  }
  for (int n = 0, failures = 1; failures > 0; ++n) {
    CAPTURE(n);
    failures = 0;
    memory.fail_from(n);
    std::unique_ptr<run::AnySession> session;
    const auto attempt = [&](auto&& f) {
      try {
        f();
      } catch (const Error& e) {
        ++failures;
        CHECK(e.kind() == ErrorKind::kCapacity);
        CHECK(says(e.what(), "bytes of memory"));
      }
    };
    attempt([&] { session = model.open(o); });
    if (session) attempt([&] { ask(*session); });
    if (session && failures > 0) CHECK(session->logits().rows() <= 1);
    memory.fail_from(1 << 30);
    if (!session) session = model.open(o);
    // Sequences of the failed attempt still hold their rows: a prefill of 100 tokens has room beside them.
    for (int id = 0; id < 2; ++id) try {
        session->erase(id);
      } catch (const Error& e) {
        CHECK(e.kind() == ErrorKind::kArgument);
      }
    CHECK(ask(*session) == want);
    REQUIRE(n < 200);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("a host hears what is loaded, what is missing and what a session takes") {
  std::vector<std::pair<LogLevel, std::string>> heard;
  const Services services{.log = [&](LogLevel level, std::string_view text) { heard.emplace_back(level, text); }};
  const TinyModel model(bf16_folder(), {.services = services}, cpu::Options{.threads = 1});
  REQUIRE(heard.size() == 1);
  CHECK(heard[0].first == LogLevel::kInfo);
  CHECK(says(heard[0].second, bf16_folder().path()));
  CHECK(says(heard[0].second, "decoder, bf16, mapped"));
  const auto session = model.open({.kv_rows = 10, .positions = 10, .services = services});
  REQUIRE(heard.size() == 2);
  CHECK(says(heard[1].second, "keys and values"));
}

TEST_CASE("keys and values in bf16: half the memory, the same bits in any batch, near the answer of fp32") {
  using Half = run::Model<FaceLlava<configs::kTiny>, cpu::Device, bf16>;
  const TinyCase c("batch2_right_padding");
  const TinyModel full(bf16_folder(), {}, cpu::Options{.threads = 2});
  const Half half(bf16_folder(), {}, cpu::Options{.threads = 2});
  const run::SessionOptions o{.kv_rows = 1000, .positions = 4096};
  CHECK(half.plan(o, {}).keys_and_values * 2 == full.plan(o, {}).keys_and_values);
  const auto logits = [&](const run::AnyModel& m, std::span<const run::Request> requests, Index chunk) {
    run::SessionOptions with = o;
    with.chunk = chunk;
    const auto session = m.open(with);
    session->prefill(requests, 0);
    const auto l = session->logits();
    return std::vector<float>(l.data, l.data + l.count());
  };
  const auto want = logits(full, c.requests, 512), got = logits(half, c.requests, 512);
  // Rounding keys and values to 8 bits moves scores by at most 2^-8 of their size; logits here are sums of 16 products.
  float most = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::abs(got[i] - want[i]));
    size = std::max(size, std::abs(want[i]));
  }
  CHECK(most > 0);
  CHECK(most < size / 64);
  CHECK(logits(half, c.requests, 7) == got);
  const auto alone = logits(half, std::span(c.requests).first(1), 512);
  CHECK(std::equal(alone.begin(), alone.end(), got.begin()));
}

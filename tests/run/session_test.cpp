// Sessions: batches, chunks, forks and threads change no bit; bad requests are errors that leave the session usable.
#include "facellava/run/session.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <thread>

#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

const TinyModel& model() {
  static const TinyModel m(bf16_folder(), {}, cpu::Options{.threads = 2});
  return m;
}
run::SessionOptions room(Index rows, Index chunk = 512) { return {.kv_rows = rows, .positions = 4096, .chunk = chunk}; }

std::vector<float> row(const run::AnySession& s, Index r) {
  return {s.logits().row(r), s.logits().row(r) + kTinyVocabulary};
}
run::Request text_request(std::vector<int> ids) { return {std::move(ids), {}}; }
const TinyCase& batch() {
  static const TinyCase c("batch2_right_padding");
  return c;
}
bool says(const std::exception& e, const char* part) { return std::string(e.what()).find(part) != std::string::npos; }

// Checks that f throws an Error of that kind with these words, and that the session still answers as before.
template <class F>
void refuses(run::AnySession& session, ErrorKind kind, const char* words, F f) {
  CAPTURE(words);
  bool thrown = false;
  try {
    f();
  } catch (const Error& e) {
    thrown = true;
    CAPTURE(e.what());
    CHECK(e.kind() == kind);
    CHECK(says(e, words));
  }
  CHECK(thrown);
  const auto fine = text_request({1, 2, 3});
  const auto before = session.prefill(std::span(&fine, 1), 0);
  CHECK(std::isfinite(session.logits()(0, 0)));
  session.erase(before[0]);
}

}  // namespace

TEST_CASE("an answer has the same bits alone and in a batch, at any chunk and thread count") {
  const auto check = [](const run::LoadOptions& load, cpu::Options device, std::vector<Index> chunks) {
    std::vector<std::vector<float>> want;
    for (int threads : {1, 2, 3})
      for (Index chunk : chunks) {
        device.threads = threads;
        const TinyModel m(bf16_folder(), load, device);
        const auto together = m.open(room(1000, chunk));
        together->prefill(batch().requests, 0);
        for (std::size_t i = 0; i < 2; ++i) {
          const auto got = row(*together, Index(i));
          if (want.size() <= i) want.push_back(got);
          CHECK(got == want[i]);
          const auto alone = m.open(room(500, chunk));
          alone->prefill(std::span(&batch().requests[i], 1), 0);
          CHECK(row(*alone, 0) == want[i]);
        }
        if (device.isa == cpu::Isa::kPortable) break;
      }
  };
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    CAPTURE(cpu::isa_name(isa));
    check({}, {.isa = isa}, {512, 100, 7});
    for (Format f : {Format::kBf16, Format::kQ8, Format::kQ4, Format::kQ4Offset, Format::kNf4}) {
      CAPTURE(format_name(f));
      check({.convert = f}, {.isa = isa, .precision = cpu::Precision::kNative}, {512, 7});
    }
  }
}

TEST_CASE("a fork answers as if it had been asked alone, and the parent too") {
  const auto& request = batch().requests[0];
  const std::vector<int> tail(request.ids.end() - 9, request.ids.end());
  run::Request head = request;
  head.ids.resize(head.ids.size() - tail.size());
  const auto whole = model().open(room(600)), forked = model().open(room(900));
  const auto sequence = whole->prefill(std::span(&request, 1), 32);
  const auto want_logits = row(*whole, 0);
  const auto want = run::generate(*whole, sequence, {.max_new_tokens = 12}, 4096);

  const auto parent = forked->prefill(std::span(&head, 1), 0)[0];
  for (int round = 0; round < 3; ++round) {
    const run::SequenceId child = forked->fork(parent);
    const std::vector<int> noise{5, 6, 7};
    const run::SequenceId other = forked->fork(parent);
    forked->append(std::span(&other, 1), std::span(&noise, 1));
    forked->append(std::span(&child, 1), std::span(&tail, 1));
    CHECK(row(*forked, 0) == want_logits);
    const auto got = run::generate(*forked, std::span(&child, 1), {.max_new_tokens = 12}, 4096);
    CHECK(got[0].ids == want[0].ids);
    CHECK(forked->length(parent) == forked->length(child) - int(tail.size()) - 11);
    forked->erase(child);
    forked->erase(other);
  }
  forked->append(std::span(&parent, 1), std::span(&tail, 1));  // the parent itself, after its children are gone
  CHECK(row(*forked, 0) == want_logits);
}

TEST_CASE("label scores: log-probabilities of one batched pass are those of asking one by one") {
  const auto session = model().open(room(900));
  const auto prefix = session->prefill(std::span(&batch().requests[0], 1), 0)[0];
  const auto first = row(*session, 0);
  const std::vector<std::vector<int>> labels{{100, 200, 300}, {7}, {100, 201}};
  const View<const float, Host, kDyn> first_view(first.data(), kTinyVocabulary);
  const auto scores = session->log_probs(prefix, first_view, labels);
  const auto log_softmax = [](const std::vector<float>& logits, int id) {
    double sum = 0;
    for (float v : logits) sum += std::exp(double(v));
    return double(logits[std::size_t(id)]) - std::log(sum);
  };
  for (std::size_t i = 0; i < labels.size(); ++i) {
    REQUIRE(scores[i].size() == labels[i].size());
    const run::SequenceId s = session->fork(prefix);
    std::vector<float> logits = first;
    for (std::size_t k = 0; k < labels[i].size(); ++k) {
      CHECK(scores[i][k] == doctest::Approx(log_softmax(logits, labels[i][k])).epsilon(1e-5));
      const std::vector<int> token{labels[i][k]};
      session->append(std::span(&s, 1), std::span(&token, 1));
      logits = row(*session, 0);
    }
    session->erase(s);
  }
  const auto probabilities = run::score_labels(*session, prefix, first_view, labels);
  float sum = 0;
  for (const auto& p : probabilities) sum += p.probability;
  CHECK(sum == doctest::Approx(1));
  CHECK(probabilities[1].probability / probabilities[2].probability ==
        doctest::Approx(std::exp(probabilities[1].log_probability - probabilities[2].log_probability)).epsilon(1e-4));
}

TEST_CASE("two sessions of one model on two threads") {
  const auto ask = [](std::vector<float>& out) {
    for (int i = 0; i < 3; ++i) {
      const auto session = model().open(room(400));
      session->prefill(std::span(&batch().requests[0], 1), 0);
      out = row(*session, 0);
    }
  };
  std::vector<float> a, b, c;
  ask(c);
  std::thread other([&] { ask(a); });
  ask(b);
  other.join();
  CHECK(a == c);
  CHECK(b == c);
}

TEST_CASE("bad requests: what and where, and the session stays usable") {
  const auto session = model().open(room(400));
  const auto prefill = [&](std::vector<run::Request> r) { session->prefill(r, 0); };
  run::Request good = batch().requests[0];

  run::Request r = good;
  r.media.clear();
  refuses(*session, ErrorKind::kArgument, "1 places for pictures", [&] { prefill({r}); });
  r = good;
  r.media.push_back(r.media[0]);
  refuses(*session, ErrorKind::kArgument, "its media have 2", [&] { prefill({r}); });
  r = batch().requests[1];
  r.media[0].points.clear();
  refuses(*session, ErrorKind::kArgument, "landmarks for part of a batch", [&] { prefill({good, r}); });
  r = good;
  r.ids.push_back(text::kMediaSlot);
  r.media.push_back(r.media[0]);
  r.media[1].points.clear();
  refuses(*session, ErrorKind::kArgument, "landmarks for 1 of its 2 media", [&] { prefill({r}); });
  r = good;
  r.media[0].points.resize(100);
  refuses(*session, ErrorKind::kArgument, "expected 136, found 100", [&] { prefill({r}); });
  r = good;
  r.media[0].pixels.resize(5);
  refuses(*session, ErrorKind::kShape, "numbers of a preprocessed image", [&] { prefill({r}); });
  r = good;
  r.media[0].pixels[777] = std::numeric_limits<float>::quiet_NaN();
  refuses(*session, ErrorKind::kNonFinite, "image tower", [&] { prefill({r}); });
  r = good;
  r.media[0].points[3] = std::numeric_limits<float>::infinity();
  refuses(*session, ErrorKind::kNonFinite, "visual tokens", [&] { prefill({r}); });
  refuses(*session, ErrorKind::kArgument, "expected a token id below 32000, found 32000", [&] {
    prefill({text_request({1, 32000})});
  });
  refuses(*session, ErrorKind::kArgument, "the prompt is empty", [&] { prefill({text_request({})}); });
  refuses(*session, ErrorKind::kCapacity, "context of the model",
          [&] { prefill({text_request(std::vector<int>(4097, 1))}); });
  refuses(*session, ErrorKind::kCapacity, "the KV cache has 400 free rows",
          [&] { prefill({text_request(std::vector<int>(401, 1))}); });
  refuses(*session, ErrorKind::kArgument, "no sequence 99", [&] { session->fork(99); });
  const std::vector<run::SequenceId> twice{0, 0};
  const std::vector<std::vector<int>> tokens{{1}, {1}}, none{{}, {}};
  const auto one = text_request({1, 2});
  const auto id = session->prefill(std::span(&one, 1), 0)[0];
  const std::vector<run::SequenceId> both{id, id};
  refuses(*session, ErrorKind::kArgument, "named twice", [&] { session->append(both, tokens); });
  refuses(*session, ErrorKind::kArgument, "gets no token",
          [&] { session->append(std::span(&id, 1), std::span(none).first(1)); });
  CHECK(session->length(id) == 2);
}

TEST_CASE("a KV cache of a size that makes no sense is refused before memory is asked for") {
  CHECK_THROWS_AS(model().open(room(Index(1) << 40)), Error);
  CHECK_THROWS_AS(model().open(room(-1)), Error);
}

TEST_CASE("a sequence grows until the last row, and rows come back") {
  const auto session = model().open(room(70));
  const auto request = text_request({1, 2, 3});
  for (int round = 0; round < 2; ++round) {
    const auto id = session->prefill(std::span(&request, 1), 0);
    const std::vector<int> token{4};
    for (int i = 0; i < 67; ++i) session->append(id, std::span(&token, 1));
    CHECK(session->length(id[0]) == 70);
    CHECK_THROWS_WITH_AS(session->append(id, std::span(&token, 1)),
                         "the KV cache has 0 free rows (at most 0 together), asked for 1", Error);
    session->erase(id[0]);
  }
}

TEST_CASE("a model without landmark modules refuses landmarks") {
  FaceLlava<configs::kTiny>::Params<Stored<Host>> params;
  run::Session<FaceLlava<configs::kTiny>, cpu::Device> own(params, {.landmarks = run::LandmarkModules::kMissing},
                                                           room(400), cpu::Options{});
  run::AnySession& session = own;
  CHECK_THROWS_WITH_AS(session.prefill(std::span(&batch().requests[0], 1), 0),
                       "landmarks are given, but the model was loaded without its landmark modules", Error);
}

TEST_CASE("generation: length, end token, stop within one token, context") {
  const auto session = model().open(room(4200));
  const auto request = text_request({1, 50, 60});
  const auto generate = [&](const run::GenerateOptions& o, Index positions, std::stop_source stop = {},
                            int stop_after = -1) {
    const auto id = session->prefill(std::span(&request, 1), 0);
    int said = 0;
    auto g = run::generate(
        *session, id, o, positions,
        [&](std::size_t, int) {
          if (++said == stop_after) stop.request_stop();
        },
        stop.get_token());
    session->erase(id[0]);
    return g[0];
  };
  const auto ten = generate({.max_new_tokens = 10}, 4096);
  CHECK(ten.ids.size() == 10);
  CHECK(ten.finish == run::Finish::kLength);
  const auto end = generate({.max_new_tokens = 10, .ends = {ten.ids[4]}}, 4096);
  CHECK(end.finish == run::Finish::kEos);
  CHECK(end.ids.back() == ten.ids[4]);
  const auto stopped = generate({.max_new_tokens = 10}, 4096, {}, 3);
  CHECK(stopped.finish == run::Finish::kStopped);
  CHECK(stopped.ids.size() == 3);
  const auto full = generate({.max_new_tokens = 10}, 6);
  CHECK(full.finish == run::Finish::kContext);
  CHECK(full.ids.size() == 4);  // three positions are left, and the last token needs none
  CHECK(generate({.max_new_tokens = 0}, 4096).ids.empty());
  CHECK_THROWS_AS(generate({.sampling = {.temperature = -1}}, 4096), Error);

  const auto drawn = generate({.max_new_tokens = 10, .sampling = {.temperature = 1, .seed = 5}}, 4096);
  CHECK(drawn.ids == generate({.max_new_tokens = 10, .sampling = {.temperature = 1, .seed = 5}}, 4096).ids);
  CHECK(drawn.ids != generate({.max_new_tokens = 10, .sampling = {.temperature = 1, .seed = 6}}, 4096).ids);
}

TEST_CASE("weights that are not finite are named at run time") {
  FaceLlava<configs::kTiny>::Params<Stored<Host>> params;
  io::Weights weights;
  run::add_sources(weights, bf16_folder());
  const auto leaves = leaves_of<FaceLlava<configs::kTiny>>(params);
  weights.bind(leaves);
  std::vector<std::uint16_t> poisoned(16 * 48, 0x3f80);
  poisoned[100] = 0x7fc0;
  params.llama.layers[1].down_proj.weight.data = reinterpret_cast<const std::byte*>(poisoned.data());
  run::Session<FaceLlava<configs::kTiny>, cpu::Device> own(params, {.leaves = leaves}, room(100), cpu::Options{});
  run::AnySession& session = own;
  const auto request = text_request({1, 2, 3});
  try {
    session.prefill(std::span(&request, 1), 0);
    FAIL("accepted a NaN");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kNonFinite);
    CHECK(says(e, "decoder, after 2 layers"));
    CHECK(says(e, "llama.layers.1.mlp.down_proj.weight is not finite"));
  }
}

// Several sessions of one model, each on a thread of its own: the same bits as one after the other. Compiled again with
// ThreadSanitizer by tests/checks.
#include <doctest/doctest.h>

#include <thread>

#include "facellava/run/generate.hpp"
#include "support/counting_memory.hpp"
#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

constexpr std::size_t kThreads = 4;

// Runs f(i) on a thread each, and hands on the first exception.
template <class F>
void together(F f) {
  std::vector<std::exception_ptr> failures(kThreads);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        try {
          f(i);
        } catch (...) {
          failures[i] = std::current_exception();
        }
      });
  }
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

std::vector<float> row(const run::AnySession& s, Index r) {
  return {s.logits().row(r), s.logits().row(r) + kTinyVocabulary};
}

// A question about a picture, a fork that goes its own way, candidates, and the parent again.
std::vector<float> talk(const run::AnyModel& model, const run::Request& request, int word, const Services& services) {
  const auto session = model.open({.kv_rows = 700, .positions = 4096, .chunk = 64, .services = services});
  const auto parent = session->prefill(std::span(&request, 1), 0);
  std::vector<float> out = row(*session, 0);
  const std::vector<float> first = out;
  const run::SequenceId child = session->fork(parent[0]);
  const std::vector<int> words{word, word + 1, 3};
  session->append(std::span(&child, 1), std::span(&words, 1));
  const auto after = row(*session, 0);
  out.insert(out.end(), after.begin(), after.end());
  const auto said = run::generate(*session, std::span(&child, 1), {.max_new_tokens = 3, .ends = {}}, 4096);
  for (int id : said[0].ids) out.push_back(float(id));
  session->erase(child);
  const std::vector<std::vector<int>> labels{{word, 9}, {7}, {10, 11, 12}};
  for (const auto& s :
       run::score_labels(*session, parent[0], View<const float, Host, kDyn>(first.data(), kTinyVocabulary), labels))
    out.push_back(s.log_probability);
  return out;
}

}  // namespace

TEST_CASE("four sessions of one model on four threads say what they say one after the other") {
  const TinyCase c("batch2_right_padding");
  CountingMemory memory;
  for (int workers : {1, 2}) {
    CAPTURE(workers);
    const run::ModelFolder folder({tiny_folder("ckpt_bin_fp16")});
    const TinyModel model(folder, {}, cpu::Options{.threads = workers, .memory = &memory});
    std::array<std::vector<float>, kThreads> alone, got;
    const auto ask = [&](std::size_t i) { return talk(model, c.requests[i % 2], int(20 + i), {.memory = &memory}); };
    for (std::size_t i = 0; i < kThreads; ++i) alone[i] = ask(i);
    together([&](std::size_t i) { got[i] = ask(i); });
    for (std::size_t i = 0; i < kThreads; ++i) CHECK(got[i] == alone[i]);
    CHECK(alone[0] != alone[2]);
    CHECK(memory.live() == 0);
  }
}

TEST_CASE("an error in one session leaves its neighbours alone") {
  const run::ModelFolder folder({tiny_folder("ckpt_safetensors_bf16")});
  const TinyModel model(folder, {}, cpu::Options{.threads = 2});
  const run::Request good{{1, 2, 3, 4}, {}}, bad{{1, 40000}, {}};
  const auto session = model.open({.kv_rows = 10, .positions = 10});
  session->prefill(std::span(&good, 1), 0);
  const auto want = row(*session, 0);
  together([&](std::size_t i) {
    const auto own = model.open({.kv_rows = 10, .positions = 10});
    for (int round = 0; round < 5; ++round) {
      if (i % 2 == 1) {
        bool thrown = false;
        try {
          own->prefill(std::span(&bad, 1), 0);
        } catch (const Error&) {
          thrown = true;
        }
        if (!thrown) throw Error(ErrorKind::kArgument, "a bad request was taken");
      }
      const auto id = own->prefill(std::span(&good, 1), 0);
      if (row(*own, 0) != want) throw Error(ErrorKind::kArgument, "a neighbour's error changed an answer");
      own->erase(id[0]);
    }
  });
}

// Temperature, top-k and top-p against transformers' warpers on one row of logits.
#include "facellava/run/sampler.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "support/golden.hpp"

using namespace facellava;

TEST_CASE("kept ids and probabilities equal the warpers'") {
  const auto golden = nlohmann::json::parse(std::ifstream(test::golden_path("model_tiny/sampling_warpers.json")));
  const auto logits = test::Golden("model_tiny/cases/image_landmarks.safetensors").floats("logits.last");
  for (const auto& c : golden["cases"]) {
    const run::Sampling s{c["temperature"], c["top_k"], c["top_p"], 0};
    const auto left = run::candidates(logits, s);
    CHECK(left.size() == c["kept"].get<std::size_t>());
    for (std::size_t i = 0; i < c["ids_by_prob"].size(); ++i) {
      CHECK(left[i].id == c["ids_by_prob"][i].get<int>());
      CHECK(left[i].probability == doctest::Approx(c["probs"][i].get<double>()).epsilon(1e-5));  // printed to 7 digits
    }
  }
}

TEST_CASE("draws follow the probabilities, a seed repeats them, greedy takes the first maximum") {
  const std::vector<float> logits{0.f, std::log(3.f), -50.f, std::log(6.f)};  // 1 : 3 : 0 : 6
  run::Sampler sampler({.temperature = 1, .seed = 7}), again({.temperature = 1, .seed = 7}), greedy({});
  int count[4] = {};
  for (int i = 0; i < 20000; ++i) {
    const int id = sampler.pick(logits);
    REQUIRE(id == again.pick(logits));
    ++count[id];
  }
  CHECK(count[2] == 0);
  // 20000 draws: a standard deviation is at most 71
  CHECK(std::abs(count[0] - 2000) < 300);
  CHECK(std::abs(count[1] - 6000) < 300);
  CHECK(std::abs(count[3] - 12000) < 300);
  CHECK(greedy.pick(logits) == 3);
  CHECK(greedy.pick(std::vector<float>{2, 5, 5, 1}) == 1);
}

TEST_CASE("settings that make no sense") {
  for (const run::Sampling s : {run::Sampling{.temperature = -1}, run::Sampling{.temperature = NAN},
                                run::Sampling{.top_k = -1}, run::Sampling{.top_p = 0}, run::Sampling{.top_p = 1.5f}})
    CHECK_THROWS_AS(run::Sampler{s}, Error);
}

#include "facellava/train/sampler.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <set>

#include "io/scratch.hpp"
#include "support/golden.hpp"

using namespace facellava;
using namespace facellava::test;
using namespace facellava::train;

namespace {

// Gives the orders of a list in turn, and checks that they are asked for so.
Permutation given(const nlohmann::json& orders) {
  return [orders, next = std::size_t(0)](std::size_t n) mutable {
    REQUIRE(next < orders.size());
    const auto order = orders[next++].get<Indices>();
    CHECK(order.size() == n);
    return order;
  };
}

}  // namespace

TEST_CASE("the released sampler, with the orders that torch drew") {
  const auto cases = nlohmann::json::parse(std::ifstream(golden_path("train_step/modality_sampler.json")));
  REQUIRE(cases.size() == 3);
  for (const auto& c : cases) {
    const auto batch = c["batch_size"].get<std::size_t>(), parts = c["world_size"].get<std::size_t>();
    CHECK(group_by_modality_length(c["lengths"].get<std::vector<int>>(), batch, parts,
                                   given(c["randperms_in_order"])) == c["indices"].get<Indices>());
    const auto& all = c["all_multimodal"];
    CHECK(group_by_modality_length(all["lengths"].get<std::vector<int>>(), batch, parts,
                                   given(all["randperms_in_order"])) == all["indices"].get<Indices>());
  }
}

TEST_CASE("an epoch has every sample once, and follows from seed and epoch alone") {
  std::vector<int> lengths;
  for (int i = 0; i < 103; ++i) lengths.push_back(i % 7 == 0 ? -1 - i : 1 + i * 37 % 101);
  for (const Order order : {Order::kAsGiven, Order::kShuffled, Order::kModalityLength}) {
    const SamplerOptions o{order, 8, 5};
    const auto batches = epoch_batches(lengths, o, 2);
    CHECK(batches.size() == 13);
    std::multiset<std::size_t> seen;
    for (const Indices& batch : batches) {
      CHECK(batch.size() == (&batch == &batches.back() ? 7 : 8));
      seen.insert(batch.begin(), batch.end());
    }
    CHECK(seen.size() == lengths.size());
    CHECK(std::set<std::size_t>(seen.begin(), seen.end()).size() == lengths.size());
    CHECK(batches == epoch_batches(lengths, o, 2));
    CHECK((batches == epoch_batches(lengths, o, 3)) == (order == Order::kAsGiven));
    CHECK((batches == epoch_batches(lengths, {order, 8, 6}, 2)) == (order == Order::kAsGiven));
  }
}

TEST_CASE("shuffling gives the same order on every machine, and every order") {
  Rng rng(7);
  CHECK(permutation(rng, 8) == Indices{1, 4, 5, 2, 6, 0, 3, 7});  // by the same steps in Python;
  // 6000 draws of 6 orders: 1000 each, with a standard deviation of 29.
  std::map<Indices, int> counts;
  for (int i = 0; i < 6000; ++i) ++counts[permutation(rng, 3)];
  CHECK(counts.size() == 6);
  for (const auto& [order, n] : counts) CHECK(std::abs(n - 1000) < 150);
  CHECK(permutation(rng, 0).empty());
}

TEST_CASE("batches that cannot be") {
  const std::vector<int> lengths{3, -2, 0};
  error_of(ErrorKind::kArgument, [&] { epoch_batches({}, {}, 0); });
  error_of(ErrorKind::kArgument, [&] { epoch_batches(lengths, {.batch = 0}, 0); });
  CHECK(error_of(ErrorKind::kArgument, [&] {
          epoch_batches(lengths, {.order = Order::kModalityLength}, 0);
        }).find("sample 2") != std::string::npos);
  const std::vector<Indices> batches{{0, 1}, {2, 3}};
  check_batches(batches, 4);
  CHECK(error_of(ErrorKind::kArgument, [&] { check_batches(batches, 3); }).find("step 1: expected samples below 3") !=
        std::string::npos);
  error_of(ErrorKind::kArgument, [&] { check_batches({}, 3); });
  const std::vector<Indices> empty{{0}, {}};
  error_of(ErrorKind::kArgument, [&] { check_batches(empty, 3); });
}

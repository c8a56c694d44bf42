// Compiled again with ThreadSanitizer by tests/checks.
#include "facellava/train/prefetch.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>

using namespace facellava;
using namespace facellava::train;

TEST_CASE("results come in order, then nothing") {
  for (const std::size_t capacity : {1, 3, 1000}) {
    int made = 0;
    Prefetch<std::unique_ptr<int>> prefetch(
        [&]() -> std::optional<std::unique_ptr<int>> {
          if (made == 500) return {};
          return std::make_unique<int>(made++);
        },
        capacity);
    for (int i = 0; i < 500; ++i) CHECK(**prefetch.next() == i);
    CHECK_FALSE(prefetch.next());
    CHECK_FALSE(prefetch.next());
  }
}

TEST_CASE("no more is made than there is room for") {
  std::atomic<int> made = 0;
  Prefetch<int> prefetch([&]() -> std::optional<int> { return made++; }, 2);
  for (int taken = 0; taken < 100; ++taken) {
    CHECK(*prefetch.next() == taken);
    CHECK(made <= taken + 1 + 2 + 1);  // taken, waiting, in the maker's hand
  }
}

TEST_CASE("an exception comes behind the results before it, and again") {
  int made = 0;
  Prefetch<int> prefetch(
      [&]() -> std::optional<int> {
        if (made == 3) throw std::runtime_error("the fourth");
        return made++;
      },
      8);
  for (int i = 0; i < 3; ++i) CHECK(*prefetch.next() == i);
  CHECK_THROWS_WITH(prefetch.next(), "the fourth");
  CHECK_THROWS_WITH(prefetch.next(), "the fourth");
}

TEST_CASE("ends early: before anything was taken, and while the queue is full") {
  for (int taken = 0; taken < 3; ++taken) {
    Prefetch<int> prefetch([n = 0]() mutable -> std::optional<int> { return n++; }, 1);
    for (int i = 0; i < taken; ++i) CHECK(*prefetch.next() == i);
  }
  CHECK_THROWS_AS(Prefetch<int>([]() -> std::optional<int> { return {}; }, 0), Error);
}

// Arenas, buffers and workspaces on a host's memory, and when that is not granted.
#include "facellava/core/arena.hpp"

#include <doctest/doctest.h>

#include <cstring>

#include "facellava/core/element.hpp"
#include "facellava/core/services.hpp"
#include "support/counting_memory.hpp"

using namespace facellava;
using facellava::test::CountingMemory;

TEST_CASE("a buffer takes what it says from the memory it is given, aligned, and gives it back once") {
  CountingMemory memory;
  for (std::size_t bytes : {std::size_t(0), std::size_t(1), std::size_t(63), std::size_t(4097)}) {
    Buffer b(bytes, &memory);
    CHECK(b.size() == bytes);
    CHECK(memory.live() == bytes);
    CHECK((b.data() == nullptr) == (bytes == 0));
    CHECK(reinterpret_cast<std::uintptr_t>(b.data()) % 64 == 0);
    if (bytes > 0) std::memset(b.data(), 1, bytes);
    Buffer moved = std::move(b);
    CHECK(moved.size() == bytes);
    CHECK(b.size() == 0);
    Buffer other(10);  // of another resource: each keeps its own
    other = std::move(moved);
    CHECK(other.size() == bytes);
    CHECK(memory.live() == bytes);
  }
  CHECK(memory.live() == 0);
}

TEST_CASE("memory that is not granted is an error that says how much was asked for") {
  CountingMemory memory;
  memory.fail_from(0);
  try {
    Buffer b(1000, &memory);
    FAIL("granted");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kCapacity);
    CHECK(std::string(e.what()) == "expected 1000 bytes of memory, found fewer");
  }
}

TEST_CASE("a workspace that got nothing is empty, and works again when there is memory") {
  CountingMemory memory;
  Workspace w(&memory);
  View<float, Host, kDyn, 3> v;
  const auto plan = [&](Index rows) { return [&v, rows](Arena& a) { a.take(v, rows); }; };
  w.carve(plan(10));
  CHECK(w.bytes() == 10 * 3 * sizeof(float));
  memory.fail_from(0);
  w.carve(plan(5));  // needs no more than there is
  CHECK(v.rows() == 5);
  CHECK_THROWS_AS(w.carve(plan(1000)), Error);
  CHECK(w.bytes() == 0);
  memory.fail_from(1 << 30);
  w.carve(plan(1000));
  v(999, 2) = 1;
  CHECK(memory.live() == 1000 * 3 * sizeof(float));
  CHECK(memory.peak() == memory.live());  // the old slab goes before the new one comes
}

TEST_CASE("an arena that only counts needs what an arena with a slab takes") {
  const auto carve = [](Arena& a) {
    View<float, Host, kDyn> x;
    View<bf16, Host, kDyn, 7> y;
    a.take(x, 5);
    const auto mark = a.mark();
    a.take(y, 9);
    a.release(mark);
    a.take(x, 3);
  };
  Arena count;
  carve(count);
  CHECK(count.peak() == 64 + 9 * 7 * 2);
  Buffer slab(count.peak());
  Arena exact(slab.data(), slab.size()), small(slab.data(), slab.size() - 1);
  carve(exact);
  CHECK(exact.peak() == count.peak());
  CHECK_THROWS_AS(carve(small), Error);
}

TEST_CASE("services: silent by default, else every word arrives") {
  Services().tell(LogLevel::kWarning, "nobody listens");
  std::string heard;
  const Services s{.log = [&](LogLevel level, std::string_view text) {
    heard += level == LogLevel::kInfo ? "info " : "warning ";
    heard += text;
  }};
  s.tell(LogLevel::kInfo, "a;");
  s.tell(LogLevel::kWarning, "b");
  CHECK(heard == "info a;warning b");
}

// Every input that fuzzing kept is read or refused.
#include <doctest/doctest.h>

#include <filesystem>

#include "facellava/io/mapped_file.hpp"
#include "fuzz/targets.hpp"

using namespace facellava;

TEST_CASE("the corpus of every reader") {
  for (const fuzz::Target& t : fuzz::kTargets) {
    CAPTURE(t.name);
    int inputs = 0, read = 0;
    const std::filesystem::path folder = std::filesystem::path(FACELLAVA_TEST_DATA) / "fuzz/corpus" / t.name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      CAPTURE(entry.path());
      const io::MappedFile file(entry.path().string());
      try {
        t.run(file.bytes());
        ++read;
      } catch (const Error&) {
      }
      ++inputs;
    }
    CHECK(inputs > 20);
    CHECK(read > 0);       // a corpus without a sound file says nothing
    CHECK(read < inputs);  // nor does one without a broken one
  }
}

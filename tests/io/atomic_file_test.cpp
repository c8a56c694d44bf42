#include "facellava/io/atomic_file.hpp"

#include <sys/resource.h>

#include <csignal>

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::size_t files_in(const std::string& folder) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++n;
  return n;
}

// While it lives, no file may grow beyond `bytes`: what a full disk looks like to a writer.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit small{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit old_{};
  void (*signal_)(int);
};

}  // namespace

TEST_CASE("parts are written one behind another and replace the old file") {
  const Scratch scratch;
  const std::string path = scratch.write("f", "old");
  scratch.write("f.partial-0", "left by someone who crashed");
  const std::span<const std::byte> parts[] = {as_bytes("one "), as_bytes(""), as_bytes("two")};
  write_file_atomically(path, parts);
  CHECK(slurp(path) == "one two");
  write_file_atomically(path, as_bytes(""));
  CHECK(slurp(path).empty());
  CHECK(files_in(scratch.at("")) == 2);
}

TEST_CASE("a failed write leaves the old file and nothing else") {
  const Scratch scratch;
  const std::string path = scratch.write("f", "old"), large(100000, 'n');
  {
    const FileSizeLimit limit(4096);
    CHECK(mentions(error_of(ErrorKind::kFile, [&] { write_file_atomically(path, as_bytes(large)); }), "cannot write"));
  }
  CHECK(slurp(path) == "old");
  CHECK(files_in(scratch.at("")) == 1);
  error_of(ErrorKind::kFile, [&] { write_file_atomically(scratch.at("no/such/folder"), as_bytes("x")); });
  std::filesystem::create_directory(scratch.at("folder"));
  scratch.write("folder/inside", "x");
  CHECK(mentions(error_of(ErrorKind::kFile, [&] { write_file_atomically(scratch.at("folder"), as_bytes("x")); }),
                 "cannot replace"));
  CHECK(files_in(scratch.at("")) == 2);
}

// Writes a file so that it is either the old one or the whole new one, whatever happens in between:
// a temporary file beside it, fsync, rename.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>

#include "facellava/io/mapped_file.hpp"

namespace facellava::io {

namespace detail {

// A new file "PATH.partial-N" that is removed unless keep() was called.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& beside) : file_(create(beside, path_)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  int get() const { return file_.get(); }
  const std::string& path() const { return path_; }
  int close() { return ::close(file_.release()); }
  void keep() { kept_ = true; }

 private:
  static int create(const std::string& beside, std::string& path) {
    constexpr int kAttempts = 1000;
    for (int i = 0; i < kAttempts; ++i) {
      path = beside + ".partial-" + std::to_string(i);
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return fd;
      if (errno != EEXIST) break;
    }
    throw system_error(beside, "create a temporary file beside it");
  }

  std::string path_;
  Descriptor file_;
  bool kept_ = false;
};

inline void write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  constexpr std::size_t kChunk = std::size_t(1) << 30;
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), std::min(bytes.size(), kChunk));
    if (n < 0 && errno != EINTR) throw system_error(path, "write the file");
    if (n > 0) bytes = bytes.subspan(std::size_t(n));
  }
}

}  // namespace detail

// fill(put): calls put(bytes) for one part behind another. Errors: kFile (no space, no permission, no such folder), or
// what fill throws; the old file is then as it was. The bytes may lie in a mapping of the old file.
template <class Fill>
void write_file_atomically_with(const std::string& path, Fill&& fill) {
  detail::TemporaryFile temporary(path);
  fill([&](std::span<const std::byte> part) { detail::write_all(temporary.get(), part, path); });
  if (::fsync(temporary.get()) != 0) throw system_error(path, "write the file to its disk");
  if (temporary.close() != 0) throw system_error(path, "close the file");
  if (std::rename(temporary.path().c_str(), path.c_str()) != 0) throw system_error(path, "replace the file");
  temporary.keep();
  const auto slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (directory.get() >= 0) ::fsync(directory.get());
}

// Writes parts one behind another. Errors: kFile, as above.
inline void write_file_atomically(const std::string& path, std::span<const std::span<const std::byte>> parts) {
  write_file_atomically_with(path, [&](auto&& put) {
    for (const auto part : parts) put(part);
  });
}

inline void write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  write_file_atomically(path, std::span(&bytes, 1));
}

}  // namespace facellava::io

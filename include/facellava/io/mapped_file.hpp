// A file's bytes, read-only: mapped (the pages are read when they are touched, and shared between processes) or copied.
//
// A mapped file that somebody else truncates while it is mapped raises SIGBUS at the next touch of a lost page: POSIX
// gives no other answer. Load::kCopy reads the file once and is safe from that, at the price of its size in memory.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "facellava/core/error.hpp"

namespace facellava::io {

enum class Load { kMap, kCopy };

// "PATH: cannot ACTION: the system's reason", from errno.
inline Error system_error(const std::string& path, const std::string& action, int code = errno) {
  return {ErrorKind::kFile, path + ": cannot " + action + ": " + std::generic_category().message(code)};
}

// An owned POSIX file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

class MappedFile {
 public:
  // Errors: kFile (missing, unreadable, not a regular file), kFormat (empty), kCapacity (larger than max_bytes).
  explicit MappedFile(const std::string& path, Load load = Load::kMap,
                      std::size_t max_bytes = std::numeric_limits<std::ptrdiff_t>::max())
      : path_(path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) throw system_error(path, "open the file");
    struct stat status;
    if (::fstat(file.get(), &status) != 0) throw system_error(path, "read the file's status");
    if (S_ISDIR(status.st_mode)) throw Error(ErrorKind::kFile, path + ": expected a file, found a folder");
    if (!S_ISREG(status.st_mode)) throw Error(ErrorKind::kFile, path + ": expected a regular file");
    if (status.st_size <= 0) throw Error(ErrorKind::kFormat, path + ": the file is empty");
    check_at_most(max_bytes, status.st_size, path + ": bytes");
    const auto size = std::size_t(status.st_size);
    const bool copy = load == Load::kCopy;
    void* at = ::mmap(nullptr, size, copy ? PROT_READ | PROT_WRITE : PROT_READ,
                      copy ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, copy ? -1 : file.get(), 0);
    if (at == MAP_FAILED) throw system_error(path, copy ? "get memory for the file" : "map the file");
    bytes_ = {static_cast<std::byte*>(at), size};
    if (copy) read_all(file.get());
  }
  MappedFile(MappedFile&& o) noexcept : path_(std::move(o.path_)), bytes_(std::exchange(o.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& o) noexcept {
    std::swap(path_, o.path_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~MappedFile() { unmap(); }

  // Page-aligned. Valid as long as this object, moves included.
  std::span<const std::byte> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  void unmap() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  }
  void read_all(int fd) {
    constexpr std::size_t kChunk = std::size_t(1) << 30;
    for (std::size_t done = 0; done < bytes_.size();) {
      const auto n = ::read(fd, bytes_.data() + done, std::min(bytes_.size() - done, kChunk));
      if (n > 0) {
        done += std::size_t(n);
      } else if (n == 0 || errno != EINTR) {
        Error error = n == 0 ? Error(ErrorKind::kFile, path_ + ": the file shrank to " + std::to_string(done) +
                                                           " bytes while it was read")
                             : system_error(path_, "read the file");
        unmap();
        throw error;
      }
    }
  }

  std::string path_;
  std::span<std::byte> bytes_;
};

}  // namespace facellava::io

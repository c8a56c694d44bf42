// A bar for long work: what is done, how fast, how long it will take. Silent where stderr is no terminal.
#pragma once
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace tool {

struct ProgressUnit {
  const char* name = "GB";
  double size = 1e9;  // of what is counted
};

class ProgressBar {
 public:
  explicit ProgressBar(ProgressUnit unit = {}) : unit_(unit) {}
  void show(std::size_t done, std::size_t all, const std::string& note = "") {
    const auto now = std::chrono::steady_clock::now();
    if (!::isatty(2) || (done < all && now - shown_ < std::chrono::milliseconds(100))) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double part = all ? double(done) / double(all) : 1, rate = seconds > 0 ? double(done) / seconds : 0;
    const int filled = int(part * 40);
    const int digits = unit_.size > 1 ? 2 : 0;
    std::fprintf(stderr, "\r[%s%s] %5.1f%%  %.*f of %.*f %s  %.2f %s/s  %.0f s left  %s   ",
                 std::string(filled, '#').c_str(), std::string(40 - filled, '.').c_str(), part * 100, digits,
                 double(done) / unit_.size, digits, double(all) / unit_.size, unit_.name, rate / unit_.size, unit_.name,
                 rate > 0 ? double(all - done) / rate : 0.0, note.c_str());
    if (done == all) std::fputc('\n', stderr);
  }

 private:
  ProgressUnit unit_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), shown_{};
};

}  // namespace tool

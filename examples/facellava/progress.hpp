// A bar for long work: what is done, how fast, how long it will take. Silent where stderr is no terminal.
#pragma once
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace tool {

class ProgressBar {
 public:
  void show(std::size_t done, std::size_t all) {
    const auto now = std::chrono::steady_clock::now();
    if (!::isatty(2) || (done < all && now - shown_ < std::chrono::milliseconds(100))) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double part = all ? double(done) / double(all) : 1, rate = seconds > 0 ? double(done) / seconds : 0;
    const int filled = int(part * 40);
    std::fprintf(stderr, "\r[%s%s] %5.1f%%  %.2f of %.2f GB  %.2f GB/s  %.0f s left   ",
                 std::string(filled, '#').c_str(), std::string(40 - filled, '.').c_str(), part * 100,
                 double(done) * 1e-9, double(all) * 1e-9, rate * 1e-9, rate > 0 ? double(all - done) / rate : 0.0);
    if (done == all) std::fputc('\n', stderr);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now(), shown_{};
};

}  // namespace tool

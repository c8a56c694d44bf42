// Time: the wall clock, and the CPU time of all threads of the process. On a machine that others use too, the least of
// several runs is what the code needs; where the wall clock is disturbed, CPU time per thread is the better figure.
#pragma once
#include <time.h>

#include <algorithm>
#include <chrono>

namespace facellava::bench {

enum class Clock { kWall, kCpu };

// Seconds by both clocks; cpu is the process's CPU time divided by the threads that work.
struct Seconds {
  double wall = 0, cpu = 0;
  double by(Clock c) const { return c == Clock::kWall ? wall : cpu; }
};

inline double process_cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}

Seconds time_once(int threads, auto&& work) {
  const double cpu = process_cpu_seconds();
  const auto wall = std::chrono::steady_clock::now();
  work();
  const auto end = std::chrono::steady_clock::now();
  return {std::chrono::duration<double>(end - wall).count(), (process_cpu_seconds() - cpu) / threads};
}

// Over runs of work, at least `runs` and until `seconds` have passed: the least wall time, and the CPU time of the
// least (one thread) or of the mean (several: Linux brings the clocks of other threads up to date only every few
// milliseconds).
Seconds best_of(int runs, double seconds, int threads, auto&& work) {
  Seconds best, spent;
  int n = 0;
  for (; n < runs || spent.wall < seconds; ++n) {
    const Seconds s = time_once(threads, work);
    spent = {spent.wall + s.wall, spent.cpu + s.cpu};
    best = n == 0 ? s : Seconds{std::min(best.wall, s.wall), std::min(best.cpu, s.cpu)};
  }
  return threads == 1 ? best : Seconds{best.wall, spent.cpu / n};
}

}  // namespace facellava::bench

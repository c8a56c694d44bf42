// The learning rate of every step.
//   warm-up  w = ⌈ratio · steps⌉, t < w: base · t / w; then, with u = (t − w) / (steps − w):
//   constant: base;   linear: base (1 − u);   cosine: base (1 + cos πu) / 2.   HF: transformers.get_scheduler.
#pragma once
#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"

namespace facellava::train {

enum class Schedule { kConstant, kLinear, kCosine };
inline constexpr std::string_view kScheduleNames[] = {"constant", "linear", "cosine"};

struct Rate {
  Schedule schedule = Schedule::kCosine;
  double base = 2e-5;
  double warmup_ratio = 0.03;  // of the steps
  long steps = 1;              // of the whole run

  long warmup() const { return long(std::ceil(warmup_ratio * double(steps))); }
  // t: from 0. The first step of a warm-up has the rate 0.
  double at(long t) const {
    const long w = warmup();
    if (t < w) return base * double(t) / double(w);
    if (schedule == Schedule::kConstant) return base;
    const double u = double(t - w) / double(std::max(1L, steps - w));
    if (schedule == Schedule::kLinear) return base * std::max(0.0, 1 - u);
    return base * std::max(0.0, (1 + std::cos(std::numbers::pi * u)) / 2);
  }
};

// Error kArgument for numbers that make no schedule.
inline void check_rate(const Rate& r) {
  if (!(r.base >= 0 && std::isfinite(r.base)))
    throw Error(ErrorKind::kArgument, "learning_rate: expected a number from 0 on, found " + std::to_string(r.base));
  if (!(r.warmup_ratio >= 0 && r.warmup_ratio <= 1))
    throw Error(ErrorKind::kArgument,
                "warmup_ratio: expected a number from 0 to 1, found " + std::to_string(r.warmup_ratio));
  if (r.steps < 1) throw Error(ErrorKind::kArgument, "steps: expected at least 1, found " + std::to_string(r.steps));
}

}  // namespace facellava::train

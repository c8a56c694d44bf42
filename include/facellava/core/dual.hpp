// Dual number: a value and its derivative along one direction. Exact forward-mode oracle for every hand-written
// backward.
#pragma once
#include <cmath>

namespace facellava {

struct Dual {
  double value = 0, slope = 0;
  constexpr Dual() = default;
  constexpr Dual(double v, double s = 0) : value(v), slope(s) {}

  friend constexpr Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.slope + b.slope}; }
  friend constexpr Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.slope - b.slope}; }
  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.slope}; }
  friend constexpr Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.slope * b.value + a.value * b.slope}; }
  friend constexpr Dual operator/(Dual a, Dual b) {
    return {a.value / b.value, (a.slope * b.value - a.value * b.slope) / (b.value * b.value)};
  }
  constexpr Dual& operator+=(Dual b) { return *this = *this + b; }
  friend constexpr bool operator<(Dual a, Dual b) { return a.value < b.value; }

  friend Dual sqrt(Dual a) {
    const double s = std::sqrt(a.value);
    return {s, a.slope == 0 ? 0 : a.slope / (2 * s)};
  }
  friend Dual exp(Dual a) {
    const double e = std::exp(a.value);
    return {e, e * a.slope};
  }
  friend Dual log(Dual a) { return {std::log(a.value), a.slope / a.value}; }
  friend Dual erf(Dual a) { return {std::erf(a.value), 1.1283791670955126 * std::exp(-a.value * a.value) * a.slope}; }
};

}  // namespace facellava

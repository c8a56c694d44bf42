// The curves of a run as an SVG: one panel above another over a common x axis, each a raw line and a smoothed one.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace tool {

struct Curve {
  std::string name;
  std::vector<double> y;  // one for every x
  bool smooth = false;    // with its mean over the twentieth of the run around each point
};

class Plot {
 public:
  Plot(std::string title, std::string x_name, std::vector<double> x)
      : title_(std::move(title)), x_name_(std::move(x_name)), x_(std::move(x)) {}

  std::string svg(const std::vector<Curve>& curves) const {
    const double height = kTop + double(curves.size()) * (kHeight + kGap) + 20;
    std::string out = print(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
        "font-family=\"sans-serif\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
        kLeft + kWidth + 30, height);
    out += text(kLeft, 22, "start", 15, title_);
    for (std::size_t i = 0; i < curves.size(); ++i)
      out += panel(curves[i], kTop + double(i) * (kHeight + kGap), i + 1 == curves.size());
    return out + "</svg>\n";
  }

 private:
  static constexpr double kLeft = 80, kTop = 56, kWidth = 700, kHeight = 170, kGap = 48;
  static constexpr std::size_t kMostPoints = 1400;  // two a pixel
  struct Range {
    double low, high, step;
    double part(double v) const { return (v - low) / (high - low); }
  };

  template <class... T>
  static std::string print(const char* format, T... values) {
    char line[400];
    std::snprintf(line, sizeof line, format, values...);
    return line;
  }
  static std::string text(double x, double y, const char* anchor, int size, const std::string& words) {
    std::string safe;
    for (const char c : words) safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
    return print("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"#333\">", x, y, anchor, size) +
           safe + "</text>\n";
  }
  static std::string line(double x1, double y1, double x2, double y2, const char* colour) {
    return print("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour);
  }
  // Around the finite values, in steps of 1, 2 or 5 times a power of ten.
  static Range range_of(const std::vector<double>& values, double steps) {
    double low = INFINITY, high = -INFINITY;
    for (const double v : values)
      if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
    if (!(low <= high)) low = high = 0;
    if (low == high) high += low == 0 ? 1 : std::abs(low) / 2;
    const double least = (high - low) / steps, power = std::pow(10, std::floor(std::log10(least))), n = least / power;
    const double step = power * (n < 1.5 ? 1 : n < 3.5 ? 2 : n < 7.5 ? 5 : 10);
    return {std::floor(low / step) * step, (std::floor(high / step) + 1) * step, step};
  }
  static std::vector<double> smoothed(const std::vector<double>& y) {
    std::vector<double> sums{0}, counts{0}, out;
    for (const double v : y) {
      sums.push_back(sums.back() + (std::isfinite(v) ? v : 0));
      counts.push_back(counts.back() + std::isfinite(v));
    }
    const std::size_t n = y.size(), around = n / 40;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t first = i - std::min(i, around), end = std::min(n, i + around + 1);
      out.push_back((sums[end] - sums[first]) / (counts[end] - counts[first]));
    }
    return out;
  }
  std::string panel(const Curve& c, double top, bool last) const {
    const Range x{x_.empty() ? 0 : x_.front(), x_.size() < 2 ? (x_.empty() ? 1 : x_.front() + 1) : x_.back(),
                  std::max(1.0, range_of(x_, 8).step)};
    const Range y = range_of(c.y, 5);
    const auto at_x = [&](double v) { return kLeft + kWidth * x.part(v); };
    const auto at_y = [&](double v) { return top + kHeight * (1 - y.part(v)); };
    std::string out = text(kLeft, top - 8, "start", 13, c.name);
    for (int i = 0; y.low + i * y.step <= y.high + y.step / 2; ++i) {
      const double v = y.low + i * y.step, shown = std::abs(v) < y.step / 2 ? 0 : v;
      out += line(kLeft, at_y(v), kLeft + kWidth, at_y(v), "#e5e5e5") +
             text(kLeft - 8, at_y(v) + 4, "end", 11, print("%g", shown));
    }
    for (double v = std::ceil(x.low / x.step) * x.step; v <= x.high; v += x.step) {
      out += line(at_x(v), top + kHeight, at_x(v), top + kHeight + 5, "#999");
      if (last) out += text(at_x(v), top + kHeight + 19, "middle", 11, print("%g", v));
    }
    if (last) out += text(kLeft + kWidth / 2, top + kHeight + 38, "middle", 12, x_name_);
    out += print("<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" stroke=\"#999\"/>\n", kLeft, top,
                 kWidth, kHeight);
    const auto draw = [&](const std::vector<double>& values, const char* colour, double width) {
      std::string points;
      const std::size_t step = std::max<std::size_t>(1, (values.size() + kMostPoints - 1) / kMostPoints);
      for (std::size_t i = 0; i < values.size(); i += step)
        if (std::isfinite(values[i])) points += print("%.1f,%.1f ", at_x(x_[i]), at_y(values[i]));
      if (values.size() == 1) points += points, width = 6;  // a dot
      out += print("<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%g\" stroke-linecap=\"round\" points=\"",
                   colour, width) +
             points + "\"/>\n";
    };
    draw(c.y, c.smooth ? "#a9c9e8" : "#1f77b4", c.smooth ? 1 : 1.6);
    if (c.smooth) draw(smoothed(c.y), "#1f77b4", 1.8);
    return out;
  }

  std::string title_, x_name_;
  std::vector<double> x_;
};

}  // namespace tool

// How long each stage of the demo takes. A stage within another stops the outer one's clock: the times add up.
#pragma once
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace demo {

class Stages {
 public:
  // Lasts until the end of its scope.
  class Scope {
   public:
    Scope(Stages& all, std::size_t stage) : all_(all), before_(all.enter(stage)) {}
    ~Scope() { all_.enter(before_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Stages& all_;
    std::size_t before_;
  };

  [[nodiscard]] Scope in(const std::string& name) { return {*this, index_of(name)}; }
  // So far, of a stage by itself.
  double milliseconds(const std::string& name) {
    enter(now_);
    return spent_[index_of(name)].second;
  }
  void print() {
    enter(now_);
    double all = 0;
    std::printf("\ntime of each stage\n");
    for (std::size_t i = 1; i <= spent_.size(); ++i) {
      const auto& [name, ms] = spent_[i % spent_.size()];  // the rest comes last
      all += ms;
      std::printf("  %-44s %8.1f ms\n", name.c_str(), ms);
    }
    std::printf("  %-44s %8.1f ms\n", "total", all);
  }

 private:
  std::size_t index_of(const std::string& name) {
    for (std::size_t i = 0; i < spent_.size(); ++i)
      if (spent_[i].first == name) return i;
    spent_.emplace_back(name, 0.0);
    return spent_.size() - 1;
  }
  std::size_t enter(std::size_t stage) {
    const auto time = std::chrono::steady_clock::now();
    spent_[now_].second += std::chrono::duration<double, std::milli>(time - since_).count();
    since_ = time;
    return std::exchange(now_, stage);
  }

  std::vector<std::pair<std::string, double>> spent_{{"all else", 0.0}};
  std::size_t now_ = 0;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

}  // namespace demo

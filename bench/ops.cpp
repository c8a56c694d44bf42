// bench_ops: any op at any shape, weight format and instruction set, verified against ref before it is timed.
//   bench_ops --op linear --shape 320x11008x4096 --weights q4 --isa avx512bf16 --threads 2
// Without --op: the whole table of cases.hpp. Rates and per cents are of the best run; "Time" is Google Benchmark's
// mean.
#include <CLI/CLI.hpp>
#include <benchmark/benchmark.h>

#include <cstdio>
#include <map>

#include "prepared_op.hpp"
#include "random_matrix.hpp"

namespace {

using namespace facellava;
using namespace facellava::bench;

struct Choice {
  std::vector<std::string> ops, shapes, weights{"bf16"}, isas{"auto"};
  std::vector<int> threads{0};
  cpu::Precision precision = cpu::Precision::kNative;
  Clock clock = Clock::kWall;
};

// One device and one set of peaks for each instruction set and number of threads.
struct Machine {
  cpu::Device dev;
  Peaks peaks;
  explicit Machine(const cpu::Options& o) : dev(o), peaks(o.isa, dev.threads()) {}
};

// Returns whether the op was right.
bool run_case(benchmark::State& state, Machine& machine, const Case& c, Format f, Clock clock) {
  try {
    const PreparedOp op = prepare_op(machine.dev, c, f);
    const double error = op.error();
    if (!(error <= op.tolerance)) {
      char text[120];
      std::snprintf(text, sizeof text, "error %.2e, expected at most %.2e", error, op.tolerance);
      state.SkipWithError(text);
      return false;
    }
    double best = 0;
    for (auto _ : state) {
      const Seconds s = time_once(machine.dev.threads(), op.run);
      state.SetIterationTime(s.wall);
      if (best == 0 || s.by(clock) < best) best = s.by(clock);
    }
    state.counters["best_s"] = best;
    state.counters["GOP/s"] = op.work.operations / best / 1e9;
    state.counters["GB/s"] = op.work.bytes / best / 1e9;
    state.counters["peak%"] = 100 * least_seconds(op.work, machine.peaks, clock) / best;
    state.counters["error"] = error;
    state.SetLabel(std::string(unit_name(op.work.unit)) + ", " + tier_name(op.work.tier));
    return true;
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
    return false;
  }
}

std::vector<Case> chosen_cases(const Choice& choice) {
  std::vector<Case> cases;
  for (const std::string& op : choice.ops)
    for (const std::string& shape : choice.shapes) cases.push_back(parse_case(find_op(op), shape));
  if (!choice.shapes.empty()) return cases;
  for (const std::string& op : choice.ops) find_op(op);
  for (const Case& c : table())
    if (choice.ops.empty() || std::find(choice.ops.begin(), choice.ops.end(), c.op) != choice.ops.end())
      cases.push_back(c);
  return cases;
}

// Of the chosen formats those that the op takes; one for an op without weights.
std::vector<Format> formats_of(const Case& c, const Choice& choice) {
  const Takes takes = find_op(c.op).takes;
  if (takes == Takes::kNoWeights) return {Format::kF32};
  std::vector<Format> formats;
  for (const std::string& name : choice.weights) {
    const Format f = format_from_name(name);
    if (takes == Takes::kWeights || f == Format::kF32 || f == Format::kBf16) formats.push_back(f);
  }
  return formats;
}

void register_cases(const Choice& choice, std::map<std::string, Machine>& machines, bool& right) {
  for (const std::string& name : choice.isas)
    for (const int threads : choice.threads) {
      const cpu::Options options{threads, cpu::isa_from_name(name), choice.precision};
      const std::string isa(cpu::isa_name(options.isa));
      Machine& machine = machines.try_emplace(isa + "/" + std::to_string(threads), options).first->second;
      const std::string tail = "/" + isa + "/threads:" + std::to_string(machine.dev.threads());
      for (const Case& c : chosen_cases(choice))
        for (const Format f : formats_of(c, choice)) {
          const bool plain = find_op(c.op).takes == Takes::kNoWeights;
          const std::string label =
              c.op + "/" + shape_name(c) + (plain ? "" : std::string("/") + format_name(f)) + tail;
          benchmark::RegisterBenchmark(label.c_str(),
                                       [&machine, &right, c, f, clock = choice.clock](benchmark::State& state) {
                                         right = run_case(state, machine, c, f, clock) && right;
                                       })
              ->UseManualTime()
              ->MeasureProcessCPUTime()
              ->Unit(benchmark::kMicrosecond);
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Any op at any shape, weight format and instruction set; options --benchmark_... are Google Benchmark's"};
  Choice choice;
  std::string precision = "native", clock = "wall";
  app.add_option("--op", choice.ops, "ops by name; without: the whole table");
  app.add_option("--shape", choice.shapes, "sizes joined by x, such as 320x11008x4096; without: those of the table")
      ->needs("--op");
  app.add_option("--weights", choice.weights, "f32, f16, bf16, q8, q4, q4_1, nf4")->capture_default_str();
  app.add_option("--isa", choice.isas, "portable, avx2, avx512, avx512bf16, amx, auto")->capture_default_str();
  app.add_option("--threads", choice.threads, "0: one a core")->capture_default_str();
  app.add_option("--precision", precision)->check(CLI::IsMember({"native", "exact"}))->capture_default_str();
  app.add_option("--clock", clock, "of rates and per cents")
      ->check(CLI::IsMember({"wall", "cpu"}))
      ->capture_default_str();
  app.allow_extras();
  CLI11_PARSE(app, argc, argv);
  try {
    choice.precision = precision == "native" ? cpu::Precision::kNative : cpu::Precision::kExact;
    choice.clock = clock == "cpu" ? Clock::kCpu : Clock::kWall;
    std::vector<std::string> rest = app.remaining();
    std::vector<char*> arguments{argv[0]};
    for (std::string& r : rest) arguments.push_back(r.data());
    int count = int(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
    std::map<std::string, Machine> machines;
    bool right = true;
    register_cases(choice, machines, right);
    benchmark::RunSpecifiedBenchmarks();
    return right ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}

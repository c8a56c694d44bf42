// peak: what this machine can do at most. A table, and JSON with --json FILE.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>

#include "peaks.hpp"

namespace {

using namespace facellava;
using namespace facellava::bench;

nlohmann::json rates_json(const char* kind, const std::string& name, int threads, const Rate& r) {
  return {{"kind", kind}, {"name", name}, {"threads", threads}, {"wall", r.wall}, {"cpu", r.cpu}};
}

std::string isa_list() {
  std::string names;
  for (const cpu::Isa isa : cpu::kIsas)
    if (isa <= cpu::best_isa()) names += (names.empty() ? "" : ", ") + std::string(cpu::isa_name(isa));
  return names;
}

void run(const std::vector<int>& threads, const std::string& json_file) {
  auto all = nlohmann::json::array();
  const auto print = [&](const char* kind, const std::string& name, int n, const Rate& r, const char* unit) {
    std::printf("%-8s %-20s %7d %12.1f %12.1f  %s\n", kind, name.c_str(), n, r.wall / 1e9, r.cpu / 1e9, unit);
    std::fflush(stdout);
    all.push_back(rates_json(kind, name, n, r));
  };
  std::printf("instruction sets: %s\n%-8s %-20s %7s %12s %12s\n", isa_list().c_str(), "", "", "threads", "by wall",
              "by CPU time");
  for (const int n : threads) {
    for (const cpu::Isa isa : cpu::kIsas) {
      if (isa > cpu::best_isa()) continue;
      Peaks peaks(isa, n);
      for (const Unit u : {Unit::kFp32, Unit::kBf16, Unit::kInt8})
        if (find_burst(isa, u))
          print("compute", std::string(cpu::isa_name(isa)) + " " + unit_name(u), n, peaks.compute(u), "GOP/s");
    }
    Peaks peaks(cpu::best_isa(), n);
    for (const Tier t : {Tier::kL2, Tier::kL3, Tier::kDramSmallPages, Tier::kDram})
      print("read", tier_name(t), n, peaks.read(t), "GB/s");
  }
  if (json_file.empty()) return;
  std::ofstream out(json_file);
  out << all.dump(1) << '\n';
  if (!out.flush()) throw Error(ErrorKind::kFile, "cannot write " + json_file);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"What this machine can do at most: products from registers, reads from memory"};
  std::vector<int> threads{1, std::max(1, int(std::thread::hardware_concurrency()))};
  std::string json_file;
  app.add_option("--threads", threads, "thread counts")->capture_default_str();
  app.add_option("--json", json_file, "write the results to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    run(threads, json_file);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

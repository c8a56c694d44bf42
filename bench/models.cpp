// bench_model: pieces of the 7B model at their real sizes, in time and in per cent of what this machine can do.
//   bench_model --part vit --weights f32 --threads 2
//   bench_model --part decode --weights q4 --layers 4
// --serve answers every line of standard input with one run's time, so that a script can alternate it with a peer.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

#include "pieces.hpp"
#include "random_matrix.hpp"

namespace {

using namespace facellava;
using namespace facellava::bench;

nlohmann::json describe(const PieceOptions& o, const cpu::Device& dev, const Piece& piece) {
  nlohmann::json j{
      {"part", o.part},           {"weights", format_name(o.weights)},  {"isa", cpu::isa_name(dev.isa())},
      {"threads", dev.threads()}, {"unit", unit_name(piece.work.unit)}, {"operations", piece.work.operations},
      {"bytes", piece.work.bytes}};
  if (o.part == "prefill" || o.part == "decode") {
    j["layers"] = o.layers;
    j["tokens"] = o.tokens;
  }
  if (piece.difference) j["difference"] = *piece.difference;
  return j;
}

void serve(const nlohmann::json& description, const cpu::Device& dev, const Piece& piece) {
  std::cout << description.dump() << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Seconds s = time_once(dev.threads(), piece.run);
    std::cout << nlohmann::json{{"wall", s.wall}, {"cpu", s.cpu}}.dump() << std::endl;
  }
}

void measure(nlohmann::json j, const cpu::Device& dev, const Piece& piece, int runs, double seconds, Clock clock,
             bool json) {
  Peaks peaks(dev.isa(), dev.threads());
  const double before = least_seconds(piece.work, peaks, clock);
  const Seconds s = best_of(runs, seconds, dev.threads(), piece.run);
  const double t = s.by(clock);
  j.update({{"wall", s.wall}, {"cpu", s.cpu}, {"share", before / t}});
  if (json) {
    std::cout << j.dump() << std::endl;
    return;
  }
  std::printf("%-9s %-4s %-10s %d threads %9.2f ms (CPU %9.2f) %8.1f GOP/s %6.1f GB/s %5.1f %% of the machine",
              j["part"].get<std::string>().c_str(), j["weights"].get<std::string>().c_str(),
              j["isa"].get<std::string>().c_str(), dev.threads(), s.wall * 1e3, s.cpu * 1e3,
              piece.work.operations / t / 1e9, piece.work.bytes / t / 1e9, 100 * before / t);
  if (piece.tokens > 0) std::printf(", %.2f tokens/s", piece.tokens / t);
  if (piece.difference) std::printf(", differs by %.1e", *piece.difference);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Pieces of the 7B model at their real sizes"};
  PieceOptions o;
  std::vector<std::string> parts{std::begin(kParts), std::end(kParts)}, weights{"bf16"};
  std::string kv = "bf16", isa = "auto", precision = "native", clock = "wall";
  int runs = 3;
  double seconds = 1;
  bool in_service = false, json = false;
  app.add_option("--part", parts, "vit, video, projector, fusion, prefill, decode; read: memory alone")
      ->capture_default_str();
  app.add_option("--weights", weights, "formats of the weights: f32, f16, bf16, q8, q4, q4_1, nf4")
      ->capture_default_str();
  app.add_option("--kv", kv, "keys and values: f32 or bf16")->capture_default_str();
  app.add_option("--layers", o.layers, "of the decoder: 1, 4 or 32")->capture_default_str();
  app.add_option("--tokens", o.tokens, "prefill: of the prompt; decode: before the new one")->capture_default_str();
  app.add_option("--isa", isa, "portable, avx2, avx512, avx512bf16, amx, auto")->capture_default_str();
  app.add_option("--precision", precision)->check(CLI::IsMember({"native", "exact"}))->capture_default_str();
  app.add_option("--threads", o.device.threads, "0: one a core")->capture_default_str();
  app.add_option("--from", o.from, "folder with model.safetensors, input.npy and output.npy (vit, prefill)");
  app.add_option("--runs", runs, "at least")->capture_default_str();
  app.add_option("--seconds", seconds, "of runs at least")->capture_default_str();
  app.add_option("--clock", clock, "of the percentages")->check(CLI::IsMember({"wall", "cpu"}))->capture_default_str();
  app.add_flag("--serve", in_service, "one run for every line of standard input");
  app.add_flag("--json", json, "one JSON object a line");
  CLI11_PARSE(app, argc, argv);
  try {
    o.kv = format_from_name(kv);
    o.device.isa = cpu::isa_from_name(isa);
    o.device.precision = precision == "native" ? cpu::Precision::kNative : cpu::Precision::kExact;
    cpu::Device dev(o.device);
    for (const std::string& part : parts)
      for (const std::string& format : weights) {
        o.part = part;
        o.weights = format_from_name(format);
        const Piece piece = make_piece(dev, o);
        const auto description = describe(o, dev, piece);
        if (in_service) {
          serve(description, dev, piece);
          return 0;
        }
        measure(description, dev, piece, runs, seconds, clock == "cpu" ? Clock::kCpu : Clock::kWall, json);
      }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}

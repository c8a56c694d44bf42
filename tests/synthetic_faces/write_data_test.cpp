// Data sets as files: the same bytes for any number of threads, and good records for a trainer.
#include "synthetic_faces/write_data.hpp"

#include "io/scratch.hpp"
#include "synthetic_faces/faces.hpp"
#include "train/data_files.hpp"

using namespace synthetic_faces;
using namespace synthetic_faces::test;
using facellava::test::Scratch;

namespace {

std::map<std::string, std::string> files_in(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const facellava::io::MappedFile file(entry.path().string());
    out[std::filesystem::relative(entry.path(), folder).string()] = {reinterpret_cast<const char*>(file.bytes().data()),
                                                                     file.bytes().size()};
  }
  return out;
}

}  // namespace

TEST_CASE("a data set is its seed, whatever the number of threads") {
  const Scratch one, three, other;
  const Generator& g = small_faces();
  write_data(g, {.seed = 2, .pictures = 5, .clips = 1, .threads = 1}, one.at("set"));
  write_data(g, {.seed = 2, .pictures = 5, .clips = 1, .threads = 3}, three.at("set"));
  write_data(g, {.seed = 3, .pictures = 5, .clips = 1, .threads = 1}, other.at("set"));
  const auto files = files_in(one.at("set"));
  CHECK(files.size() == 2 * 6 + 2);
  CHECK(files == files_in(three.at("set")));
  CHECK(files.at("images/0.png") != files_in(other.at("set")).at("images/0.png"));
}

TEST_CASE("a trainer takes the records") {
  const Scratch folder;
  const std::string set = folder.at("set");
  write_data(small_faces(), {.seed = 7, .pictures = 3, .clips = 1, .questions = 3, .threads = 1}, set);
  const facellava::train::DataSet data(set + "/data.json", facellava::test::llama(), facellava::test::tiny_options());
  CHECK(data.size() == 4 * 3);
  const auto report = facellava::train::validate(data);
  for (const auto& fault : report.faults) MESSAGE(fault.text());
  CHECK(report.good());
  CHECK(report.faults.empty());
}

TEST_CASE("labels beside the records") {
  const Scratch folder;
  const std::string set = folder.at("set");
  write_data(small_faces(), {.seed = 7, .pictures = 2, .clips = 0, .threads = 1}, set);
  const std::string lines = files_in(set).at("labels.jsonl");
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
  const auto first = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  const auto npy = facellava::io::read_npy(set + "/images/0.npy");
  CHECK(npy.shape == std::vector<Index>{68, 2});
  REQUIRE(first["points"].size() == npy.values.size());
  for (std::size_t i = 0; i < npy.values.size(); ++i)
    CHECK(std::abs(first["points"][i].get<double>() - npy.values[i]) < .001);  // three decimals
}

TEST_CASE("plans that ask for nothing") {
  const Scratch folder;
  CHECK_THROWS_AS(write_data(small_faces(), {.pictures = 0, .clips = 0}, folder.at("set")), Error);
  CHECK_THROWS_AS(write_data(small_faces(), {.pictures = -1, .clips = 3}, folder.at("set")), Error);
}

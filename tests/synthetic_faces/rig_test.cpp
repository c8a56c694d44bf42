// Rig files that are damaged: refused, and never read beyond their end (the sanitizers watch).
#include "io/scratch.hpp"
#include "synthetic_faces/faces.hpp"

using namespace synthetic_faces;

namespace {

std::string rig_bytes() {
  const facellava::io::MappedFile file(SYNTHETIC_FACES_RIG);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// Where an array's values begin.
std::size_t offset_of(const std::string& bytes, const std::string& name) {
  std::uint32_t header = 0;
  std::memcpy(&header, bytes.data() + 8, 4);
  const auto json = nlohmann::json::parse(bytes.substr(12, header));
  for (const auto& a : json["arrays"])
    if (a["name"] == name) return 12 + header + a["offset"].get<std::size_t>();
  FAIL("no array " << name);
  return 0;
}

void refused(const std::string& bytes) {
  const facellava::test::Scratch folder;
  CHECK_THROWS_AS(read_rig(folder.write("rig.bin", bytes)), Error);
}

template <class T>
void refused_with(const std::string& name, std::size_t at, T value) {
  CAPTURE(name);
  std::string bytes = rig_bytes();
  std::memcpy(bytes.data() + offset_of(bytes, name) + at * sizeof(T), &value, sizeof(T));
  refused(bytes);
}

void refused_header(const std::string& from, const std::string& to) {
  CAPTURE(to);
  REQUIRE(from.size() == to.size());  // so that the arrays stay where they are
  std::string bytes = rig_bytes();
  const auto at = bytes.find(from);
  REQUIRE(at != bytes.npos);
  refused(bytes.replace(at, from.size(), to));
}

}  // namespace

TEST_CASE("the rig is whole") {
  const Rig rig = read_rig(SYNTHETIC_FACES_RIG);
  CHECK(rig.vertices.size() == 5808);
  CHECK(rig.names.size() == 436);
  CHECK_THROWS_AS(rig.target("fu/antlers"), Error);
}

TEST_CASE("files that end too early") {
  const std::string whole = rig_bytes();
  for (const std::size_t size : {1u, 8u, 11u, 100u, 12559u, 12560u, 60000u, 300000u, 2000000u})
    refused(whole.substr(0, size));
  refused(whole.substr(0, whole.size() - 1));
}

TEST_CASE("values out of range") {
  refused_with<std::uint16_t>("triangles", 5, 5808);
  refused_with<std::uint16_t>("landmark68", 67, 65535);
  refused_with<std::uint16_t>("target_index", 413628, 5808);
  refused_with<std::uint32_t>("target_begin", 3, 413630);
  refused_with<std::uint32_t>("target_begin", 436, 413628);
  refused_with<std::uint8_t>("material", 0, 6);
  refused_with<float>("vertices", 7, std::numeric_limits<float>::quiet_NaN());
  refused_with<float>("vertices", 7, 1e30f);
  refused_with<float>("ambient_occlusion", 0, -1);
  refused_with<float>("target_scale", 435, std::numeric_limits<float>::infinity());
}

TEST_CASE("headers that lie") {
  refused_header("FRIG1", "FRIG2");
  refused_header("\"vertices\"", "\"verticez\"");
  refused_header("\"shape\": [5808, 3]", "\"shape\": [5809, 3]");
  refused_header("\"shape\": [413629]", "\"shape\": [999999]");
  refused_header("\"offset\": 3604896", "\"offset\": 9604896");
  refused_header("\"dtype\": \"i2\"", "\"dtype\": \"u2\"");
  refused_header("\"arrays\"", "\"errays\"");
}

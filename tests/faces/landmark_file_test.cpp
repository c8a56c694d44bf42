#include "facellava/faces/landmark_file.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <sstream>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;
using facellava::test::error_of;
using facellava::test::golden;
using facellava::test::has;

namespace {

std::string npy(const std::string& shape, std::size_t count) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize(117, ' ');
  header += '\n';
  std::string out = std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0' + header;
  for (std::size_t i = 0; i < count; ++i) {
    const float value = float(i);
    out.append(reinterpret_cast<const char*>(&value), 4);
  }
  return out;
}

std::string pts(int points, int claimed) {
  std::ostringstream out;
  out << "version: 1\nn_points:  " << claimed << "\n{\n";
  for (int i = 0; i < points; ++i) out << 2 * i << ".0 " << 2 * i + 1 << "\n";
  out << "}\n";
  return out.str();
}

// points pairs (width 2) or triples, or points flat numbers (width 0).
std::string json(int points, int width) {
  std::string out = "[";
  int value = 0;
  for (int i = 0; i < points; ++i) {
    out += i ? "," : "";
    if (width == 0) {
      out += std::to_string(value++);
      continue;
    }
    for (int k = 0; k < width; ++k) out += (k ? "," : "[") + std::to_string(value++);
    out += "]";
  }
  return out + "]";
}

void check_ramp(const Landmarks& points) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    CHECK(points[i].x == float(2 * i));
    CHECK(points[i].y == float(2 * i + 1));
  }
}

}  // namespace

TEST_CASE("golden landmark files") {
  for (const std::string name : {"image_face_a_256", "image_face_b_256"}) {
    const auto frames = read_landmarks(golden("landmarks/" + name + ".npy"));
    REQUIRE(frames.size() == 1);
    for (const Point p : frames[0]) {
      CHECK(p.x > 0);
      CHECK(p.x < 256);
      CHECK(p.y > 0);
      CHECK(p.y < 256);
    }
    CHECK(frames[0][8].y > frames[0][27].y);  // the chin lies below the bridge of the nose
  }
  CHECK(read_landmarks(golden("landmarks/video_face_256_24fps.npy")).size() == 61);
}

TEST_CASE("real files of other programs") {
  const std::string data = std::string(FACELLAVA_TEST_DATA) + "/faces/data/";
  const auto pts = read_landmarks(data + "dlib_face.pts");
  REQUIRE(pts.size() == 1);
  CHECK(pts[0][0].x == 145);
  CHECK(pts[0][0].y == 115);
  const auto tool = read_landmarks(data + "faces.json");
  REQUIRE(tool.size() == 1);
  CHECK(tool[0][8].y > tool[0][27].y);
  // the same points from dlib's own format, where the picture has one face
  const test::Folder folder;
  const auto bytes = test::file_bytes(data + "dlib_faces.xml");
  std::string xml(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto [kind, what] = error_of([&] { read_landmarks(folder.file("two.xml", xml)); });
  CHECK(kind == ErrorKind::kFormat);
  CHECK(has(what, "2008_001009.jpg: expected one face with landmarks, found 2"));
  const auto second = xml.find("<box", xml.find("</box>"));
  xml.erase(second, xml.find("</box>", second) + 6 - second);
  const auto frames = read_landmarks(folder.file("one.xml", xml));
  REQUIRE(frames.size() == 2);
  for (std::size_t i = 0; i < 68; ++i) {
    CHECK(frames[0][i].x == pts[0][i].x);
    CHECK(frames[0][i].y == pts[0][i].y);
  }
}

TEST_CASE("arrays in Fortran order and of other numbers give the same landmarks") {
  const test::Folder folder;
  const auto file = [](const std::string& type, const std::string& order, const std::string& shape) {
    std::string header = "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
    return std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0' + header;
  };
  const auto put = [](std::string& to, auto v) { to.append(reinterpret_cast<const char*>(&v), sizeof v); };
  std::string turned = file("<f4", "True", "(68, 2)"), whole = file("<i4", "False", "(68, 2)");
  std::string frames = file("<f8", "True", "(2, 68, 2)");
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 68; ++i) {
      put(turned, float(2 * i + k));
      for (int f = 0; f < 2; ++f) put(frames, double(2 * i + k + 1000 * f));
    }
  for (int i = 0; i < 136; ++i) put(whole, std::int32_t(i));
  check_ramp(read_landmarks(folder.file("a.npy", turned)).at(0));
  check_ramp(read_landmarks(folder.file("a.npy", whole)).at(0));
  const auto two = read_landmarks(folder.file("a.npy", frames));
  REQUIRE(two.size() == 2);
  check_ramp(two[0]);
  CHECK(two[1][67].y == 1135);
}

TEST_CASE("every accepted shape of every format") {
  const test::Folder folder;
  check_ramp(read_landmarks(folder.file("a.npy", npy("(68, 2)", 136))).at(0));
  check_ramp(read_landmarks(folder.file("a.npy", npy("(136,)", 136))).at(0));
  CHECK(read_landmarks(folder.file("a.npy", npy("(3, 68, 2)", 408))).at(2)[0].x == 272);
  CHECK(read_landmarks(folder.file("a.npy", npy("(3, 136)", 408))).at(1)[67].y == 271);
  check_ramp(read_landmarks(folder.file("A.PTS", pts(68, 68))).at(0));
  const std::string pairs = json(68, 2), flat = json(136, 0);
  for (const std::string& frame :
       {pairs, flat, "{\"landmarks\":" + pairs + "}", "{\"x\":1,\"landmarks\":" + flat + "}"}) {
    const auto one = read_landmarks(folder.file("a.json", frame));
    REQUIRE(one.size() == 1);
    check_ramp(one[0]);
    const auto three = read_landmarks(folder.file("a.json", "[" + frame + "," + frame + ",\n" + frame + "]"));
    REQUIRE(three.size() == 3);
    check_ramp(three[2]);
  }
  CHECK(read_landmarks(folder.file("a.json", "{\"landmarks\":[" + pairs + "]}")).size() == 1);
  const std::string found = "{\"image\":{},\"faces\":[{\"score\":1,\"landmarks\":" + pairs + "}]}";
  check_ramp(read_landmarks(folder.file("a.json", found)).at(0));
  CHECK(read_landmarks(folder.file("a.json", "[" + found + "," + found + "]")).size() == 2);
}

TEST_CASE("a wrong count names the layout that it looks like") {
  const test::Folder folder;
  const auto of = [&](const std::string& name, const std::string& contents) {
    const auto [kind, what] = error_of([&] { read_landmarks(folder.file(name, contents)); });
    CHECK(kind == ErrorKind::kShape);
    CHECK(has(what, name));
    return what;
  };
  for (const int points : {5, 49, 51, 98, 106, 194}) {
    const auto n = std::to_string(points);
    const auto name = std::string(known_layout(std::size_t(points)));
    REQUIRE(!name.empty());
    const auto expected = "expected 68 landmarks, found " + n + " (the layout looks like " + name + ")";
    CHECK(has(of("a.pts", pts(points, points)), expected));
    CHECK(has(of("a.json", json(points, 2)), expected));
    CHECK(has(of("a.json", json(points, 3)), expected));
    CHECK(has(of("a.npy", npy("(" + n + ", 2)", std::size_t(points) * 2)), expected));
    CHECK(has(of("a.npy", npy("(2, " + n + ", 2)", std::size_t(points) * 4)), expected));
  }
  CHECK(has(of("a.npy", npy("(68, 3)", 204)), "found 3 (depth"));
  CHECK(has(of("a.npy", npy("(1, 68, 3)", 204)), "found 3"));
  CHECK(has(of("a.json", json(68, 3)), "landmark 0: expected landmarks of 2 numbers"));
  CHECK(has(of("a.npy", npy("(2, 68)", 136)), "found 2"));
  CHECK(has(of("a.npy", npy("(0, 68, 2)", 0)), "empty"));
  CHECK(has(of("a.npy", npy("(1, 1, 68, 2)", 136)), "found [1, 1, 68, 2]"));
  CHECK(known_layout(68).empty());
  CHECK(known_layout(77).empty());
  CHECK(has(of("a.json", json(134, 0)), "found 67"));
}

TEST_CASE("a face mesh gives its 68 points, from any format") {
  const test::Folder folder;
  for (const int points : {468, 478}) {
    CAPTURE(points);
    const auto n = std::to_string(points);
    const auto check = [](const Landmarks& l, float step) {  // point i of the mesh is (step i, step i + 1)
      for (std::size_t i = 0; i < 68; ++i) {
        const auto [a, b] = kMeshToPoints[i];
        CHECK(l[i].x == step * float(a + b) / 2);
        CHECK(l[i].y == step * float(a + b) / 2 + 1);
      }
    };
    check(read_landmarks(folder.file("a.pts", pts(points, points))).at(0), 2);
    check(read_landmarks(folder.file("a.json", json(points, 2))).at(0), 2);
    check(read_landmarks(folder.file("a.json", json(points, 3))).at(0), 3);
    check(read_landmarks(folder.file("a.npy", npy("(" + n + ", 2)", std::size_t(points) * 2))).at(0), 2);
    check(read_landmarks(folder.file("a.npy", npy("(" + n + ", 3)", std::size_t(points) * 3))).at(0), 3);
    CHECK(read_landmarks(folder.file("a.npy", npy("(2, " + n + ", 3)", std::size_t(points) * 6))).size() == 2);
  }
  const auto [kind, what] = error_of([&] {
    std::string zeros = "[[0.5, 0.25]";
    for (int i = 1; i < 478; ++i) zeros += ", [0.5, 0.25]";
    read_landmarks(folder.file("a.json", zeros + "]"));
  });
  CHECK(kind == ErrorKind::kShape);
  CHECK(has(what, "fractions of the picture"));
}

TEST_CASE("broken files: the error says where") {
  const test::Folder folder;
  const auto of = [&](const std::string& name, const std::string& contents) {
    return error_of([&] { read_landmarks(folder.file(name, contents)); });
  };
  CHECK(has(of("a.pts", "version: 1\nn_points: 68\n{\n1 2\n3 x\n").second,
            "a.pts, line 5: expected a number, found \"x\""));
  CHECK(has(of("a.pts", pts(67, 68)).second, "expected a number, found \"}\""));
  CHECK(has(of("a.pts", pts(69, 68)).second, "expected \"}\""));
  CHECK(has(of("a.pts", "n_points: 68").second, "line 1: expected \"version:\""));
  CHECK(has(of("a.pts", "version: 1\nn_points: -3").second, "expected a number"));
  CHECK(has(of("a.pts", "version: 1\nn_points: 99999999999").second, "expected a number"));
  CHECK(of("a.pts", std::string((1 << 20) + 1, ' ')).first == ErrorKind::kCapacity);
  for (const std::string text : {"", "{", "[", "3", "null", "[]", "{}", "{\"landmarks\":7}", "[[[]]]", "[\"a\"]",
                                 "[null]", "[[1,2],7]", "[{\"landmarks\":[]}]"})
    CHECK_THROWS_AS(read_landmarks(folder.file("a.json", text)), Error);
  CHECK(has(of("a.json", "{\"faces\":[]}").second, "expected one face, found 0"));
  CHECK(has(of("a.json", "{\"faces\":[{},{}]}").second, "expected one face, found 2"));
  CHECK(has(of("a.json", "{\"faces\":7}").second, "expected one face, found number"));
  CHECK(has(of("a.json", "{\"faces\":[{}]}").second, "\"landmarks\" is missing"));
  CHECK(has(of("a.xml", "<dataset></dataset>").second, "expected pictures, found none"));
  std::string odd = json(68, 2);
  odd.replace(odd.rfind('['), 1, "[\"x\",");
  CHECK_THROWS_AS(read_landmarks(folder.file("a.json", odd)), Error);
  CHECK(of("a.txt", "").first == ErrorKind::kFormat);
  CHECK(error_of([&] { read_landmarks("landmarks"); }).first == ErrorKind::kFormat);
  CHECK(error_of([&] { read_landmarks(folder.file("none.npy")); }).first == ErrorKind::kFile);
}

TEST_CASE("mutated and truncated files: an Error or frames") {
  const test::Folder folder;
  std::mt19937 random(3);
  const std::pair<std::string, std::string> files[] = {
      {"a.npy", npy("(2, 68, 2)", 272)}, {"a.pts", pts(68, 68)}, {"a.json", "{\"landmarks\":" + json(68, 2) + "}"}};
  int good = 0;
  for (const auto& [name, contents] : files)
    for (int i = 0; i < 400; ++i) {
      auto mutant = contents;
      if (i % 4 == 0) mutant.resize(mutant.size() * std::size_t(i) / 400);
      for (unsigned k = 0; k < 3 && !mutant.empty(); ++k)
        mutant[random() % std::min<std::size_t>(mutant.size(), i % 2 ? 200 : 5000)] = char(random() & 255);
      try {
        good += read_landmarks(folder.file(name, mutant)).size() >= 1;
      } catch (const Error& e) {
        CHECK(has(e.what(), name));
      }
    }
  CHECK(good > 10);
  CHECK(good < 1100);
}

TEST_CASE("values that are no numbers are read, and reported where they are used") {
  const test::Folder folder;
  std::string contents = npy("(68, 2)", 136);
  const float nan = NAN;
  std::memcpy(contents.data() + contents.size() - 4, &nan, 4);
  const auto frames = read_landmarks(folder.file("a.npy", contents));
  CHECK(has(error_of([&] { normalise(frames.at(0), LandmarkNormalisation::kBy256, 256, 256); }).second, "landmark 67"));
}

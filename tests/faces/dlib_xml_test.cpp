#include "facellava/faces/dlib_xml.hpp"

#include <doctest/doctest.h>

#include <random>

#include "media/pictures.hpp"

using namespace facellava;
using namespace facellava::faces;
using facellava::test::error_of;
using facellava::test::has;

namespace {

const std::string kData = std::string(FACELLAVA_TEST_DATA) + "/faces/data/";

std::string part(int name, double x, double y) {
  return "<part name='" + std::to_string(name) + "' x='" + std::to_string(x) + "' y=\"" + std::to_string(y) + "\"/>\n";
}
// Points parts, the last first.
std::string box(int points) {
  std::string out = "<box top='1' left='2' width='3' height='4'>\n";
  for (int i = points; i-- > 0;) out += part(i, 2 * i, 2 * i + 1);
  return out + "</box>\n";
}
std::string data_set(const std::string& boxes, const std::string& file = "a.jpg") {
  return "<?xml version='1.0'?>\n<dataset>\n<images>\n<image file='" + file + "'>\n" + boxes +
         "</image>\n</images>\n</dataset>\n";
}

}  // namespace

TEST_CASE("a real data set of dlib") {
  const auto images = read_dlib_xml(kData + "dlib_faces.xml");
  REQUIRE(images.size() == 2);
  CHECK(images[0].file == "2008_001009.jpg");
  CHECK(images[1].file == "2007_007763.jpg");
  REQUIRE(images[0].faces.size() == 2);
  REQUIRE(images[1].faces.size() == 1);
  const LabelledFace& face = images[0].faces[0];
  CHECK(face.box.x == 145);
  CHECK(face.box.y == 79);
  CHECK(face.box.width == 76);
  CHECK(face.box.height == 76);
  REQUIRE(face.landmarks);
  CHECK((*face.landmarks)[0].x == 145);
  CHECK((*face.landmarks)[0].y == 115);
  CHECK((*face.landmarks)[8].y > (*face.landmarks)[27].y);  // the chin lies below the bridge of the nose
  CHECK((*images[1].faces[0].landmarks)[67].x == 209);
}

TEST_CASE("parts in any order, boxes without parts, file names with entities, what is not looked at") {
  const test::Folder folder;
  const auto read = [&](const std::string& text) { return read_dlib_xml(folder.file("a.xml", text)); };
  const auto images = read(
      data_set("<!-- <box> --><label>x</label><box top='-5' left='.5' width='1e2' height='4' ignore='1'/>" + box(68),
               "Tom &amp; &quot;Jerry&apos;s&quot; &lt;1&gt;.jpg"));
  REQUIRE(images.size() == 1);
  CHECK(images[0].file == "Tom & \"Jerry's\" <1>.jpg");
  REQUIRE(images[0].faces.size() == 2);
  CHECK(!images[0].faces[0].landmarks);
  CHECK(images[0].faces[0].box.x == 0.5f);
  CHECK(images[0].faces[0].box.y == -5);
  CHECK(images[0].faces[0].box.width == 100);
  for (std::size_t i = 0; i < 68; ++i) {
    CHECK((*images[0].faces[1].landmarks)[i].x == float(2 * i));
    CHECK((*images[0].faces[1].landmarks)[i].y == float(2 * i + 1));
  }
  CHECK(read("<dataset/>").empty());
  CHECK((*read(data_set(box(478)))[0].faces[0].landmarks)[8].x == 2 * 152);  // a mesh: the chin
}

TEST_CASE("errors of a data set say where and what") {
  const test::Folder folder;
  const auto of = [&](const std::string& text) { return error_of([&] { read_dlib_xml(folder.file("a.xml", text)); }); };
  CHECK(of(data_set(box(5))).first == ErrorKind::kShape);
  CHECK(has(of(data_set(box(98))).second, "expected 68 landmarks, found 98 (the layout looks like WFLW)"));
  std::string twice = box(68);
  twice.replace(twice.find("name='67'"), 9, "name='66'");
  CHECK(has(of(data_set(twice)).second, "expected parts named from 0 to 67, each once, found \"66\""));
  std::string word = box(68);
  word.replace(word.find("name='67'"), 9, "name='chin'");
  CHECK(has(of(data_set(word)).second, "found \"chin\""));
  CHECK(has(of(data_set("<box top='1' left='x' width='3' height='4'/>")).second,
            "a.xml, line 5: expected a number as left of <box>, found \"x\""));
  CHECK(has(of(data_set("<box top='1' left='nan' width='3' height='4'/>")).second, "found \"nan\""));
  CHECK(has(of(data_set("<box top='1' left='2' width='3'/>")).second, "<box> lacks the attribute height"));
  CHECK(has(of(data_set("<box top='1' top='1'/>")).second, "the attribute top twice"));
  CHECK(has(of(data_set("<part name='0' x='1' y='1'/>")).second, "expected <part> inside <box>"));
  CHECK(has(of(data_set("<box top='1' left='2' width='3' height='4'>" + box(68))).second,
            "expected <box> inside <image>"));
  CHECK(has(of(data_set("", "&evil;")).second, "an entity that is none of XML's own: \"&evil;\""));
  CHECK(has(of(data_set("", "&#65;")).second, "an entity"));
  CHECK(has(of("<!DOCTYPE a [<!ENTITY b 'c'>]>" + data_set("")).second, "expected a name"));
  CHECK(has(of("<dataset><images></dataset></images>").second, "</dataset> closes <images>"));
  CHECK(has(of("</dataset>").second, "closes nothing"));
  CHECK(has(of("<dataset><images>").second, "expected </images>, found the end of the file"));
  CHECK(has(of("<html></html>").second, "expected the element <dataset>"));
  CHECK(has(of("dataset").second, "expected a tag"));
  CHECK(has(of("<dataset").second, "expected a name"));
  CHECK(has(of("<dataset><!-- ").second, "expected \"-->\""));
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "<a>";
  CHECK(has(of(deep).second, "nested more than 16 deep"));
  std::string wide = "<a";
  for (int i = 0; i < 100; ++i) wide += " a" + std::to_string(i) + "=''";
  CHECK(has(of(wide + "/>").second, "too many attributes"));
  std::string many;
  for (int i = 0; i <= 1 << 17; ++i) many += "<image file=''/>";
  CHECK(of("<dataset><images>" + many + "</images></dataset>").first == ErrorKind::kCapacity);
  CHECK(of("").first == ErrorKind::kFormat);
  CHECK(error_of([&] { read_dlib_xml(folder.file("none.xml")); }).first == ErrorKind::kFile);
}

TEST_CASE("mutated data sets: an Error or pictures") {
  const test::Folder folder;
  const auto bytes = test::file_bytes(kData + "dlib_faces.xml");
  const std::string whole(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::mt19937 random(5);
  int good = 0;
  for (int i = 0; i < 600; ++i) {
    auto mutant = whole;
    if (i % 4 == 0) mutant.resize(mutant.size() * std::size_t(i) / 600);
    const char* const kMarks = "<>/='\"!?&- a0";
    for (unsigned k = 0; k < 2 && !mutant.empty(); ++k) mutant[random() % mutant.size()] = kMarks[random() % 13];
    try {
      good += read_dlib_xml(folder.file("a.xml", mutant)).size() >= 1;
    } catch (const Error& e) {
      CHECK(has(e.what(), "a.xml"));
    }
  }
  CHECK(good > 20);
  CHECK(good < 500);
}

#include "facellava/io/npy.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  const std::string size = version == 1 ? le(std::uint16_t(header.size())) : le(std::uint32_t(header.size()));
  return std::string("\x93NUMPY") + version + '\0' + size + header + data;
}
std::string header(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }   \n";
}

}  // namespace

TEST_CASE("element types, versions and shapes") {
  const Scratch scratch;
  const auto read = [&](const std::string& bytes) { return read_npy(scratch.write("a.npy", bytes)); };
  for (const char version : {1, 2, 3}) {
    const Npy f4 = read(npy(header("<f4", "(2, 1)"), le(0.5f) + le(-2.f), version));
    CHECK(f4.shape == std::vector<Index>{2, 1});
    CHECK(f4.values == std::vector<double>{0.5, -2});
  }
  CHECK(read(npy(header("<f8", "()"), le(0.1))).values == std::vector<double>{0.1});
  CHECK(read(npy(header("<i8", "(1,)"), le(std::int64_t(1) << 40))).values == std::vector<double>{0x1p40});
  CHECK(read(npy(header("<i4", "(1,)"), le(-3))).values == std::vector<double>{-3});
  CHECK(read(npy(header("|u1", "(2,)"), "\xff\x01")).values == std::vector<double>{255, 1});
  CHECK(read(npy(header("<f4", "(0, 3)"), "")).shape == std::vector<Index>{0, 3});
}

TEST_CASE("Fortran order gives the same array") {
  const Scratch scratch;
  const auto read = [&](const std::string& bytes) { return read_npy(scratch.write("a.npy", bytes)).values; };
  const auto numbers = [](std::initializer_list<int> list) {
    std::string out;
    for (const int v : list) out += le(v);
    return out;
  };
  CHECK(read(npy(header("<i4", "(2, 3)", "True"), numbers({1, 4, 2, 5, 3, 6}))) ==
        std::vector<double>{1, 2, 3, 4, 5, 6});
  // element (i, j, k) of (2, 2, 3), which is 6 i + 3 j + k, lies at i + 2 j + 4 k
  CHECK(read(npy(header("<i4", "(2, 2, 3)", "True"), numbers({0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11}))) ==
        std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(read(npy(header("<i4", "(3,)", "True"), numbers({1, 2, 3}))) == std::vector<double>{1, 2, 3});
  CHECK(read(npy(header("<f8", "()", "True"), le(0.5))) == std::vector<double>{0.5});
  CHECK(read(npy(header("<f8", "(0, 2)", "True"), "")).empty());
}

TEST_CASE("real landmark files") {
  const auto shape = [](const std::string& name) {
    const Npy a = read_npy(std::string(FACELLAVA_GOLDENS) + "/landmarks/" + name);
    for (const double x : a.values) CHECK((x > -256 && x < 512));
    return a.shape;
  };
  CHECK(shape("image_face_a_256.npy") == std::vector<Index>{68, 2});
  CHECK(shape("image_face_b_256.npy") == std::vector<Index>{68, 2});
  CHECK(shape("video_face_256_24fps.npy").size() == 3);
}

TEST_CASE("what is not read is refused, with what is wrong") {
  const Scratch scratch;
  const auto fails = [&](const std::string& bytes) {
    return error_of(ErrorKind::kFormat, [&] { read_npy(scratch.write("a.npy", bytes)); });
  };
  CHECK(mentions(fails(npy(header("<f4", "(1,)", "Maybe"), le(1.f))), "True or False"));
  CHECK(mentions(fails(npy(header("|O", "(1,)"), "\x80\x02N.")), "pickled Python objects"));
  CHECK(mentions(fails(npy(header(">f4", "(1,)"), le(1.f))), "'>f4'"));
  CHECK(mentions(fails(npy(header("<f4", "(2,)"), le(1.f))), "does not fit"));
  CHECK(mentions(fails(npy(header("<f4", "(9223372036854775807, 2)"), le(1.f))), "does not fit"));
  fails(npy(header("<f4", "(9223372036854775808,)"), le(1.f)));
  fails(npy(header("<f4", "(-1,)"), le(1.f)));
  fails(npy(header("<f4", "(1"), le(1.f)));
  fails(npy("{}", le(1.f)));
  fails(npy(header("<f4", "(1,)"), le(1.f), 4));
  fails("PK\3\4 not an array");
  const std::string good = npy(header("<f4", "(3,)"), le(1.f) + le(2.f) + le(3.f), 2);
  for (std::size_t n = 1; n < good.size(); ++n) fails(good.substr(0, n));
}

TEST_CASE("a damaged array is read or refused, never worse") {
  const Scratch scratch;
  const std::string good = npy(header("<f4", "(2, 3)"), std::string(24, '\1'));
  mutate(good, good.size() - 24, 4000, [&](const std::string& mutant) {
    if (mutant.empty()) return;
    survives([&] { read_npy(scratch.write("mutant.npy", mutant)); });
  });
}

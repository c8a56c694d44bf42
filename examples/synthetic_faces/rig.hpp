// The head: a mesh and its targets (shapes and expressions), read from face_rig.bin (data/SOURCE.txt has its layout).
//   vertex[index] += weight * delta * scale / 32767
// Units: decimetres; y up, the face looks along +z, so that its own left is +x.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/regions.hpp"
#include "facellava/io/json.hpp"
#include "facellava/io/mapped_file.hpp"
#include "vec.hpp"

namespace synthetic_faces {

using facellava::Error;
using facellava::ErrorKind;
using facellava::kPoints;

enum class Material : std::uint8_t { kSkin, kEye, kTeeth, kTongue, kLashes, kHair, kFrame, kLens, kHat };
inline constexpr int kRigMaterials = 6;

using Triangle = std::array<std::uint16_t, 3>;
struct Weight {
  int target = 0;
  float value = 0;
};
using Weights = std::vector<Weight>;

struct Rig {
  std::vector<Vec3> vertices;
  std::vector<Triangle> triangles;
  std::vector<Material> material;               // of each triangle
  std::array<std::uint16_t, kPoints> points{};  // the vertices that are the 68 points
  std::vector<float> occlusion;                 // of each vertex: how much of the sky it sees, 0..1
  std::map<std::string, int, std::less<>> names;
  std::vector<std::uint32_t> begin;  // where the deltas of each target begin, and the end
  std::vector<std::uint16_t> index;
  std::vector<std::array<std::int16_t, 3>> delta;
  std::vector<float> scale;

  // Errors: kFormat (the rig has no such target).
  int target(std::string_view name) const {
    const auto at = names.find(name);
    if (at == names.end()) throw Error(ErrorKind::kFormat, "the rig has no target " + std::string(name));
    return at->second;
  }
  // Adds a target to moved vertices; the head's left and right half may take it with weights of their own.
  void add(std::vector<Vec3>& moved, int t, float left, float right) const {
    constexpr float kSeam = 0.12f;  // decimetres to each side of the middle over which the weights blend
    const float unit = scale[std::size_t(t)] / 32767;
    for (std::size_t i = begin[std::size_t(t)]; i < begin[std::size_t(t) + 1]; ++i) {
      const std::size_t v = index[i];
      const float w = unit * (left == right ? left : mix(right, left, smooth_step(-kSeam, kSeam, vertices[v].x)));
      moved[v] += Vec3{float(delta[i][0]), float(delta[i][1]), float(delta[i][2])} * w;
    }
  }
  void add(std::vector<Vec3>& moved, const Weights& weights) const {
    for (const Weight& w : weights) add(moved, w.target, w.value, w.value);
  }
};

namespace detail {

// The arrays of a rig file, each checked against its bytes.
class RigFile {
 public:
  RigFile(std::span<const std::byte> bytes, const std::string& path) : path_(path) {
    constexpr std::size_t kFixed = 12;
    if (bytes.size() < kFixed || std::memcmp(bytes.data(), "FRIG1\0\0\0", 8) != 0) fail("is no face rig");
    std::uint32_t size = 0;
    std::memcpy(&size, bytes.data() + 8, 4);
    if (size > bytes.size() - kFixed) fail("ends inside its header");
    header_ = facellava::io::parse_json({reinterpret_cast<const char*>(bytes.data()) + kFixed, size}, path);
    // Arrays are aligned to 16 bytes of the file, and their offsets count from the header's end.
    data_ = bytes.subspan(kFixed + size);
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, path_ + ": " + what); }

  // Values of an array whose shape is [n] or [n, columns].
  template <class T>
  std::vector<T> array(std::string_view name, std::string_view dtype, std::size_t columns) const {
    namespace io = facellava::io;
    for (const auto& a : io::require<std::vector<nlohmann::json>>(header_, "arrays", path_)) {
      if (io::require<std::string>(a, "name", path_) != name) continue;
      const auto shape = io::require<std::vector<std::uint64_t>>(a, "shape", path_);
      const auto offset = io::require<std::uint64_t>(a, "offset", path_);
      const bool fits = shape.size() == (columns > 1 ? 2u : 1u) && (columns == 1 || shape[1] == columns);
      if (!fits || io::require<std::string>(a, "dtype", path_) != dtype)
        fail("the array " + std::string(name) + " has another type or shape than the rig's");
      const std::size_t row = sizeof(T);
      if (offset > data_.size() || shape[0] > (data_.size() - offset) / row)
        fail("the array " + std::string(name) + " reaches beyond the file's end");
      std::vector<T> out(shape[0]);
      if (!out.empty()) std::memcpy(out.data(), data_.data() + offset, out.size() * row);
      return out;
    }
    fail("the array " + std::string(name) + " is missing");
  }
  std::vector<std::string> target_names() const {
    return facellava::io::require<std::vector<std::string>>(header_, "targets", path_);
  }

 private:
  std::string path_;
  nlohmann::json header_;
  std::span<const std::byte> data_;
};

inline void check_rig(const Rig& rig, const RigFile& file) {
  const std::size_t n = rig.vertices.size();
  const auto all = [&](const auto& of, auto test, const char* what) {
    if (!std::all_of(of.begin(), of.end(), test)) file.fail(what);
  };
  const auto finite = [](Vec3 v) { return std::abs(v.x) + std::abs(v.y) + std::abs(v.z) < 1e3f; };
  all(rig.vertices, finite, "a vertex is no place near a head");
  all(
      rig.triangles, [&](const Triangle& t) { return t[0] < n && t[1] < n && t[2] < n; }, "a triangle has no vertex");
  all(
      rig.points, [&](std::uint16_t i) { return i < n; }, "a landmark has no vertex");
  all(
      rig.index, [&](std::uint16_t i) { return i < n; }, "a target moves a vertex that is not there");
  all(
      rig.material, [](Material m) { return int(m) < kRigMaterials; }, "a triangle has an unknown material");
  all(
      rig.occlusion, [](float a) { return a >= 0 && a <= 1.01f; }, "an occlusion is not from 0 to 1");
  all(
      rig.scale, [](float s) { return s >= 0 && s < 100; }, "a target's scale is not from 0 to 100");
  const std::size_t targets = rig.names.size();
  if (rig.material.size() != rig.triangles.size() || rig.occlusion.size() != n || rig.scale.size() != targets ||
      rig.begin.size() != targets + 1 || rig.index.size() != rig.delta.size() || rig.begin.back() != rig.index.size() ||
      !std::is_sorted(rig.begin.begin(), rig.begin.end()))
    file.fail("its arrays do not fit together");
}

}  // namespace detail

// Errors: as MappedFile; kFormat (no rig, damaged).
inline Rig read_rig(const std::string& path) {
  constexpr std::size_t kMost = std::size_t(64) << 20;
  const facellava::io::MappedFile bytes(path, facellava::io::Load::kCopy, kMost);
  const detail::RigFile file(bytes.bytes(), path);
  Rig rig;
  rig.vertices = file.array<Vec3>("vertices", "f4", 3);
  rig.triangles = file.array<Triangle>("triangles", "u2", 3);
  rig.material = file.array<Material>("material", "u1", 1);
  const auto points = file.array<std::uint16_t>("landmark68", "u2", 1);
  if (points.size() != kPoints) file.fail("it has no 68 landmarks");
  std::copy(points.begin(), points.end(), rig.points.begin());
  rig.occlusion = file.array<float>("ambient_occlusion", "f4", 1);
  rig.begin = file.array<std::uint32_t>("target_begin", "u4", 1);
  rig.index = file.array<std::uint16_t>("target_index", "u2", 1);
  rig.delta = file.array<std::array<std::int16_t, 3>>("target_delta_i16", "i2", 3);
  rig.scale = file.array<float>("target_scale", "f4", 1);
  for (const std::string& name : file.target_names())
    if (!rig.names.emplace(name, int(rig.names.size())).second) file.fail("two targets have one name");
  detail::check_rig(rig, file);
  return rig;
}

}  // namespace synthetic_faces

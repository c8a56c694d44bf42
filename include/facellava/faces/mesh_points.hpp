// MediaPipe's face mesh as 68 landmarks. Source of the table: Mediapipe_2_Dlib_Landmarks (Peizhi Yan, MIT).
#pragma once
#include <array>
#include <span>

#include "facellava/faces/landmarks.hpp"

namespace facellava::faces {

inline constexpr int kMeshPoints = 468;  // a net with irises has ten more

// Point i of the 68 is the mean of these two (or one, twice) of the mesh.
inline constexpr std::array<std::array<int, 2>, kPoints> kMeshToPoints{{
    {127, 127}, {234, 234}, {93, 93},   {132, 58},  {58, 172},  {136, 136}, {150, 150}, {176, 176}, {152, 152},
    {400, 400}, {379, 379}, {365, 365}, {397, 288}, {361, 361}, {323, 323}, {454, 454}, {356, 356}, {70, 70},
    {63, 63},   {105, 105}, {66, 66},   {107, 107}, {336, 336}, {296, 296}, {334, 334}, {293, 293}, {300, 300},
    {168, 6},   {197, 195}, {5, 5},     {4, 4},     {75, 75},   {97, 97},   {2, 2},     {326, 326}, {305, 305},
    {33, 33},   {160, 160}, {158, 158}, {133, 133}, {153, 153}, {144, 144}, {362, 362}, {385, 385}, {387, 387},
    {263, 263}, {373, 373}, {380, 380}, {61, 61},   {39, 39},   {37, 37},   {0, 0},     {267, 267}, {269, 269},
    {291, 291}, {321, 321}, {314, 314}, {17, 17},   {84, 84},   {91, 91},   {78, 78},   {82, 82},   {13, 13},
    {312, 312}, {308, 308}, {317, 317}, {14, 14},   {87, 87},
}};

inline Landmarks landmarks_of_mesh(std::span<const Point> mesh) {
  if (mesh.size() < kMeshPoints)
    throw Error(ErrorKind::kShape, "face mesh: expected at least " + std::to_string(kMeshPoints) + " points, found " +
                                       std::to_string(mesh.size()));
  Landmarks l;
  for (std::size_t i = 0; i < kPoints; ++i) {
    const Point a = mesh[std::size_t(kMeshToPoints[i][0])], b = mesh[std::size_t(kMeshToPoints[i][1])];
    l[i] = {(a.x + b.x) / 2, (a.y + b.y) / 2};
  }
  return l;
}

}  // namespace facellava::faces

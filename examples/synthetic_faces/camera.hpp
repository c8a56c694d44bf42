// What a camera and a file do to a picture: exposure, contrast, colour, blur, noise, JPEG. Real and forged faces pass
// through the same one, so that only the forgery tells them apart.
#pragma once
#include "canvas.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/media/detail/stb_encode.hpp"
#include "facellava/media/image.hpp"

namespace synthetic_faces {

struct Camera {
  float exposure = 1, contrast = 1, gamma = 1, saturation = 1;  // saturation 0: a grey picture
  Colour balance{1, 1, 1};
  float blur = 0;           // deviation in pixels; 0: none
  float noise = 0;          // deviation at full light, display values
  int jpeg_quality = 0;     // 1..100; 0: no JPEG
  std::uint64_t grain = 0;  // seed of the noise

  bool grey() const { return saturation == 0; }
};

inline Camera draw_camera(Dice d) {
  Camera c;
  c.exposure = d.uniform(.8f, 1.18f);
  c.contrast = d.uniform(.85f, 1.15f);
  c.gamma = d.uniform(.85f, 1.15f);
  c.balance.x = 1 + .025f * d.normal();
  c.balance.z = 1 + .025f * d.normal();
  c.saturation = d.chance(.12f) ? 0 : d.uniform(.75f, 1.1f);
  if (d.chance(.5f)) c.blur = d.uniform(.35f, 1.0f);
  c.noise = d.uniform(0, .028f);
  if (d.chance(.75f)) c.jpeg_quality = 35 + d.below(61);
  c.grain = d.seed();
  return c;
}

// Through a JPEG file of this quality and back. Errors: kCapacity (no memory).
inline facellava::media::Image through_jpeg(const facellava::media::Image& image, int quality) {
  namespace media = facellava::media;
  std::vector<std::byte> bytes;
  bytes.reserve(std::size_t(image.width() * image.height()));
  const auto append = [](void* to, void* data, int size) {
    auto& all = *static_cast<std::vector<std::byte>*>(to);
    all.insert(all.end(), static_cast<std::byte*>(data), static_cast<std::byte*>(data) + size);
  };
  if (!media::detail::stb::stbi_write_jpg_to_func(append, &bytes, image.width(), image.height(), 3, image.row(0),
                                                  quality))
    throw facellava::Error(facellava::ErrorKind::kCapacity, "a JPEG cannot be written");
  return media::decode_image(bytes, "a JPEG of our own");
}

// part: which picture of a clip, that each has noise of its own.
inline facellava::media::Image photograph(Canvas light, const Camera& c, std::uint64_t part = 0) {
  if (c.blur > 0) blur(light, c.blur);
  // The tone curve once a level instead of once a pixel.
  constexpr int kLevels = 1024;
  std::array<float, kLevels + 1> curve{};
  for (int i = 0; i <= kLevels; ++i) {
    const float x = float(i) / kLevels * c.exposure;
    curve[std::size_t(i)] = (std::pow(x, c.gamma) - .5f) * c.contrast + .5f;
  }
  const auto toned = [&](float x) { return curve[std::size_t(clamped(x) * kLevels + .5f)]; };
  Dice d(c.grain, part, Stream::kCamera);
  facellava::media::Image image(light.side, light.side);
  for (int y = 0; y < light.side; ++y)
    for (int x = 0; x < light.side; ++x) {
      const Colour in = light.at(x, y);
      Colour out = Colour{toned(in.x), toned(in.y), toned(in.z)} * c.balance;
      const float luma = .30f * out.x + .59f * out.y + .11f * out.z;
      out = mix({luma, luma, luma}, out, c.saturation);
      // Triangular noise, of one draw; darker pixels have less.
      const std::uint64_t bits = d.seed();
      const auto grain = [&](int at) {
        return (float(bits >> at & 1023) + float(bits >> (at + 10) & 1023) - 1023) * (2.45f / 1024);
      };
      const float loud = c.noise * (.5f + .5f * luma);
      const float all = c.grey() ? grain(0) * loud : 0, red = c.grey() ? all : grain(0) * loud;
      const float green = c.grey() ? all : grain(20) * loud, blue = c.grey() ? all : grain(40) * loud;
      std::uint8_t* to = image.pixel(x, y);
      to[0] = std::uint8_t(clamped(out.x + red) * 255 + .5f);
      to[1] = std::uint8_t(clamped(out.y + green) * 255 + .5f);
      to[2] = std::uint8_t(clamped(out.z + blue) * 255 + .5f);
    }
  return c.jpeg_quality > 0 ? through_jpeg(image, c.jpeg_quality) : image;
}

}  // namespace synthetic_faces

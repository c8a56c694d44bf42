// facellava preprocess: a picture to the tensor that a tower takes.
#include "facellava/media/preprocess.hpp"

#include <iostream>

#include "facellava/io/safetensors_writer.hpp"
#include "facellava/media/decode.hpp"
#include "options.hpp"

namespace tool {

void add_preprocess(CLI::App& app) {
  using namespace facellava;
  struct Options {
    std::string image, out, padding = "none", orientation = "reference";
    int side = 224;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("preprocess", "Picture to normalised pixels [3, side, side], as `pixel_values`");
  command->add_option("--image", o->image, "JPEG, PNG, BMP or PPM")->required();
  command->add_option("--out", o->out, "safetensors file to write")->required();
  command->add_option("--side", o->side, "Pixels")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--padding", o->padding, "none: as inference; square: as training")
      ->check(CLI::IsMember({"none", "square"}))
      ->capture_default_str();
  command->add_option("--orientation", o->orientation, "reference: EXIF ignored, as released; exif: applied")
      ->check(CLI::IsMember({"reference", "exif"}))
      ->capture_default_str();
  command->callback([o] {
    media::DecodeOptions decode;
    if (o->orientation == "exif") decode.orientation = media::Orientation::kExif;
    const media::Image image = media::read_image(o->image, decode);
    media::Preprocess p;
    p.side = o->side;
    if (o->padding == "square") p.padding = media::Padding::kSquare;
    const std::vector<float> pixels = media::preprocess_image(image.view(), p);
    const io::NamedTensor tensor{
        "pixel_values", io::DType::kF32, {3, o->side, o->side}, std::as_bytes(std::span(pixels))};
    io::write_safetensors(o->out, std::span(&tensor, 1));
    std::cout << o->out << ": pixel_values [3, " << o->side << ", " << o->side << "] from " << image.width() << " x "
              << image.height() << "\n";
  });
}

}  // namespace tool

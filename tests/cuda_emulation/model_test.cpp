// Whole models on the CUDA device, weights in device memory, against the official code: sessions of the tiny
// Face-LLaVA, the same model and session as on the CPU, and the video tower. The same file runs in the emulator and on
// a GPU.
#include "cuda_emulation/on_device.hpp"
#include "facellava/cuda/upload.hpp"
#include "support/tiny_golden.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

using CudaModel = run::Model<FaceLlava<configs::kTiny>, cuda::Device>;

constexpr std::size_t kFew = 2;  // tokens: in the emulator the words of a token take a second
void check_on_cuda(const char* format, const char* name, std::size_t tokens) {
  CAPTURE(name);
  const run::ModelFolder folder({tiny_folder(format)});
  const CudaModel model(folder, {}, kSmallDevice);
  check_case(TinyCase(name), *model.open({.kv_rows = 5000, .positions = 4096}), tokens);
}

constexpr TowerConfig kVideo{.side = 56,
                             .patch = 14,
                             .layers = 4,
                             .run_layers = 4,
                             .output = ClassToken::kFirst,
                             .block = {.dim = 64, .ffn = 160, .heads = 4, .frames = 8}};

}  // namespace

TEST_CASE("a session: a picture with landmarks, weights in bf16") {
  check_on_cuda("ckpt_safetensors_bf16", "image_landmarks", kFew);
}
TEST_CASE("a session: words alone, weights in fp16") { check_on_cuda("ckpt_bin_fp16", "text_only", kFew); }

TEST_CASE("long: every session of the goldens, all greedy tokens" * doctest::skip()) {
  for (const char* name : kTinyCases) check_on_cuda("ckpt_safetensors_bf16", name, 1000);
}

TEST_CASE("the video tower with temporal attention, every layer, fp32") {
  using T = Tower<kVideo>;
  const Golden weights("towers/video_tower_weights.safetensors"), io("towers/video_tower_io.safetensors");
  T::Params<Plain<const float, Host>> host;
  Binder bind(weights, "model.video_tower.video_tower.");
  T::visit(bind, "", host);
  cuda::Device dev(kSmallDevice);
  T::Params<Plain<const float, cuda::Space>> params;
  cuda::UploadedWeights memory;
  memory.upload<T>(dev, params, host);

  constexpr Index kFrames = kVideo.block.frames, kPixels = 3 * kVideo.side * kVideo.side;
  const std::vector<float> values = frames_first(io.floats("pixel_values"), kFrames);
  const View<const float, Host, kDyn, kPixels> pixels(values.data(), kFrames);
  const TowerRows rows(kVideo, 1);
  Staging<cuda::Device> staging(dev);
  Workspace workspace(dev.memory());
  T::Cache<Act<float, cuda::Space>> c;
  workspace.carve([&](Arena& a) { T::carve(a, c, kFrames); });
  T::forward(dev, c, staging.in(pixels), params, in(staging, rows.layout()), [&](int k, auto x) {
    const auto mine = staging.out(x);
    const auto golden = io.floats("hidden_states." + std::to_string(k));
    REQUIRE(mine.count() == Index(golden.size()));
    CHECK(relative_to_max(std::vector<float>(mine.data, mine.data + mine.count()), golden, mine.count()) < 2e-5);
  });
}

// Whole models on the CUDA device, with weights in device memory, against the official code: the tiny Face-LLaVA from
// pixels, landmarks and ids to logits, and the video tower. Demands: those of tests/run/golden_test.cpp and
// tests/models/tower_test.cpp. The same file runs in the emulator and on a GPU.
#include <doctest/doctest.h>

#include "cuda_emulation/on_device.hpp"
#include "facellava/cuda/upload.hpp"
#include "support/tiny_model.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

using A = Act<float, cuda::Space>;

// A layout that lacks a list has a view without data there.
template <class T>
std::vector<T> values_of(View<const T, Host, kDyn> v) {
  if (!v.data) return {};
  return {v.data, v.data + v.rows()};
}

class LayoutOnDevice {
 public:
  LayoutOnDevice(cuda::Device& dev, const Layout<Host>& l)
      : sequences_(dev, values_of(l.sequences)),
        ranges_(dev, values_of(l.ranges)),
        positions_(dev, values_of(l.positions)),
        slots_(dev, values_of(l.slots)) {}
  Layout<cuda::Space> layout() const { return {sequences_.view(), ranges_.view(), positions_.view(), slots_.view()}; }

 private:
  ArrayOnDevice<Sequence> sequences_;
  ArrayOnDevice<KvRange> ranges_;
  ArrayOnDevice<int> positions_, slots_;
};

class TowerOnDevice {
 public:
  TowerOnDevice(cuda::Device& dev, const TowerLayout<Host>& l)
      : positions_(dev, values_of(l.positions)),
        frames_(dev, values_of(l.frames)),
        zeros_(dev, values_of(l.zeros)),
        selected_(dev, values_of(l.selected)),
        spatial_(dev, l.spatial),
        temporal_(dev, l.temporal) {}
  TowerLayout<cuda::Space> layout() const {
    return {positions_.view(), frames_.view(), zeros_.view(), selected_.view(), spatial_.layout(), temporal_.layout()};
  }

 private:
  ArrayOnDevice<int> positions_, frames_, zeros_, selected_;
  LayoutOnDevice spatial_, temporal_;
};

// Memory that plan(arena) takes, on the device.
cuda::Buffer carve_on(cuda::Device& dev, auto&& plan) {
  Arena count;
  plan(count);
  cuda::Buffer memory = dev.allocate(count.peak());
  Arena arena(memory.data(), memory.size());
  plan(arena);
  return memory;
}

template <Index N>
std::vector<float> get(cuda::Device& dev, View<float, cuda::Space, kDyn, N> v) {
  std::vector<float> o(std::size_t(v.count()));
  dev.download(View<float, Host, kDyn, N>(o.data(), v.rows()), View<const float, cuda::Space, kDyn, N>(v));
  return o;
}
double golden_error(const std::vector<float>& mine, const std::vector<float>& golden) {
  REQUIRE(mine.size() == golden.size());
  return relative_to_max(mine, golden, Index(mine.size()));
}

using Tiny = FaceLlava<configs::kTiny>;
using Text = Tiny::Text;
using Eye = Tiny::ImagePath;

struct TinyOnDevice {
  cuda::Device dev{kSmallDevice};
  Tiny::Params<Stored<cuda::Space>> params;
  cuda::UploadedWeights weights;

  explicit TinyOnDevice(const std::string& format) {
    run::StoredParams<Tiny> host;
    const std::vector<NamedLeaf> leaves = leaves_of<Tiny>(host);
    io::Weights file;
    run::bind_strict(leaves, file, run::ModelFolder({tiny_folder(format)}), {});
    weights.upload<Tiny>(dev, params, host);
  }
  // The picture's visual tokens.
  void look(View<float, cuda::Space, kDyn, Tiny::kDim> visual, const run::MediumInput& m) {
    Eye::Cache<A> c;
    const cuda::Buffer memory = carve_on(dev, [&](Arena& a) { Eye::carve(a, c, 1); });
    const TowerRows rows(configs::kTiny.image, 1);
    const TowerOnDevice at(dev, rows.layout());
    const ArrayOnDevice<float> pixels(dev, m.pixels), points(dev, m.points);
    constexpr Index kPixels = 3 * configs::kTiny.image.side * configs::kTiny.image.side;
    Eye::encode(dev, c, View<const float, cuda::Space, kDyn, kPixels>(pixels.first(), 1), params, params.image_tower,
                at.layout(), silent);
    Eye::fuse(dev, visual, c, View<const float, cuda::Space, kDyn, 2 * kPoints>(points.first(), 1), params);
    dev.synchronize();  // before what it works on is given back
  }
};

// A request with one picture or none, in one chunk.
void check_request(TinyOnDevice& model, const TinyCase& golden) {
  cuda::Device& dev = model.dev;
  const run::Request& request = golden.requests.at(0);
  std::vector<int> ids, splice, positions;
  for (int id : request.ids)
    for (Index i = 0; i < (id == text::kMediaSlot ? configs::kTiny.image.features() : 1); ++i) {
      ids.push_back(id == text::kMediaSlot ? -1 : id);
      splice.push_back(id == text::kMediaSlot ? int(i) : -1);
      positions.push_back(int(positions.size()));
    }
  const int n = int(ids.size());
  View<float, cuda::Space, kDyn, Tiny::kDim> visual, hidden, last;
  View<float, cuda::Space, kDyn, configs::kTiny.llama.vocab> logits;
  Text::Table<A> table;
  Text::Slabs<A> slabs;
  Text::Cache<A> c;
  const cuda::Buffer memory = carve_on(dev, [&](Arena& a) {
    a.take(visual, request.media.empty() ? 0 : configs::kTiny.image.features());
    a.take(hidden, n);
    a.take(last, 1);
    a.take(logits, 1);
    a.take(table, n);
    Text::carve_slabs(a, slabs, n);
    Text::carve(a, c, n);
  });
  std::vector<float> angles(std::size_t(n * Text::kHeadDim));
  const View<float, Host, kDyn, Text::kHeadDim> host_table(angles.data(), n);
  Text::fill_table(host_table);
  dev.upload(table, host_table);
  if (!request.media.empty()) model.look(visual, request.media[0]);

  const ArrayOnDevice<int> token_ids(dev, ids), from(dev, splice), end(dev, {n - 1});
  const std::vector<Sequence> sequences{{0, n, 0, 1}};
  const std::vector<KvRange> ranges{{0, n}};
  const LayoutOnDevice at(dev, {array(sequences), array(ranges), array(positions), array(positions)});
  Tiny::embed_rows(dev, c.x, token_ids.view(), visual, from.view(), model.params);
  if (golden.golden.has("inputs_embeds"))
    CHECK(golden_error(get(dev, c.x), golden.golden.floats("inputs_embeds")) < 2e-5);
  Text::forward(dev, hidden, c, slabs, table, model.params.llama, at.layout(), silent);
  gather_rows(dev, last, hidden, end.view());
  Text::logits(dev, logits, last, model.params.llama);
  CHECK(golden_error(get(dev, hidden), golden.golden.floats("hidden_final")) < 1e-4);
  CHECK(golden_error(get(dev, logits), golden.golden.floats("logits.last")) < 1e-4);
}

constexpr TowerConfig kVideo{.side = 56,
                             .patch = 14,
                             .layers = 4,
                             .run_layers = 4,
                             .output = ClassToken::kFirst,
                             .block = {.dim = 64, .ffn = 160, .heads = 4, .frames = 8}};

}  // namespace

TEST_CASE("the tiny Face-LLaVA: picture, landmarks and words, weights in bf16") {
  TinyOnDevice model("ckpt_safetensors_bf16");
  check_request(model, TinyCase("image_landmarks"));
}

TEST_CASE("the tiny Face-LLaVA: words alone, weights in fp16") {
  TinyOnDevice model("ckpt_bin_fp16");
  check_request(model, TinyCase("text_only"));
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
  const ArrayOnDevice<float> pixels(dev, frames_first(io.floats("pixel_values"), kFrames));
  const TowerRows rows(kVideo, 1);
  const TowerOnDevice at(dev, rows.layout());
  T::Cache<A> c;
  const cuda::Buffer cache = carve_on(dev, [&](Arena& a) { T::carve(a, c, kFrames); });
  T::forward(
      dev, c, View<const float, cuda::Space, kDyn, kPixels>(pixels.first(), kFrames), params, at.layout(),
      [&](int k, auto x) { CHECK(golden_error(get(dev, x), io.floats("hidden_states." + std::to_string(k))) < 2e-5); });
}

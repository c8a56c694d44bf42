// Prefill and decode of the 7B decoder, with 1, 4 or all 32 of its layers.
#include "bound_weights.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/models/cost.hpp"
#include "facellava/models/llama.hpp"
#include "pieces.hpp"

namespace facellava::bench {
namespace {

using A = Act<float, Host>;
using P = Stored<Host>;

constexpr LlamaConfig with_layers(int layers) {
  LlamaConfig c = configs::kFaceLlava7B.llama;
  c.layers = layers;
  return c;
}

// A session of one sequence: `past` tokens stand in the KV slab, `rows` are added and the last one's word is chosen.
template <LlamaConfig C, class Kv>
struct TextState {
  using Text = Llama<C>;

  TextState(cpu::Device& device, Format weights, int past_tokens, int new_rows)
      : dev(device), bound(weights), past(past_tokens), rows(new_rows) {
    workspace.carve([&](Arena& arena) {
      Text::carve(arena, cache, rows);
      Text::carve_slabs(arena, slabs, past + rows);
      arena.take(table, past + rows);
      arena.take(hidden, rows);
      arena.take(logits, 1);
    });
    Text::fill_table(table);
    Rng rng(4);
    for (auto& s : slabs)
      for (Index i = 0; i < s.k.count(); ++i) {
        put(s.k.data[i], rng);
        put(s.v.data[i], rng);
      }
    for (int i = 0; i < rows; ++i) {
      ids.push_back(int(rng.next() % std::uint64_t(C.vocab)));
      positions.push_back(past + i);
    }
  }
  static void put(float& x, Rng& rng) { x = float(2 * rng.uniform() - 1); }
  static void put(bf16& x, Rng& rng) { x = to_bf16(float(2 * rng.uniform() - 1)); }

  auto visitor() {
    return [this](auto&& f) { Text::visit(f, "llama", params); };
  }
  void run() {
    const Sequence sequence{0, rows, 0, 1};
    const KvRange range{0, past + rows};
    const View<const int, Host, kDyn> at(positions.data(), rows);
    const Layout<Host> layout{View<const Sequence, Host, kDyn>(&sequence, 1),
                              View<const KvRange, Host, kDyn>(&range, 1), at, at};
    embed(dev, cache.x, View<const int, Host, kDyn>(ids.data(), rows), params.embed_tokens);
    Text::forward(dev, hidden, cache, slabs, table, params, layout, [](int, auto) {});
    Text::logits(dev, logits, facellava::rows(hidden, rows - 1, 1), params);
    argmax(dev, View<int, Host, kDyn>(&word, 1), logits);
  }
  Work work(Unit unit, Format weights) {
    const Cost cost = decoder_cost(C, weights, 1, past, rows, 1, double(sizeof(typename Kv::Element)));
    return {cost.operations, cost.bytes, unit};
  }

  cpu::Device& dev;
  BoundWeights bound;
  int past, rows;
  typename Text::template Params<P> params;
  typename Text::template Cache<A> cache;
  typename Text::template Slabs<Kv> slabs;
  typename Text::template Table<A> table;
  Tensor<A, kDyn, Text::kDim> hidden;
  Tensor<A, kDyn, C.vocab> logits;
  Workspace workspace;
  std::vector<int> ids, positions;
  int word = 0;
};

template <LlamaConfig C, class Kv>
Piece text_piece(cpu::Device& dev, const PieceOptions& o) {
  using State = TextState<C, Kv>;
  const bool decode = o.part == "decode";
  const auto state = std::make_shared<State>(dev, o.weights, decode ? o.tokens : 0, decode ? 1 : o.tokens);
  if (o.from.empty())
    state->bound.fill_random(state->visitor());
  else
    state->bound.read(o.from, io::kOfficial, state->visitor());
  Piece piece{[state] { state->run(); }, state->work(unit_of(o.weights, dev), o.weights), decode ? 1. : 0};
  if (!o.from.empty()) {
    const auto ids = read_floats(o.from + "/input.npy", state->rows);
    state->ids.assign(ids.begin(), ids.end());
    state->run();
    piece.difference = relative_difference(state->logits.data, read_floats(o.from + "/output.npy", C.vocab));
  }
  return piece;
}

template <class Kv>
Piece text_piece_of(cpu::Device& dev, const PieceOptions& o) {
  if (o.layers == 1) return text_piece<with_layers(1), Kv>(dev, o);
  if (o.layers == 4) return text_piece<with_layers(4), Kv>(dev, o);
  if (o.layers == 32) return text_piece<with_layers(32), Kv>(dev, o);
  throw Error(ErrorKind::kArgument, "layers: expected 1, 4 or 32, found " + std::to_string(o.layers));
}

}  // namespace

Piece make_text_piece(cpu::Device& dev, const PieceOptions& o) {
  if (o.kv == Format::kBf16) return text_piece_of<Act<bf16, Host>>(dev, o);
  if (o.kv == Format::kF32) return text_piece_of<A>(dev, o);
  throw Error(ErrorKind::kArgument, "kv: expected f32 or bf16, found " + std::string(format_name(o.kv)));
}

}  // namespace facellava::bench

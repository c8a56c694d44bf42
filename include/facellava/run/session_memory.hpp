// What a session carves out of its memory, and the plan of it: the same functions on an arena without a slab.
#pragma once
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "facellava/core/arena.hpp"
#include "facellava/core/largest_ops.hpp"
#include "facellava/models/face_llava.hpp"
#include "facellava/run/any_session.hpp"

namespace facellava::run {

// A part of one sequence's rows that is in a chunk.
struct Segment {
  std::size_t owner;
  int first_row, rows, skip;  // row of the chunk; rows; rows of the owner before them
  bool ends;                  // with the owner's last row
};

// Cuts sequences of these lengths, one behind the other, into chunks.
class Chunks {
 public:
  Chunks(std::vector<int> lengths, Index chunk) : lengths_(std::move(lengths)), chunk_(int(chunk)) {}
  // The segments of the next chunk; none when all is done.
  std::vector<Segment> next() {
    std::vector<Segment> out;
    for (int used = 0; owner_ < lengths_.size(); ++owner_, done_ = 0) {
      const int n = std::min(lengths_[owner_] - done_, chunk_ - used);
      if (n > 0) out.push_back({owner_, used, n, done_, done_ + n == lengths_[owner_]});
      used += n;
      done_ += n;
      if (done_ < lengths_[owner_]) break;
    }
    return out;
  }

 private:
  std::vector<int> lengths_;
  int chunk_, done_ = 0;
  std::size_t owner_ = 0;
};

template <class M, class Space, class Kv>
struct SessionMemory {
  using A = Act<float, Space>;
  using Text = typename M::Text;
  using Logits = Tensor<A, kDyn, M::kConfig.llama.vocab>;
  using Ends = Tensor<Act<float, Host>, kDyn, M::kConfig.llama.vocab>;  // logits that the program gets
  static constexpr int kDim = M::kDim;

  // Lives as long as the session.
  struct Lasting {
    typename Text::template Slabs<Act<Kv, Space>> slabs;
    typename Text::template Table<A> table;

    // No sequence has more tokens than there are rows.
    static Index table_rows(const SessionOptions& o) { return std::min(o.positions, o.kv_rows); }
    static void carve(auto& arena, Lasting& m, const SessionOptions& o) {
      Text::carve_slabs(arena, m.slabs, o.kv_rows);
      arena.take(m.table, table_rows(o));
    }
  };
  // One chunk of rows on its way through the decoder.
  struct Step {
    typename Text::template Cache<A> cache;
    Tensor<A, kDyn, kDim> hidden, ends;  // of all rows; of rows that are the last of their sequence
    Logits all, end_logits;
    Statistic<A, kDyn> scores;  // of the tokens that all rows should say

    static void carve(auto& arena, Step& m, Index rows, Index ends, LogitRows logits) {
      arena.take(m.hidden, rows);
      arena.take(m.ends, ends);
      arena.take(m.end_logits, ends);
      arena.take(m.all, logits == LogitRows::kAll ? rows : 0);
      arena.take(m.scores, m.all.rows());
      Text::carve(arena, m.cache, rows);
    }
  };
  template <TowerConfig T>
  using Look = typename M::template Vision<T>::template Cache<A>;
  template <TowerConfig T>
  static void carve_look(auto& arena, Look<T>& m) {
    M::template Vision<T>::carve(arena, m, T.block.frames);
  }

  // What `work` takes in a session with these options, on `dev`; without weights. Errors: kArgument (no tower for a
  // medium), kCapacity (a request longer than the context).
  template <class Device>
  static MemoryPlan plan(const Device& dev, const SessionOptions& o, const Workload& work) {
    MemoryPlan plan;
    LargestOps ops;
    Lasting lasting;
    plan.rotary_table = count([&](auto& a) { a.take(lasting.table, Lasting::table_rows(o)); });
    plan.keys_and_values = count([&](auto& a) { Lasting::carve(a, lasting, o); }) - plan.rotary_table;
    const Index visual = plan_towers(plan, ops, work);
    Tensor<A, kDyn, kDim> tokens;
    plan.visual_tokens = count([&](auto& a) { a.take(tokens, visual); });
    std::vector<int> lengths, one(work.requests.size(), 1), scored;
    check_at_most(std::numeric_limits<int>::max(), o.positions, "memory plan: positions of a session");
    for (const RequestShape& r : work.requests) {
      check_at_most(o.positions, rows_of(M::kConfig, r), "memory plan: tokens of a request");
      lengths.push_back(int(rows_of(M::kConfig, r)));
    }
    for (Index n : work.scored) scored.push_back(int(n) - 1);
    plan_decoder(plan, ops, lengths, o.chunk, work.logits);
    if (work.reserve > 0) plan_decoder(plan, ops, one, o.chunk, LogitRows::kLast);
    plan_decoder(plan, ops, scored, o.chunk, LogitRows::kAll);
    Ends logits;
    plan.logits = count([&](auto& a) { a.take(logits, Index(work.requests.size())); });
    constexpr auto block = M::kConfig.llama.block;
    const auto longest = [](const auto& v) { return v.empty() ? 0 : Index(*std::max_element(v.begin(), v.end())); };
    ops.attention(std::min(o.positions, work.context + longest(lengths) + work.reserve + longest(scored)),
                  block.head_dim);
    ops.embedding(block.dim);
    plan.scratch = scratch_bytes(dev, ops);
    return plan;
  }

 private:
  static std::size_t count(auto&& carve) {
    Arena arena;
    carve(arena);
    return arena.peak();
  }

  // Returns the rows of all visual tokens.
  static Index plan_towers(MemoryPlan& plan, LargestOps& ops, const Workload& work) {
    Index images = 0, videos = 0;
    for (const RequestShape& r : work.requests) {
      images += r.images;
      videos += r.videos;
    }
    if ((images > 0 && !M::kImage) || (videos > 0 && !M::kVideo))
      throw Error(ErrorKind::kArgument,
                  std::string("the model has no tower for ") + (images > 0 && !M::kImage ? "images" : "videos"));
    if constexpr (M::kImage)
      if (images > 0) plan.image_tower = plan_tower<M::kConfig.image>(ops);
    if constexpr (M::kVideo)
      if (videos > 0) plan.video_tower = plan_tower<M::kConfig.video>(ops);
    return images * visual_rows(M::kConfig.image) + videos * visual_rows(M::kConfig.video);
  }
  template <TowerConfig T>
  static std::size_t plan_tower(LargestOps& ops) {
    const Index rows = Index(T.block.frames) * T.tokens(), features = visual_rows(T);
    ops.product(rows, std::max({T.block.ffn, T.block.dim, 3 * T.patch * T.patch}));
    ops.product(features, kDim);
    ops.attention(std::max(T.tokens(), T.block.frames), T.block.dim / T.block.heads);
    ops.embedding(T.block.dim);
    Look<T> look;
    return count([&](auto& a) { carve_look<T>(a, look); });
  }
  static void plan_decoder(MemoryPlan& plan, LargestOps& ops, std::vector<int> lengths, Index chunk, LogitRows logits) {
    constexpr auto block = M::kConfig.llama.block;
    Chunks chunks(std::move(lengths), chunk);
    for (auto segments = chunks.next(); !segments.empty(); segments = chunks.next()) {
      const Index rows = segments.back().first_row + segments.back().rows;
      const Index ends = std::count_if(segments.begin(), segments.end(), [](const Segment& s) { return s.ends; });
      Step step;
      plan.decoder = std::max(plan.decoder, count([&](auto& a) { Step::carve(a, step, rows, ends, logits); }));
      ops.product(rows, std::max({block.ffn, block.heads * block.head_dim, block.dim}));
    }
  }
};

}  // namespace facellava::run

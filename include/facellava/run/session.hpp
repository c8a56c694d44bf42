// A session: sequences of one model on one device. Pictures are encoded and prefilled once, forked and asked many
// questions. Rows of all sequences of a call go through the model together; results do not depend on who else is there.
// AnySession (any_session.hpp) is the interface; Session<M, Device, P, Kv> does the work for one compiled model. Kv:
// the element of the kept keys and values.
#pragma once
#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "facellava/run/finite.hpp"
#include "facellava/run/kv_allocator.hpp"
#include "facellava/run/session_memory.hpp"

namespace facellava::run {

template <class M, class Device, class P = Stored<typename Device::Space>, class Kv = float>
class Session final : public AnySession {
 public:
  using Params = typename M::template Params<P>;

  // params must outlive the session; device: what the session's own device is made from. Errors: kArgument, kCapacity
  // (a plan beyond the limit, memory that is not granted).
  template <class... DeviceOptions>
  Session(const Params& params, const LoadedParts& loaded, const SessionOptions& o, const DeviceOptions&... device)
      : dev_(device...),
        staging_(dev_),
        params_(params),
        loaded_(loaded),
        options_(o),
        free_(o.kv_rows),
        memory_(staging_.memory(o.services.memory)),
        workspace_(staging_.memory(o.services.memory)),
        logits_memory_(o.services.memory) {
    if (o.positions < 1 || o.chunk < 1 || o.chunk > std::numeric_limits<int>::max())
      throw Error(ErrorKind::kArgument, "session: expected at least 1 position and a chunk of at least 1 row, found " +
                                            std::to_string(o.positions) + " and " + std::to_string(o.chunk));
    const MemoryPlan plan = admit("session", {.requests = {{.text = std::min({o.kv_rows, o.positions, o.chunk})}}});
    if (o.services.log) o.services.tell(LogLevel::kInfo, "session opens, for text:\n" + plan.text());
    memory_.carve([&](Arena& a) { Memory::Lasting::carve(a, lasting_, o); });
    staging_.fill(lasting_.table, [](auto table) { Text::fill_table(table); });
  }

  int vocabulary() const override { return M::kConfig.llama.vocab; }

  std::vector<SequenceId> prefill(std::span<const Request> requests, int reserve, Observer* observer) override {
    check_requests(requests);
    if (reserve < 0 || reserve > options_.positions)
      throw Error(ErrorKind::kArgument, "prefill: expected room for 0 to " + std::to_string(options_.positions) +
                                            " more tokens, found " + std::to_string(reserve));
    std::vector<Pending> pending;
    Index visual_count = 0;
    for (const Request& r : requests) {
      pending.push_back(expand(r, pending.size(), visual_count));
      pending.back().keys.grow(free_, int(pending.back().ids.size()) + reserve, 0);
    }
    if (limited()) {
      Workload work = workload_of(requests, reserve);
      if (observer && observer->wants_logits()) work.logits = LogitRows::kAll;
      admit("prefill", work);
    }
    Workspace visual_memory(staging_.memory(options_.services.memory));
    Tensor<A, kDyn, kDim> visual;
    visual_memory.carve([&](Arena& a) { a.take(visual, visual_count); });
    Index first = 0;
    for (std::size_t i = 0; i < requests.size(); ++i)
      for (const MediumInput& m : requests[i].media) {
        const Index n = visual_rows(M::kConfig, m);
        look(m, rows(visual, first, n), i, observer);
        first += n;
      }
    if (observer) observer->done("vision");
    const Ends ends = take_logits(pending.size());
    run(pending, visual, observer, ends);
    logits_ = ends;
    if (observer) observer->done("prefill");
    std::vector<SequenceId> ids;
    for (Pending& p : pending) {
      ids.push_back(next_id_++);
      sequences_.emplace(ids.back(), std::move(p.keys));
    }
    return ids;
  }

  SequenceId fork(SequenceId id) override {
    const SequenceId child = next_id_++;
    sequences_.emplace(child, at(id).fork());
    return child;
  }
  void erase(SequenceId id) override {
    at(id);
    sequences_.erase(id);
  }
  int length(SequenceId id) const override { return at(id).length(); }
  View<const float, Host, kDyn, kDyn> logits() const override { return logits_; }

  void append(std::span<const SequenceId> ids, std::span<const std::vector<int>> tokens) override {
    check_equal(ids.size(), tokens.size(), "append: lists of tokens for the sequences", ErrorKind::kArgument);
    std::vector<Pending> pending;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::string who = "append: sequence " + std::to_string(ids[i]);
      if (std::find(ids.begin(), ids.begin() + std::ptrdiff_t(i), ids[i]) != ids.begin() + std::ptrdiff_t(i))
        throw Error(ErrorKind::kArgument, who + " is named twice");
      if (tokens[i].empty()) throw Error(ErrorKind::kArgument, who + " gets no token");
      for (int id : tokens[i]) check_token(id, who);
      pending.push_back({tokens[i], std::vector<int>(tokens[i].size(), -1), at(ids[i])});
      check_length(pending.back(), who);
      pending.back().keys.grow(free_, int(tokens[i].size()), kGrowth);
    }
    if (limited()) {
      Workload work;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        work.requests.push_back({.text = Index(tokens[i].size())});
        work.context = std::max(work.context, Index(length(ids[i])));
      }
      admit("append", work);
    }
    const Ends ends = take_logits(pending.size());
    run(pending, Tensor<A, kDyn, kDim>(), nullptr, ends);
    logits_ = ends;
    for (std::size_t i = 0; i < ids.size(); ++i) at(ids[i]) = std::move(pending[i].keys);
  }

  std::vector<std::vector<float>> log_probs(SequenceId prefix, View<const float, Host, kDyn> first,
                                            std::span<const std::vector<int>> continuations) override {
    std::vector<Pending> pending;
    for (const auto& c : continuations) {
      if (c.empty())
        throw Error(ErrorKind::kArgument,
                    "log_probs: continuation " + std::to_string(pending.size()) + " has no token");
      Pending p{{c.begin(), c.end() - 1}, std::vector<int>(c.size() - 1, -1), at(prefix).fork()};
      p.keys.grow(free_, int(p.ids.size()), 0);
      const std::string who = "log_probs: continuation " + std::to_string(pending.size());
      check_length(p, who);
      for (int id : c) check_token(id, who);
      p.targets.assign(c.begin() + 1, c.end());
      pending.push_back(std::move(p));
    }
    if (limited()) {
      Workload work{.context = length(prefix)};
      for (const auto& c : continuations) work.scored.push_back(Index(c.size()));
      admit("log_probs", work);
    }
    std::vector<std::vector<float>> out;
    staging_.clear();
    const auto said = staging_.in(View<const float, Host, kDyn, kDyn>(first.data, 1, first.rows()));
    Statistic<A, kDyn> score;
    workspace_.carve([&](Arena& a) { a.take(score, 1); });
    for (const auto& c : continuations) out.push_back(scores_of(score, said, std::span(c).first(1)));
    run(pending, Tensor<A, kDyn, kDim>(), nullptr, Ends());
    for (std::size_t i = 0; i < pending.size(); ++i)
      out[i].insert(out[i].end(), pending[i].scores.begin(), pending[i].scores.end());
    return out;
  }

 private:
  using Memory = SessionMemory<M, typename Device::Space, Kv>;
  using A = typename Memory::A;
  using Text = typename Memory::Text;
  using Ends = typename Memory::Ends;
  static constexpr int kDim = M::kDim;
  static constexpr int kGrowth = 64;  // rows that a sequence without reserve takes at a time

  // Rows of one sequence on their way through the decoder.
  struct Pending {
    std::vector<int> ids;     // −1: a visual row
    std::vector<int> visual;  // its row among all visual rows, or −1
    KvRows keys;
    std::vector<int> targets = {};   // log_probs: the token that each row should say
    std::vector<float> scores = {};  // its log-probability
  };

  bool limited() const { return options_.services.memory_limit != kNoLimit; }
  // The plan of work, which must fit; logits that are kept from before count too.
  MemoryPlan admit(const char* what, const Workload& work) const {
    MemoryPlan plan = Memory::plan(dev_, options_, work);
    add_weights(plan, loaded_.weights, work);
    plan.logits = std::max(plan.logits, logits_memory_.bytes());
    check_fits(plan, options_.services.memory_limit, what);
    return plan;
  }

  KvRows& at(SequenceId id) {
    const auto it = sequences_.find(id);
    if (it == sequences_.end())
      throw Error(ErrorKind::kArgument, "no sequence " + std::to_string(id) + " in this session");
    return it->second;
  }
  const KvRows& at(SequenceId id) const { return const_cast<Session*>(this)->at(id); }

  void check_requests(std::span<const Request> requests) const {
    std::size_t with = 0, media = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      check_media(requests[i], i, M::kConfig.video.block.frames);
      for (const MediumInput& m : requests[i].media) {
        ++media;
        with += !m.points.empty();
        const bool image = m.kind == text::Medium::kImage;
        const TowerConfig& t = image ? M::kConfig.image : M::kConfig.video;
        if (t.layers == 0 || !(image ? loaded_.image_tower : loaded_.video_tower))
          throw Error(ErrorKind::kArgument, std::string("the model has no tower for ") + (image ? "images" : "videos"));
        check_equal(Index(t.block.frames) * 3 * t.side * t.side, Index(m.pixels.size()),
                    "request " + std::to_string(i) + ": numbers of a preprocessed " + (image ? "image" : "video"));
      }
    }
    if (with != 0 && with != media)
      throw Error(ErrorKind::kArgument, "landmarks for part of a batch: " + std::to_string(with) + " of " +
                                            std::to_string(media) + " media have them; give them for all or for none");
    if (with != 0 && loaded_.landmarks == LandmarkModules::kMissing)
      throw Error(ErrorKind::kArgument, "landmarks are given, but the model was loaded without its landmark modules");
  }
  void check_length(const Pending& p, const std::string& who) const {
    check_at_most(options_.positions, Index(p.keys.length()) + Index(p.ids.size()),
                  who + ": tokens against the context of the model");
  }
  static void check_token(int id, const std::string& who) {
    if (id < 0 || id >= M::kConfig.llama.vocab)
      throw Error(ErrorKind::kArgument, who + ": expected a token id below " + std::to_string(M::kConfig.llama.vocab) +
                                            ", found " + std::to_string(id));
  }

  // Slots become the rows of their pictures.
  Pending expand(const Request& r, std::size_t number, Index& visual) const {
    const std::string who = "request " + std::to_string(number);
    Pending p;
    std::vector<int> frames;  // rows of each slot
    for (const MediumInput& m : r.media) {
      const bool image = m.kind == text::Medium::kImage;
      const TowerConfig& t = image ? M::kConfig.image : M::kConfig.video;
      frames.insert(frames.end(), std::size_t(t.block.frames), t.features());
    }
    std::size_t slot = 0;
    for (int id : r.ids) {
      if (id != text::kMediaSlot) {
        check_token(id, who);
        p.ids.push_back(id);
        p.visual.push_back(-1);
        continue;
      }
      for (int i = 0; i < frames[slot]; ++i) {
        p.ids.push_back(-1);
        p.visual.push_back(int(visual++));
      }
      ++slot;
    }
    check_length(p, who);
    return p;
  }

  // ---- pictures

  void look(const MediumInput& m, auto visual, std::size_t request, Observer* observer) {
    if constexpr (M::kImage)
      if (m.kind == text::Medium::kImage)
        see<M::kConfig.image>(m, visual, request, observer, params_.image_tower, "image tower");
    if constexpr (M::kVideo)
      if (m.kind == text::Medium::kVideo)
        see<M::kConfig.video>(m, visual, request, observer, params_.video_tower, "video tower");
  }

  template <TowerConfig T>
  void see(const MediumInput& m, auto visual, std::size_t request, Observer* observer, const auto& tower,
           const char* name) {
    using Path = typename M::template Vision<T>;
    constexpr Index frames = T.block.frames;
    typename Memory::template Look<T> c;
    workspace_.carve([&](Arena& a) { Memory::template carve_look<T>(a, c); });
    const TowerRows layout(T, 1);
    staging_.clear();
    const View<const float, Host, kDyn, 3 * T.side * T.side> pixels(m.pixels.data(), frames);
    Path::encode(dev_, c, staging_.in(pixels), params_, tower, in(staging_, layout.layout()),
                 [&](int k, auto x) { check_finite(x, name, k); });
    report(observer, request, "pixels", {frames, 3, T.side, T.side}, m.pixels.data());
    report(observer, request, "vision_features", {frames, T.features(), T.block.dim}, c.features);
    report(observer, request, "projected", {frames, T.features(), kDim}, c.projected);
    bool fused = false;
    if constexpr (M::kLandmarks)
      if (!m.points.empty()) {
        const View<const float, Host, kDyn, 2 * kPoints> points(m.points.data(), frames);
        Path::fuse(dev_, visual, c, staging_.in(points), params_);
        report(observer, request, "landmarks", {frames, 2 * kPoints}, m.points.data());
        report(observer, request, "region_tokens", {frames, kRegionCount, kDim}, c.regions);
        report_attention(observer, request, c.fusion, frames, T.features());
        fused = true;
      }
    if (!fused) copy(dev_, visual, c.projected);
    check_finite(visual, "visual tokens", 0);
    report(observer, request, "visual_tokens", {frames, T.features(), kDim}, visual);
  }

  // The weights over regions, [frames, heads, tokens, 9], of a fusion that keeps them where those of this library do.
  void report_attention(Observer* observer, std::size_t request, const auto& fusion, Index frames, Index tokens) {
    if constexpr (requires { fusion.attention.p; }) {
      if (!observer || !observer->wants_values()) return;
      const auto p = staging_.out(fusion.attention.p);
      const Index heads = p.size(1);
      std::vector<float> by_head(std::size_t(p.count()));
      for (Index f = 0, i = 0; f < frames; ++f)
        for (Index h = 0; h < heads; ++h)
          for (Index t = 0; t < tokens; ++t)
            for (Index g = 0; g < kRegionCount; ++g) by_head[std::size_t(i++)] = p(f * tokens + t, h, g);
      report(observer, request, "region_attention", {frames, heads, tokens, kRegionCount}, by_head.data());
    }
  }

  static void report(Observer* o, std::size_t request, const char* name, const std::vector<Index>& shape,
                     const float* v) {
    if (o && o->wants_values()) o->see(request, name, shape, v);
  }
  template <class T, Index... N>
  void report(Observer* o, std::size_t request, const char* name, const std::vector<Index>& shape,
              View<T, typename Device::Space, N...> v) {
    if (o && o->wants_values()) o->see(request, name, shape, staging_.out(v).data);
  }

  // ---- the decoder

  Ends take_logits(std::size_t sequences) {
    Ends out(nullptr, 0);
    logits_ = out;
    logits_memory_.carve([&](Arena& a) { a.take(out, Index(sequences)); });
    return out;
  }

  // Sends all rows through the decoder, chunk by chunk; the logits of each Pending's last row go to its row of `ends`,
  // where that has any.
  void run(std::vector<Pending>& pending, auto visual, Observer* observer, Ends ends) {
    std::vector<int> lengths;
    for (const Pending& p : pending) lengths.push_back(int(p.ids.size()));
    Chunks chunks(std::move(lengths), options_.chunk);
    for (auto segments = chunks.next(); !segments.empty(); segments = chunks.next())
      step(pending, segments, visual, observer, ends);
  }

  void step(std::vector<Pending>& pending, const std::vector<Segment>& segments, auto visual, Observer* observer,
            Ends out) {
    const Index n = segments.back().first_row + segments.back().rows;
    std::vector<int> ids, splice, positions, slots, last, owners;
    std::vector<Sequence> sequences;
    std::vector<KvRange> ranges;
    for (const Segment& s : segments) {
      Pending& p = pending[s.owner];
      const int before = p.keys.length();
      for (int i = 0; i < s.rows; ++i) {
        ids.push_back(p.ids[std::size_t(s.skip + i)]);
        splice.push_back(p.visual[std::size_t(s.skip + i)]);
        positions.push_back(before + i);
        slots.push_back(p.keys.push());
      }
      const int first = int(ranges.size());
      p.keys.ranges(before + s.rows, ranges);
      sequences.push_back({s.first_row, s.rows, first, int(ranges.size()) - first});
      if (s.ends) {
        last.push_back(s.first_row + s.rows - 1);
        owners.push_back(int(s.owner));
      }
    }
    const bool every_row = (observer && observer->wants_logits()) || !pending[segments.front().owner].targets.empty();
    typename Memory::Step m;
    workspace_.carve([&](Arena& a) {
      Memory::Step::carve(a, m, n, Index(last.size()), every_row ? LogitRows::kAll : LogitRows::kLast);
    });
    auto& c = m.cache;
    staging_.clear();
    const auto layout = in(staging_, Layout<Host>{view(sequences), view(ranges), view(positions), view(slots)});
    embed(dev_, c.x, staging_.in(view(ids)), params_.llama.embed_tokens);
    if (visual.rows() > 0) gather_rows(dev_, c.x, visual, staging_.in(view(splice)));
    for (const Segment& s : segments)
      report(observer, s.owner, "inputs_embeds", {s.rows, kDim}, rows(c.x, s.first_row, s.rows));
    Text::forward(dev_, m.hidden, c, lasting_.slabs, lasting_.table, params_.llama, layout,
                  [&](int k, auto x) { check_finite(x, "decoder", k); });
    check_finite(m.hidden, "decoder, final norm", M::kConfig.llama.layers);
    if (out.rows() > 0) {
      gather_rows(dev_, m.ends, m.hidden, staging_.in(view(last)));
      Text::logits(dev_, m.end_logits, m.ends, params_.llama);
      const auto said = staging_.out(m.end_logits);
      check_finite(said, "logits", M::kConfig.llama.layers);
      for (std::size_t i = 0; i < owners.size(); ++i)
        std::copy_n(said.row(Index(i)), M::kConfig.llama.vocab, out.row(owners[i]));
    }
    if (every_row) Text::logits(dev_, m.all, m.hidden, params_.llama);
    for (const Segment& s : segments) {
      report(observer, s.owner, "hidden_final", {s.rows, kDim}, rows(m.hidden, s.first_row, s.rows));
      if (every_row)
        report(observer, s.owner, "logits", {s.rows, M::kConfig.llama.vocab}, rows(m.all, s.first_row, s.rows));
      score(pending[s.owner], s, m);
    }
  }

  void score(Pending& p, const Segment& s, const typename Memory::Step& m) {
    if (p.targets.empty()) return;
    const auto targets = std::span(p.targets).subspan(std::size_t(s.skip), std::size_t(s.rows));
    const auto scores = scores_of(rows(m.scores, s.first_row, s.rows), rows(m.all, s.first_row, s.rows), targets);
    p.scores.insert(p.scores.end(), scores.begin(), scores.end());
  }
  // The log-probability of each row's target.
  std::vector<float> scores_of(auto scores, auto logits, std::span<const int> targets) {
    log_prob(dev_, scores, logits, staging_.in(View<const int, Host, kDyn>(targets.data(), Index(targets.size()))));
    const auto out = staging_.out(scores);
    check_finite(View<const float, Host, kDyn, kDyn>(out.data, 1, out.rows()), "scores", M::kConfig.llama.layers);
    return {out.data, out.data + out.rows()};
  }

  template <class T>
  static View<const T, Host, kDyn> view(const std::vector<T>& v) {
    return View<const T, Host, kDyn>(v.data(), Index(v.size()));
  }

  // k: after how many layers. Rows in a device's own memory are not looked at: what comes of them
  // is, in logits and scores.
  template <class T, class Space, Index... N>
  void check_finite(View<T, Space, N...> x, const char* part, int k) const {
    if constexpr (std::is_same_v<Space, Host>) check_rows(x, part, k);
  }
  void check_rows(auto x, const char* part, int k) const {
    const Index row = first_row_not_finite(x);
    if (row < 0) return;
    const std::string what = std::string("a value that is not finite: ") + part + ", after " + std::to_string(k) +
                             " layers, row " + std::to_string(row) + culprit(loaded_.leaves);
    options_.services.tell(LogLevel::kWarning, what);
    throw Error(ErrorKind::kNonFinite, what);
  }

  Device dev_;
  Staging<Device> staging_;
  const Params& params_;
  LoadedParts loaded_;
  SessionOptions options_;
  KvAllocator free_;
  std::map<SequenceId, KvRows> sequences_;
  SequenceId next_id_ = 0;
  Workspace memory_, workspace_, logits_memory_;  // the last: the program's
  typename Memory::Lasting lasting_;
  Ends logits_{nullptr, 0};  // none after an error
};

}  // namespace facellava::run

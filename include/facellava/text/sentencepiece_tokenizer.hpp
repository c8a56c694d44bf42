// SentencePiece BPE tokenizer, equal to Hugging Face's slow LlamaTokenizer (transformers 4.31).
//
// Text is split at `<s>`, `</s>`, `<unk>`; each segment is normalised (dummy prefix, spaces to U+2581), split into
// characters and merged. Characters without a piece become byte pieces, or one unknown piece a run if the model has no
// byte fallback. Legacy decides about segments after a special piece: see Legacy.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/io/mapped_file.hpp"
#include "facellava/text/byte_pair.hpp"
#include "facellava/text/detokenizer.hpp"
#include "facellava/text/normalizer.hpp"
#include "facellava/text/sentencepiece_model.hpp"
#include "facellava/text/tokenizer_options.hpp"
#include "facellava/text/vocabulary.hpp"

namespace facellava::text {

// Immutable after construction: any number of threads may use one at once.
class SentencePieceTokenizer {
 public:
  // Error kFile if it cannot be read, kFormat if it is no SentencePiece BPE model, kCapacity if it is too large.
  static SentencePieceTokenizer from_file(const std::string& tokenizer_model, Legacy legacy) {
    const io::MappedFile file(tokenizer_model, io::Load::kCopy, SentencePieceModel::kMostBytes);
    return from_bytes(file.bytes(), tokenizer_model, legacy);
  }

  // Copies what it needs. origin: the name that errors give.
  static SentencePieceTokenizer from_bytes(std::span<const std::byte> bytes, std::string_view origin, Legacy legacy) {
    return {parse_sentencepiece(bytes, origin), origin, legacy};
  }

  // Copies what it needs. Error kFormat for special pieces that are not there.
  SentencePieceTokenizer(const SentencePieceModel& model, std::string_view origin, Legacy legacy)
      : vocabulary_(model.pieces, origin),
        normalizer_(model, origin),
        leading_(leading_space(model)),
        legacy_(legacy),
        bytes_(model.byte_fallback),
        bos_(vocabulary_.find(model.bos_piece)),
        eos_(vocabulary_.find(model.eos_piece)) {
    const auto check = [&](bool fine, std::string_view what) {
      if (!fine) throw Error(ErrorKind::kFormat, std::string(origin) + ": " + std::string(what));
    };
    check(bos_ >= 0 && vocabulary_.type(bos_) == PieceType::kControl, "expected a control piece that begins texts");
    check(eos_ >= 0 && vocabulary_.type(eos_) == PieceType::kControl, "expected a control piece that ends texts");
    check(bytes_ == vocabulary_.has_bytes(), "expected byte pieces exactly if the flag byte_fallback is set");
    for (const int id : {bos_, eos_, unk()}) special_begins_ += vocabulary_.text(id).front();
  }

  // Ids of the text, which may be any bytes. Error kCapacity if it is too long to be indexed.
  std::vector<int> encode(std::string_view text, Bos bos) const {
    std::vector<int> ids;
    if (bos == Bos::kYes) ids.push_back(bos_);
    std::string spaced;
    if (legacy_ == Legacy::kNo && text.find(kSpaceMark) != std::string_view::npos) {
      spaced = with_spaces(text);
      text = spaced;
    }
    BytePairMerger merger(vocabulary_);
    Follows follows = Follows::kStart;
    while (true) {
      const auto [at, special] = find_special(text);
      encode_segment(text.substr(0, at), follows, merger, ids);
      if (special < 0) return ids;
      ids.push_back(special);
      text.remove_prefix(at + vocabulary_.text(special).size());
      follows = Follows::kSpecial;
    }
  }

  // Text of the ids. Each run between special pieces is decoded for itself, and a space stands before a run that a
  // special piece ends; kSkip removes the special pieces first. Error kShape for an id outside the vocabulary.
  std::string decode(std::span<const int> ids, Specials specials) const {
    std::string text;
    Detokenizer run(leading_);
    for (std::size_t i = 0, begin = 0; i <= ids.size(); ++i) {
      if (i < ids.size() && !is_special(ids[i])) continue;
      const bool ended_by_special = i < ids.size() && specials == Specials::kKeep;
      if (ended_by_special && i > begin) text += ' ';
      for (; begin < i; ++begin) run.push(vocabulary_, ids[begin], text);
      begin = i + 1;
      if (i == ids.size() || ended_by_special) run.finish(text);
      if (ended_by_special) text += vocabulary_.text(ids[i]);
    }
    return text;
  }

  int bos() const { return bos_; }
  int eos() const { return eos_; }
  int unk() const { return vocabulary_.unknown(); }
  int size() const { return vocabulary_.size(); }

  // Whether the id is bos, eos or unk. Error kShape for an id outside the vocabulary.
  bool is_special(int id) const {
    check_index(id, size(), "token id");
    return id == bos_ || id == eos_ || id == unk();
  }

  // The text of a piece as the model has it, with space marks. Error kShape for an id outside the vocabulary.
  std::string_view piece(int id) const {
    check_index(id, size(), "token id");
    return vocabulary_.text(id);
  }

  const Vocabulary& vocabulary() const { return vocabulary_; }
  LeadingSpace leading() const { return leading_; }

 private:
  enum class Follows { kStart, kSpecial };
  struct Found {
    std::size_t at;
    int special;  // -1: none, `at` is the end of the text
  };

  static std::string with_spaces(std::string_view text) {
    std::string out;
    for (std::size_t mark; (mark = text.find(kSpaceMark)) != std::string_view::npos;) {
      out.append(text.substr(0, mark)).append(1, ' ');
      text.remove_prefix(mark + kSpaceMark.size());
    }
    return out.append(text);
  }

  // The first special piece in the text; of several that begin at one place the longest.
  Found find_special(std::string_view text) const {
    for (std::size_t at = 0; (at = text.find_first_of(special_begins_, at)) != std::string_view::npos; ++at) {
      Found found{at, -1};
      std::size_t longest = 0;
      for (const int id : {bos_, eos_, unk()}) {
        const std::string_view special = vocabulary_.text(id);
        if (special.size() > longest && text.substr(at).starts_with(special)) {
          longest = special.size();
          found.special = id;
        }
      }
      if (found.special >= 0) return found;
    }
    return {text.size(), -1};
  }

  void encode_segment(std::string_view segment, Follows follows, BytePairMerger& merger, std::vector<int>& ids) const {
    const std::string normal = normalizer_.normalize(segment, vocabulary_);
    bool drop_mark = legacy_ == Legacy::kNo && follows == Follows::kSpecial && !segment.starts_with(' ');
    bool after_unknown = false;
    const auto write = [&](std::string_view text, int id) {
      const bool unmarked = drop_mark && text.starts_with(kSpaceMark) && !(id < 0 && bytes_);
      drop_mark = false;
      if (unmarked) {
        text.remove_prefix(kSpaceMark.size());
        if (text.empty()) return;
        id = vocabulary_.find(text);
      }
      const bool unknown = id < 0 || id == unk();
      if (!unknown) {
        ids.push_back(id);
      } else if (bytes_ && !unmarked) {
        for (const char c : text) ids.push_back(vocabulary_.byte_id(std::uint8_t(c)));
      } else if (!after_unknown) {
        ids.push_back(unk());
      }
      after_unknown = unknown && !unmarked;
    };
    for (std::string_view rest = normal; !rest.empty();) {
      const std::size_t word = vocabulary_.joins_words() ? rest.size() : first_word(rest);
      merger.run(rest.substr(0, word), write);
      rest.remove_prefix(word);
    }
  }

  // Bytes up to the first space mark that follows something else: no piece goes over that place.
  static std::size_t first_word(std::string_view text) {
    std::size_t at = 0;
    while (text.substr(at).starts_with(kSpaceMark)) at += kSpaceMark.size();
    return std::min(text.find(kSpaceMark, at), text.size());
  }

  Vocabulary vocabulary_;
  Normalizer normalizer_;
  LeadingSpace leading_;
  Legacy legacy_;
  bool bytes_;
  int bos_, eos_;
  std::string special_begins_;
};

}  // namespace facellava::text

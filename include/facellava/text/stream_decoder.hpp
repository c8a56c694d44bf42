// Text of ids while they are generated. All pieces that push and finish return, joined, are exactly
// decode(ids, Specials::kSkip); each is whole UTF-8 characters. Work per id does not grow with the text.
#pragma once
#include <string>

#include "facellava/text/detokenizer.hpp"
#include "facellava/text/tokenizer.hpp"

namespace facellava::text {

// The tokenizer must live as long as this does.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer), run_(tokenizer.detokenizer()) {}

  // The text that this id makes certain, often none. Error kShape for an id outside the vocabulary: nothing changes.
  std::string push(int id) {
    std::string text;
    if (!tokenizer_->is_special(id)) tokenizer_->push(run_, id, text);
    return text;
  }

  // What was held back; the next push begins a new text.
  std::string finish() {
    std::string text;
    run_.finish(text);
    return text;
  }

 private:
  const Tokenizer* tokenizer_;
  Detokenizer run_;
};

}  // namespace facellava::text

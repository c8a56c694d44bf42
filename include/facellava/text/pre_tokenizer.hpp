// Splits text into the words that byte-level BPE merges in, by hand instead of by the regular expressions of the
// models:
//   gpt-2      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   smollm     the same between numbers, of which each character is a word
//   llama-bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|
//              \s+(?!\S)|\s+
// A byte that is no UTF-8 counts as a character that is neither letter, number nor space.
// Sources: the tokenizers of GPT-2, SmolLM2 and Llama 3; names as in GGUF's tokenizer.ggml.pre.
#pragma once
#include <string>
#include <string_view>

#include "facellava/core/error.hpp"
#include "facellava/text/unicode_classes.hpp"
#include "facellava/text/utf8.hpp"

namespace facellava::text {

enum class PreTokenizer { kGpt2, kSmolLm, kLlamaBpe };

// origin: the name that errors give. Error kFormat for any other name.
inline PreTokenizer pre_tokenizer_from_name(std::string_view name, std::string_view origin) {
  if (name == "gpt-2") return PreTokenizer::kGpt2;
  if (name == "smollm") return PreTokenizer::kSmolLm;
  if (name == "llama-bpe") return PreTokenizer::kLlamaBpe;
  throw Error(ErrorKind::kFormat, std::string(origin) +
                                      ": pre-tokeniser: expected gpt-2, smollm or llama-bpe, found \"" +
                                      std::string(name) + "\"");
}

// The words of a text, one after another; together they are the text.
class WordSplitter {
 public:
  WordSplitter(PreTokenizer kind, std::string_view text) : kind_(kind), text_(text) {}

  // The next word, empty at the end.
  std::string_view next() {
    if (text_.empty()) return {};
    const std::size_t bytes = kind_ == PreTokenizer::kLlamaBpe ? llama_word() : gpt2_word();
    const std::string_view word = text_.substr(0, bytes);
    text_.remove_prefix(bytes);
    return word;
  }

 private:
  enum class Class { kEnd, kSpace, kLetter, kNumber, kOther };
  struct Char {
    Class is;
    std::size_t bytes;
    bool breaks_line;  // \r or \n
  };

  Char at(std::size_t begin) const {
    if (begin >= text_.size()) return {Class::kEnd, 0, false};
    const Utf8Char c = first_char(text_.substr(begin));
    if (c.state != Utf8::kValid) return {Class::kOther, 1, false};
    const char32_t code = code_point(text_.substr(begin, c.bytes));
    const Class is = is_letter(code)   ? Class::kLetter
                     : is_number(code) ? Class::kNumber
                     : is_space(code)  ? Class::kSpace
                                       : Class::kOther;
    // A number ends what smollm splits further.
    if (is == Class::kNumber && kind_ == PreTokenizer::kSmolLm && begin > 0) return {Class::kEnd, 0, false};
    return {is, c.bytes, code == '\r' || code == '\n'};
  }

  // Where a run of the class that begins at `begin` ends; at most `most` characters.
  std::size_t run(std::size_t begin, Class is, std::size_t most = std::string_view::npos) const {
    for (; most > 0; --most) {
      const Char c = at(begin);
      if (c.is != is) break;
      begin += c.bytes;
    }
    return begin;
  }

  // Bytes of an English contraction that begins the text, else 0.
  std::size_t contraction(bool any_case) const {
    if (text_[0] != '\'' || text_.size() < 2) return 0;
    const auto letter = [&](std::size_t i) {
      if (i >= text_.size()) return '\0';
      return any_case && text_[i] >= 'A' && text_[i] <= 'Z' ? char(text_[i] | 0x20) : text_[i];
    };
    const char first = letter(1), second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const bool two =
        (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
    return two ? 3 : 0;
  }

  // White space up to its end, without its last character where a word follows: that one may belong to the word.
  std::size_t spaces() const {
    std::size_t end = 0, last = 0;
    for (Char c = at(0); c.is == Class::kSpace; c = at(end)) {
      last = end;
      end += c.bytes;
    }
    return last == 0 || at(end).is == Class::kEnd ? end : last;
  }

  std::size_t gpt2_word() const {
    if (const std::size_t bytes = contraction(false)) return bytes;
    const Char first = at(0);
    if (first.is == Class::kNumber && kind_ == PreTokenizer::kSmolLm) return first.bytes;
    const std::size_t begin = text_[0] == ' ' ? 1 : 0;
    const Class is = at(begin).is;
    return is == Class::kSpace || is == Class::kEnd ? spaces() : run(begin, is);
  }

  std::size_t llama_word() const {
    if (const std::size_t bytes = contraction(true)) return bytes;
    const Char first = at(0);
    if (first.is == Class::kLetter) return run(0, Class::kLetter);
    if (first.is != Class::kNumber && !first.breaks_line && at(first.bytes).is == Class::kLetter)
      return run(first.bytes, Class::kLetter);
    if (first.is == Class::kNumber) return run(0, Class::kNumber, 3);
    const std::size_t begin = text_[0] == ' ' ? 1 : 0;
    if (at(begin).is == Class::kOther) {
      std::size_t end = run(begin, Class::kOther);
      while (at(end).breaks_line) end += 1;
      return end;
    }
    std::size_t end = 0, lines = 0;  // of the white space; behind its last line break
    for (Char c = at(0); c.is == Class::kSpace; c = at(end)) {
      end += c.bytes;
      if (c.breaks_line) lines = end;
    }
    return lines > 0 ? lines : spaces();
  }

  PreTokenizer kind_;
  std::string_view text_;
};

}  // namespace facellava::text

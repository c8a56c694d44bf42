// Prompts to ids with a slot for each picture or frame: the splice puts visual tokens there.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "facellava/text/prompt.hpp"
#include "facellava/text/tokenizer.hpp"

namespace facellava::text {

inline constexpr int kMediaSlot = -200;  // in ids: here stand the tokens of the next picture or frame

enum class BosPlacement {
  kStart,       // BOS, then text and slots as the prompt has them (the released models)
  kAfterMedia,  // all slots, BOS, the whole text (small models of this library)
};

// Ids of a prompt; every `<image>` becomes one kMediaSlot. With kStart the texts between are tokenised each for itself,
// with kAfterMedia as one. bos: whether there is one at all.
inline std::vector<int> encode_prompt(const Tokenizer& tokenizer, std::string_view prompt,
                                      BosPlacement placement = BosPlacement::kStart, Bos bos = Bos::kYes) {
  std::vector<int> ids;
  const auto append = [&](std::string_view text) {
    const std::vector<int> more = tokenizer.encode(text, bos);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (placement == BosPlacement::kAfterMedia) {
    ids.assign(std::size_t(detail::count(prompt, kImageTag)), kMediaSlot);
    append(detail::replace_all(prompt, kImageTag, ""));
    return ids;
  }
  for (std::size_t tag; (tag = prompt.find(kImageTag)) != std::string_view::npos; bos = Bos::kNo) {
    append(prompt.substr(0, tag));
    ids.push_back(kMediaSlot);
    prompt.remove_prefix(tag + kImageTag.size());
  }
  append(prompt);
  return ids;
}

}  // namespace facellava::text

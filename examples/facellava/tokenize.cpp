// facellava tokenize: text or a prompt to ids, and back.
#include <iostream>

#include "facellava/text/load_tokenizer.hpp"
#include "facellava/text/media_tokens.hpp"
#include "options.hpp"

namespace tool {

void add_tokenize(CLI::App& app) {
  struct TokenizeOptions {
    std::string folder, tokenizer, text;
    std::vector<int> ids;
    bool json = false, no_bos = false;
  };
  auto o = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids (a slot for each <image>), or --ids to text");
  command->add_option("--model", o->folder,
                      "Model folder with tokenizer.model and tokenizer_config.json, or a .gguf file");
  command->add_option("--tokenizer", o->tokenizer, "tokenizer.model alone (legacy behaviour, as without a config)");
  auto* text = command->add_option("--text", o->text, "Text; <image> becomes -200");
  auto* ids = command->add_option("--ids", o->ids, "Ids to decode")->excludes(text);
  text->excludes(ids);
  command->add_flag("--no-bos", o->no_bos, "Without the begin-of-sequence token");
  command->add_flag("--json", o->json, "Print JSON");
  command->callback([o, ids] {
    namespace text = facellava::text;
    if (o->folder.empty() == o->tokenizer.empty())
      throw Error(ErrorKind::kArgument, "tokenize: give --model or --tokenizer");
    const auto tokenizer = o->tokenizer.empty() ? text::load_tokenizer(o->folder)
                                                : text::Tokenizer::from_file(o->tokenizer, text::Legacy::kYes);
    if (ids->count() > 0) {
      const std::string words = tokenizer.decode(o->ids, text::Specials::kKeep);
      std::cout << (o->json ? nlohmann::json{{"text", words}}.dump(1) : words) << "\n";
      return;
    }
    auto found = text::encode_prompt(tokenizer, o->text, text::BosPlacement::kStart,
                                     o->no_bos ? text::Bos::kNo : text::Bos::kYes);
    nlohmann::json pieces = nlohmann::json::array();
    for (int id : found) pieces.push_back(id == text::kMediaSlot ? "<image>" : std::string(tokenizer.piece(id)));
    if (o->json) {
      std::cout << nlohmann::json{{"ids", found}, {"pieces", pieces}}.dump(1) << "\n";
      return;
    }
    for (std::size_t i = 0; i < found.size(); ++i) std::cout << found[i] << (i + 1 < found.size() ? " " : "\n");
  });
}

}  // namespace tool

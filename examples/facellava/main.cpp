// facellava: the command-line tool.
#include <iostream>

#include "options.hpp"

int main(int argc, char** argv) {
  CLI::App app{"facellava: asks a face model questions about pictures and videos"};
  app.require_subcommand(1);
  tool::add_ask(app);
  tool::add_score(app);
  tool::add_tokenize(app);
  tool::add_inspect(app);
  tool::add_config(app);
  tool::add_preprocess(app);
  tool::add_diff(app);
  tool::add_convert(app);
  tool::add_random(app);
  tool::add_perplexity(app);
  tool::add_plan(app);
  tool::add_faces(app);
  tool::add_data(app);
  tool::add_train(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  } catch (const std::exception& e) {
    std::cerr << "facellava: " << e.what() << "\n";
    return 1;
  }
}

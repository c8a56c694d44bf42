// What is said to any tokenizer.
#pragma once

namespace facellava::text {

// `legacy` of tokenizer_config.json. kNo: a segment that follows a special piece and does not begin with a space loses
// the space mark of its first piece, without being merged anew; a rest that is no piece becomes unknown.
enum class Legacy { kNo, kYes };
enum class Bos { kNo, kYes };  // kYes: as the model's texts begin, which may be without one
enum class Specials { kKeep, kSkip };

}  // namespace facellava::text

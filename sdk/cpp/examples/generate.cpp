// Answers the prompt, and prints the answer as it comes.
//   driftwood run --prompt "Name three things that float." generate.wasm
#include <stdlib.h>

#include "driftwood.hpp"

int main()
{
    const char *prompt = getenv("DRIFTWOOD_PROMPT");
    const char *tokens_max = getenv("DRIFTWOOD_MAX_TOKENS");
    dw::Model model = dw::Model::open().must("model");
    dw::Chat chat(model);
    chat.add("user", prompt != nullptr ? prompt : "Name three things that float.").must("prompt");
    chat.answer(tokens_max != nullptr ? strtoul(tokens_max, nullptr, 10) : 64, dw::print)
        .must("answer");
    dw::print("\n");
}

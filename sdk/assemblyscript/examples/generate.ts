// Answers the prompt, and prints the answer as it comes.
//   driftwood run --prompt "Name three things that float." ./generate.wasm
import { Chat, Model, print, setting } from "driftwood";

const prompt = setting("DRIFTWOOD_PROMPT", "Name three things that float.");
const tokensMax = parseInt(setting("DRIFTWOOD_MAX_TOKENS", "64"));
const chat = new Chat(Model.open().must("model"));
chat.add("user", prompt);
chat.answer(<i32>tokensMax).must("answer");
print("\n");

// Answers the prompt, and prints the answer as it comes.
//   driftwood run --prompt "Name three things that float." ./generate.wasm
import { Chat, Model, env, print } from "driftwood";

const model = new Model();
const chat = new Chat(model);
chat.add("user", env("DRIFTWOOD_PROMPT") ?? "Name three things that float.");
chat.answer(Number(env("DRIFTWOOD_MAX_TOKENS") ?? 64));
print("\n");

# Answers the prompt, and prints the answer as it comes.
#   driftwood run --prompt "Name three things that float." ./generate.wasm
from driftwood import Chat, Model, env

model = Model()
chat = Chat(model)
chat.add("user", env("DRIFTWOOD_PROMPT", "Name three things that float."))
chat.answer(int(env("DRIFTWOOD_MAX_TOKENS", "64")))
print()

// An actor: a chat that keeps its context between messages.
//   driftwood actor spawn --state state --guest ./actor.wasm > id
//   driftwood actor send --state state $(cat id) "Name a sea."
import { Chat, Model, input, print } from "driftwood";

// Made for the first message, saved with the actor's memory behind each.
let chat: Chat | null = null;

export function driftwood_receive(): i32 {
  const message = input().must("message");
  if (chat == null) chat = new Chat(Model.open().must("model"));
  chat!.add("user", message);
  const answer = chat!.answer(24);
  print("\n");
  const failure = answer.failure;
  return failure != null ? failure.code : 0;
}

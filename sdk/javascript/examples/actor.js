// An actor: a chat that keeps its context between messages.
//   driftwood actor spawn --state state --guest ./actor.wasm > id
//   driftwood actor send --state state $(cat id) "Name a sea."
import { Chat, Model, print } from "driftwood";

// Made for the first message, saved with the actor's memory behind each.
const chat = new Chat(new Model());

export function receive(message) {
  chat.add("user", message);
  chat.answer(24);
  print("\n");
}

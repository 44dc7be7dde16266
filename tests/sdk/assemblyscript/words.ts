// An actor in which something goes wrong.
import { actor, callBytes, inputBytes } from "driftwood";

export function driftwood_receive(): i32 {
  const bytes = inputBytes().must("input");
  const message = String.UTF8.decode(bytes.buffer);
  if (message == "fail") throw new Error("no tide today");
  if (bytes[0] == 0x3d) {
    actor.replyBytes(callBytes("echo", bytes.subarray(1)).must("echo"));
    return 0;
  }
  actor.reply("well");
  return 0;
}

// An actor in which something goes wrong.
import { actor, input } from "driftwood";

export function driftwood_receive(): i32 {
  if (input().must("input") == "fail") throw new Error("no tide today");
  actor.reply("well");
  return 0;
}

// An actor in which something goes wrong.
import { callBytes } from "driftwood";

function sail(message) {
  if (message === "fail") throw new Error("no tide today");
  return "well";
}

export async function receive(message, bytes) {
  if (bytes[0] === 0x3d) return callBytes("echo", bytes.subarray(1));
  return sail(message);
}

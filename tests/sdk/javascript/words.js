// An actor in which something goes wrong.
function sail(message) {
  if (message === "fail") throw new Error("no tide today");
  return "well";
}

export async function receive(message) {
  return sail(message);
}

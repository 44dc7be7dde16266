/* Requests to the server that this page came from, with the key that it may ask for. */

const KEY = "driftwood.key";

export class Failure extends Error {
  constructor(status, message, parameter) {
    super(message);
    this.status = status;
    this.parameter = parameter;
  }
}

let asking = null; /* one dialog, whoever wants the key */

function askForKey() {
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key");
  asking ??= new Promise((resolve) => {
    field.value = "";
    dialog.addEventListener("close", () => {
      asking = null;
      const given = dialog.returnValue === "ok" && field.value !== "";
      if (given) sessionStorage.setItem(KEY, field.value);
      resolve(given);
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}

async function failureOf(response) {
  const text = await response.text().catch(() => "");
  try {
    const said = JSON.parse(text).error;
    return new Failure(response.status, said.message ?? String(said), said.param);
  } catch {
    return new Failure(response.status, text.slice(0, 400) || response.statusText);
  }
}

/* A Response that is good; a Failure is thrown otherwise. `quiet`: no dialog for a missing key. */
export async function request(method, path, { body, json, signal, headers = {}, quiet } = {}) {
  for (;;) {
    const all = { ...headers };
    const key = sessionStorage.getItem(KEY);
    if (key !== null) all.Authorization = `Bearer ${key}`;
    if (json !== undefined) all["Content-Type"] = "application/json";
    const sent = json !== undefined ? JSON.stringify(json) : body;
    let response;
    try {
      response = await fetch(path, { method, body: sent, headers: all, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure(0, "the server does not answer");
    }
    if (response.ok) return response;
    if (response.status !== 401 || quiet) throw await failureOf(response);
    if (!await askForKey()) throw new Failure(401, "there is no key for this server");
  }
}

export async function get(path, options) {
  return (await request("GET", path, options)).json();
}

export async function post(path, json, options = {}) {
  return (await request("POST", path, { ...options, json: json ?? {} })).json();
}

/* The server-sent events of a response: {event, data}. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += value ?? "";
      const parts = rest.split(/\r?\n\r?\n/);
      rest = done ? "" : parts.pop();
      for (const part of parts) {
        let event = "message";
        const data = [];
        for (const line of part.split(/\r?\n/)) {
          if (line.startsWith("event:")) event = line.slice(6).trim();
          if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        }
        if (data.length > 0) yield { event, data: data.join("\n") };
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

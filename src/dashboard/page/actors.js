/* Actors: a tree by who was made or forked from whom, what each holds, and what can be done with it. */

import { events, get, post, request } from "./api.js";
import { ask, attempt, byId, bytes, count, dangerous, make, note, seconds } from "./dom.js";

const INTERVAL_MS = 1500;
const PAGE = 500;
let all = new Map(); /* id -> actor */
let chosen = null;
let timer = null;
let wanted = PAGE; /* actors that are shown at most */
let more = false; /* there are others */
const closed = new Set(); /* branches of the tree that are not shown */

const path = (id, more = "") => `/v1/actors/${encodeURIComponent(id)}${more}`;

/* ---- the tree ------------------------------------------------------------------------------- */

function matches(actor, words) {
  const text = [actor.id, actor.name, actor.tenant, actor.state].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

/* The actors as they stand below each other: [{actor, depth, has_children}]. */
function lines() {
  const words = byId("actors-find").value.toLowerCase().split(/\s+/).filter((word) => word !== "");
  if (words.length > 0) {
    return [...all.values()].filter((actor) => matches(actor, words)).map((actor) => ({ actor, depth: 0, has_children: false }));
  }
  const children = new Map();
  for (const actor of all.values()) {
    const parent = all.has(actor.parent) ? actor.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), actor]);
  }
  const found = [];
  const waiting = (children.get("") ?? []).map((actor) => ({ actor, depth: 0 })).reverse();
  while (waiting.length > 0) {
    const { actor, depth } = waiting.pop();
    const below = children.get(actor.id) ?? [];
    found.push({ actor, depth, has_children: below.length > 0 });
    if (!closed.has(actor.id)) {
      for (const child of below.reverse()) waiting.push({ actor: child, depth: depth + 1 });
    }
  }
  return found;
}

function line({ actor, depth, has_children }) {
  const twist = has_children ? (closed.has(actor.id) ? "▸" : "▾") : "";
  const what = [actor.name, actor.tenant, actor.memory_bytes > 0 ? bytes(actor.memory_bytes) : "",
    actor.waiting > 0 ? `${actor.waiting} waiting` : "", actor.set_aside > 0 ? `${actor.set_aside} set aside` : ""]
    .filter((text) => text).join(" · ");
  const element = make("div", { role: "treeitem", "data-id": actor.id, "aria-level": depth + 1,
    "aria-selected": String(actor.id === chosen), "aria-expanded": has_children ? String(!closed.has(actor.id)) : null,
    on: { click: () => choose(actor.id) } },
  make("span", { class: "twist", on: { click: (event) => { event.stopPropagation(); turn(actor.id); } } }, twist),
  make("span", { class: "id" }, actor.id), make("span", { class: `state ${actor.state}` }, actor.state),
  make("span", { class: "what" }, what));
  element.style.paddingLeft = `${0.4 + depth * 1.1}rem`;
  return element;
}

function renderTree() {
  const shown = lines();
  byId("actors-tree").replaceChildren(...shown.map(line));
  byId("actors-count").textContent = `${count(shown.length)} of ${count(all.size)}`;
  byId("actors-more").hidden = !more;
  if (all.size === 0) {
    byId("actors-tree").append(make("p", { class: "hint" }, "There are no actors yet: conversations become some, and modules that you drop below."));
  }
}

function turn(id) {
  if (!closed.delete(id)) closed.add(id);
  renderTree();
}

function choose(id) {
  chosen = id;
  renderTree();
  renderActor();
}

function onTreeKey(event) {
  const items = [...byId("actors-tree").querySelectorAll("[role=treeitem]")];
  const at = items.findIndex((item) => item.dataset.id === chosen);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step !== undefined && items.length > 0) {
    const to = items[Math.min(items.length - 1, Math.max(0, at + step))];
    choose(to.dataset.id);
    byId("actors-tree").querySelector(`[data-id="${CSS.escape(chosen)}"]`)?.scrollIntoView({ block: "nearest" });
  } else if (event.key === "ArrowLeft" && chosen !== null) {
    if (!closed.has(chosen)) closed.add(chosen);
    renderTree();
  } else if (event.key === "ArrowRight" && chosen !== null) {
    closed.delete(chosen);
    renderTree();
  } else {
    return;
  }
  event.preventDefault();
}

/* ---- one actor ------------------------------------------------------------------------------ */

async function act(id, what, json) {
  const told = await post(path(id, `/${what}`), json);
  note(`${id}: ${what} done`);
  await look();
  return told;
}

async function send(id, field, output) {
  output.textContent = "";
  const response = await request("POST", path(id, "/messages"),
    { body: field.value, headers: { "Content-Type": "application/octet-stream", Accept: "text/event-stream" } });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    output.textContent = await response.text();
    return;
  }
  for await (const { event, data } of events(response)) showPiece(output, event, data);
  if (output.textContent === "") output.append("(It answered nothing.)");
}

function showPiece(output, event, data) {
  const told = JSON.parse(data);
  if (told.text !== undefined) output.append(told.text);
  else if (told.base64 !== undefined) output.append(decode(told.base64));
  else if (told.error !== undefined) output.append(`\n[${told.error.message ?? told.error}]`);
  else if (event !== "message") output.dataset.end = event;
}

function decode(base64) {
  const raw = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new TextDecoder().decode(raw);
}

async function save(id) {
  const response = await request("GET", path(id, "/export"));
  const link = make("a", { href: URL.createObjectURL(await response.blob()), download: `${id}.driftwood` });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function rewind(id) {
  const told = await get(path(id, "/freezes"));
  const list = told.data;
  if (list.length === 0) return note("it was never frozen: there is nothing to go back to", true);
  const given = await ask(`Rewind ${id}`, [{ name: "number", label: "To freeze number", value: String(list.at(-1)),
    options: list.map(String) }], "Rewind");
  if (given !== null) await act(id, "rewind", { number: Number(given.number) });
}

function information(actor) {
  const times = (ns) => seconds((ns ?? 0) / 1e9);
  const rows = [["state", actor.state], ["parent", actor.parent || "none"], ["tenant", actor.tenant || "(own)"],
    ["name", actor.name || "none"], ["memory", actor.state === "dormant" ? "not resident" : bytes(actor.memory_bytes ?? 0)],
    ["messages", `${count(actor.messages)} worked on, ${count(actor.failed)} failed, ${count(actor.waiting)} waiting, ${count(actor.set_aside)} set aside`],
    ["tokens", `${count(actor.prompt_tokens)} of prompts computed, ${count(actor.found_tokens)} kept, ${count(actor.generated_tokens)} generated`],
    ["device / guest", `${times(actor.device_ns)} / ${times(actor.guest_ns)}`],
    ["answered / written", `${bytes(actor.answered_bytes)} / ${bytes(actor.written_bytes)}`],
    ["parked / brought back", `${count(actor.parks)} / ${count(actor.thaws)}`],
    ["snapshots", `${count(actor.snapshots ?? 0)}, ${bytes(actor.bytes ?? 0)}`], ["supervision", actor.supervision ?? "–"]];
  return make("dl", { class: "actor" }, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function buttons(id) {
  const button = (label, action, title) => make("button", { title, on: { click: () => attempt(action) } }, label);
  return make("div", { class: "buttons" },
    button("Freeze", () => act(id, "freeze"), "Write its state as a snapshot"),
    button("Thaw", () => act(id, "thaw"), "Bring it into memory"),
    button("Park", () => act(id, "park"), "Write it, and free its memory"),
    button("Fork", async () => { const told = await act(id, "fork"); if (told?.id) choose(told.id); }, "A twin that goes on by itself"),
    button("Rewind", () => rewind(id), "Back to an earlier freeze"),
    button("Export", () => save(id), "One file, for another machine"),
    button("Interrupt", () => act(id, "interrupt"), "End the message that it works on"),
    dangerous("Stop", async () => { await request("DELETE", path(id)); note(`${id}: stopped`); chosen = null; await look(); }));
}

let drawn = null; /* whose panel is drawn: what is written in it stays when figures change */

function renderActor() {
  const actor = all.get(chosen);
  if (actor === undefined) {
    drawn = null;
    byId("actor-about").replaceChildren(make("p", { class: "hint" }, "Choose an actor, to see what it holds."));
    return;
  }
  if (drawn === chosen) {
    byId("actor-about").querySelector("dl").replaceWith(information(actor));
    return;
  }
  drawn = chosen;
  const field = make("textarea", { rows: 3, "aria-label": "Message to the actor", placeholder: "A message to it, as bytes of text" });
  const output = make("div", { class: "output", "aria-live": "polite" });
  const id = actor.id;
  byId("actor-about").replaceChildren(make("h2", {}, make("span", { class: "id" }, id)), buttons(id), information(actor),
    field, make("div", { class: "buttons" }, make("button", { on: { click: () => attempt(() => send(id, field, output)) } }, "Send")), output);
}

/* ---- modules and snapshots ------------------------------------------------------------------ */

const NAMES = "driftwood.modules"; /* the server knows modules by their hashes, this browser by their files' names */

function names() {
  try {
    return JSON.parse(localStorage.getItem(NAMES) ?? "{}");
  } catch {
    return {};
  }
}

async function spawn(module) {
  const models = ((await get("/v1/models")).data ?? []).map((one) => one.id);
  const given = await ask(`Spawn an actor of ${names()[module.sha256] ?? module.sha256.slice(0, 12)}`, [
    { name: "name", label: "Name (may be empty)" },
    { name: "model", label: "Model", options: ["", ...models], value: models[0] ?? "" },
    { name: "arguments", label: "Arguments, one a line", rows: 3 }], "Spawn");
  if (given === null) return;
  const asked = { module: module.sha256 };
  if (given.name !== "") asked.name = given.name;
  if (given.model !== "") asked.models = [given.model];
  const lines_given = given.arguments.split("\n").filter((text) => text !== "");
  if (lines_given.length > 0) asked.arguments = lines_given;
  const told = await post("/v1/actors", asked);
  note(`${told.id}: spawned`);
  await look();
  choose(told.id);
}

async function lookModules() {
  const told = await get("/v1/modules");
  const known = names();
  byId("modules").replaceChildren(...told.data.map((module) => make("li", {},
    make("span", {}, `${known[module.sha256] ?? "module"} `, make("code", {}, module.sha256.slice(0, 12)), ` ${bytes(module.bytes ?? 0)} `),
    make("button", { class: "link", on: { click: () => attempt(() => spawn(module)) } }, "Spawn"), " ",
    dangerous("Drop", async () => { await request("DELETE", `/v1/modules/${module.sha256}`); await lookModules(); }))));
}

async function take(file) {
  const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const is_module = head[0] === 0 && head[1] === 0x61 && head[2] === 0x73 && head[3] === 0x6d;
  if (is_module || file.name.endsWith(".wasm") || file.name.endsWith(".wat")) {
    const told = await (await request("POST", "/v1/modules",
      { body: file, headers: { "Content-Type": "application/wasm" } })).json();
    localStorage.setItem(NAMES, JSON.stringify({ ...names(), [told.sha256]: file.name }));
    note(`${file.name}: taken, ${told.sha256.slice(0, 12)}`);
    await lookModules();
  } else {
    const told = await (await request("POST", "/v1/actors/import",
      { body: file, headers: { "Content-Type": "application/octet-stream" } })).json();
    note(`${file.name}: imported as ${told.id}`);
    await look();
    choose(told.id);
  }
}

function startDrop() {
  const zone = byId("drop");
  const file = byId("drop-file");
  const takeAll = (files) => { for (const one of files) attempt(() => take(one)); };
  for (const event of ["dragenter", "dragover"]) {
    zone.addEventListener(event, (e) => { e.preventDefault(); zone.classList.add("over"); });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    takeAll(event.dataTransfer.files);
  });
  zone.addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target === zone) file.click(); });
  byId("drop-choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => { takeAll(file.files); file.value = ""; });
}

/* ---- looking again and again ---------------------------------------------------------------- */

/* All that are stored, page by page, up to what is wanted. */
async function list(quiet) {
  const found = [];
  for (let after = ""; ;) {
    const told = await get(`/v1/actors?limit=${Math.min(1000, wanted - found.length)}${after}`, { quiet });
    found.push(...told.data);
    more = told.has_more;
    if (!more || found.length >= wanted) return found;
    after = `&after=${encodeURIComponent(found.at(-1).id)}`;
  }
}

/* Those in memory are told about in the overview, with all their figures. */
async function look() {
  const quiet = all.size > 0;
  const [stored, overview] = await Promise.all([list(quiet), get("/v1/overview?actors=4096", { quiet })]);
  all = new Map(stored.map((actor) => [actor.id, { ...actor, state: actor.problem ? "unreadable" : "dormant" }]));
  for (const actor of overview.actors) all.set(actor.id, { ...all.get(actor.id), ...actor });
  renderTree();
  renderActor();
}

async function again() {
  try {
    await look();
  } catch {
    /* the line at the top says that the server is away */
  }
  if (timer !== null) timer = setTimeout(again, document.hidden ? 10 * INTERVAL_MS : INTERVAL_MS);
}

export function start() {
  startDrop();
  byId("actors-find").addEventListener("input", renderTree);
  byId("actors-more").addEventListener("click", () => { wanted += 4 * PAGE; attempt(look); });
  byId("actors-tree").addEventListener("keydown", onTreeKey);
  return {
    open: () => { timer = 0; again(); attempt(lookModules); },
    close: () => { clearTimeout(timer); timer = null; },
    keys: (event) => {
      if (event.key !== "/") return false;
      byId("actors-find").focus();
      return true;
    },
  };
}

/* The chat: messages as a tree, answers as they come, branches. */

import { events, get, request } from "./api.js";
import { Conversation, layout, load, save } from "./conversations.js";
import { attempt, byId, dangerous, draw, make, note, seconds } from "./dom.js";

let conversations = [];
let shown = null;
const running = new Map(); /* message under way -> AbortController */
const waits = new Map(); /* message under way -> what it waits for */
let told_full = false;

function keep() {
  if (!save(conversations) && !told_full) {
    told_full = true;
    note("this browser keeps no more conversations: delete old ones", true);
  }
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* Paragraphs and fenced code, as elements that hold texts. */
function body(text) {
  const parts = [];
  const fence = /^```([^\n`]*)\n([\s\S]*?)(?:^```[ \t]*$|(?![\s\S]))/gm;
  let at = 0;
  for (const found of text.matchAll(fence)) {
    if (found.index > at) parts.push(make("p", {}, text.slice(at, found.index).trim()));
    parts.push(make("figure", { class: "code" },
      make("figcaption", {}, found[1].trim() || "code", copyButton(() => found[2])),
      make("pre", {}, make("code", {}, found[2]))));
    at = found.index + found[0].length;
  }
  const rest = text.slice(at);
  if (rest.trim() !== "" || parts.length === 0) parts.push(make("p", {}, at > 0 ? rest.trim() : rest));
  return parts;
}

function copyButton(text) {
  return make("button", { class: "quiet", on: { click: async () => {
    await attempt(() => navigator.clipboard.writeText(text()));
    note("copied");
  } } }, "Copy");
}

function aboutAnswer(node) {
  const about = node.about;
  const ends = { length: "ended at its length", stopped: "stopped", left: "left unfinished", tool_calls: "a tool's call" };
  const parts = [];
  if (about?.completion) {
    parts.push(`${about.completion} tokens`);
    if (about.generate_s > 0.05) parts.push(`${(about.completion / about.generate_s).toFixed(1)} tokens/s`);
  }
  if (about?.first_s !== undefined) parts.push(`first after ${seconds(about.first_s)}`);
  if (about?.prompt) parts.push(`${about.cached ?? 0} of ${about.prompt} prompt tokens were kept`);
  if (ends[node.end]) parts.push(ends[node.end]);
  if (node.end?.startsWith?.("failed: ")) parts.push(node.end);
  return parts.join(" · ");
}

/* ---- messages ------------------------------------------------------------------------------- */

function switcher(node) {
  const all = shown.siblings(node);
  if (all.length < 2) return null;
  const at = all.indexOf(node);
  const go = (to) => { shown.show(all[to].id); render(); };
  return make("span", { class: "switch" },
    make("button", { class: "quiet", "aria-label": "Branch before", disabled: at === 0, on: { click: () => go(at - 1) } }, "‹"),
    ` ${at + 1} of ${all.length} `,
    make("button", { class: "quiet", "aria-label": "Branch after", disabled: at + 1 === all.length, on: { click: () => go(at + 1) } }, "›"));
}

function actions(node) {
  const busy = running.has(node.id);
  if (node.role === "user") {
    return make("div", { class: "actions" }, switcher(node),
      make("button", { class: "quiet", on: { click: () => edit(node) } }, "Edit"));
  }
  return make("div", { class: "actions" }, switcher(node),
    busy ? null : make("button", { class: "quiet", on: { click: () => answer(shown, node.parent) } }, "Again"),
    busy ? null : make("button", { class: "quiet", title: "The next message begins a branch here", on: { click: () => branch(node) } }, "Branch"),
    busy ? null : copyButton(() => node.text),
    make("span", { class: "about" }, waits.get(node.id) || aboutAnswer(node)));
}

function fillMessage(item, node) {
  const busy = running.has(node.id);
  item.className = node.role + (busy ? " busy" : "");
  const thought = node.thought === "" ? null : make("details", { class: "thought", open: busy && node.text === "" },
    make("summary", {}, "Reasoning"), make("p", {}, node.thought));
  item.replaceChildren(make("span", { class: "who" }, node.role === "user" ? "You" : "Model"),
    ...(thought === null ? [] : [thought]), make("div", { class: "text" }, ...body(node.text)), actions(node));
}

function item(node) {
  const element = make("li", { "data-node": node.id });
  fillMessage(element, node);
  return element;
}

function edit(node) {
  const element = byId("chat-messages").querySelector(`[data-node="${node.id}"]`);
  const field = make("textarea", { rows: 4, "aria-label": "The message, changed" });
  field.value = node.text;
  element.replaceChildren(field, make("div", { class: "actions" },
    make("button", { on: { click: () => {
      if (field.value.trim() !== "") {
        const conversation = shown;
        const changed = conversation.add(node.parent, "user", field.value);
        answer(conversation, changed.id);
      }
    } } }, "Send as a branch"),
    make("button", { class: "quiet", on: { click: render } }, "Cancel")));
  field.focus();
}

function branch(node) {
  shown.leaf = node.id;
  render();
  byId("chat-input").focus();
  note("the next message begins a branch here");
}

/* ---- answers -------------------------------------------------------------------------------- */

function question(conversation, parent) {
  const asked = { model: conversation.model, stream: true, stream_options: { include_usage: true }, messages: [] };
  if (conversation.system !== "") asked.messages.push({ role: "system", content: conversation.system });
  for (const node of conversation.path(parent)) {
    asked.messages.push({ role: node.role, content: node.text });
  }
  if (conversation.temperature !== "") asked.temperature = Number(conversation.temperature);
  if (conversation.tokens !== "") asked.max_tokens = Number(conversation.tokens);
  if (conversation.seed !== "") asked.seed = Number(conversation.seed);
  return asked;
}

function take(node, chunk, times) {
  const delta = chunk.choices?.[0]?.delta;
  const text = delta?.content ?? "";
  const thought = delta?.reasoning_content ?? "";
  if (text !== "" || thought !== "") {
    times.first ??= performance.now();
    times.last = performance.now();
  }
  node.text += text;
  node.thought += thought;
  for (const call of delta?.tool_calls ?? []) {
    node.text += (call.function?.name ? `${call.function.name}(` : "") + (call.function?.arguments ?? "");
  }
  node.end = chunk.choices?.[0]?.finish_reason ?? node.end;
  if (chunk.usage) {
    node.about = { prompt: chunk.usage.prompt_tokens, completion: chunk.usage.completion_tokens,
      cached: chunk.usage.prompt_tokens_details?.cached_tokens };
  }
}

async function stream(conversation, node, controller, times) {
  const response = await request("POST", "/v1/chat/completions",
    { json: question(conversation, node.parent), signal: controller.signal });
  for await (const { data } of events(response)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    take(node, chunk, times);
    refresh(conversation, node);
  }
}

/* Until something comes: how far the load of its model is. */
async function watchLoad(conversation, node, times) {
  const path = `/v1/models/${encodeURIComponent(conversation.model)}`;
  let loading = conversation.model !== "";
  while (loading && running.has(node.id) && times.first === undefined) {
    const { status } = await get(path, { quiet: true }).catch(() => ({}));
    loading = status !== undefined && status.value !== "loaded";
    waits.set(node.id, status?.value === "loading" ? `loading the model, ${(100 * status.fraction).toFixed(0)} %` : "");
    refresh(conversation, node);
    await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
  waits.delete(node.id);
}

/* The model answers what `parent` asks, as a new branch where there is an answer already. */
async function answer(conversation, parent) {
  const node = conversation.add(parent, "assistant", "");
  const controller = new AbortController();
  const times = { from: performance.now() };
  running.set(node.id, controller);
  render();
  watchLoad(conversation, node, times);
  try {
    await stream(conversation, node, controller, times);
    node.end ??= "stop";
  } catch (error) {
    node.end = error.name === "AbortError" ? "stopped" : `failed: ${error.message}`;
    if (error.name !== "AbortError") note(error.message, true);
  }
  if (times.first !== undefined) {
    node.about = { ...node.about, first_s: (times.first - times.from) / 1000, generate_s: (times.last - times.first) / 1000 };
  }
  running.delete(node.id);
  conversation.updated = Date.now();
  keep();
  if (conversation === shown) render();
}

let due = false;

/* At most one drawing a frame, however fast tokens come. */
function refresh(conversation, node) {
  if (due || conversation !== shown) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const list = byId("chat-messages");
    const element = list.querySelector(`[data-node="${node.id}"]`);
    const below = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
    if (element !== null) fillMessage(element, node);
    if (below) list.scrollTop = list.scrollHeight;
  });
}

function send() {
  const input = byId("chat-input");
  const text = input.value;
  if (text.trim() === "" || running.has(shown.leaf)) return;
  input.value = "";
  const asked = shown.add(shown.leaf, "user", text);
  answer(shown, asked.id);
}

function stop() {
  running.get(shown?.leaf)?.abort();
}

/* ---- the lists ------------------------------------------------------------------------------ */

function renderList() {
  conversations.sort((a, b) => b.updated - a.updated);
  byId("chat-list").replaceChildren(...conversations.map((one) => make("li", {},
    make("button", { class: "wide", "aria-current": one === shown ? "true" : null, on: { click: () => choose(one) } },
      one.title || "New conversation"))));
}

function renderTree() {
  const places = layout(shown);
  const path = new Set(shown.path().map((node) => node.id));
  const x = (place) => 14 + place.column * 22;
  const y = (place) => 14 + place.row * 22;
  const by_id = new Map(places.map((place) => [place.node.id, place]));
  const lines = places.filter((place) => place.node.parent !== null).map((place) => {
    const above = by_id.get(place.node.parent);
    return draw("path", { class: path.has(place.node.id) ? "on" : "",
      d: `M${x(above)} ${y(above)} C${x(above)} ${y(place) - 4} ${x(place)} ${y(above) + 4} ${x(place)} ${y(place)}` });
  });
  const dots = places.map((place) => {
    const go = () => { shown.show(place.node.id); render(); };
    const what = `${place.node.role === "user" ? "You" : "Model"}: ${place.node.text.slice(0, 80)}`;
    return draw("g", { role: "button", tabindex: 0, "aria-label": what,
      class: `${place.node.role}${path.has(place.node.id) ? " on" : ""}${running.has(place.node.id) ? " busy" : ""}`,
      on: { click: go, keydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(); } } } },
    draw("title", {}, what), draw("circle", { cx: x(place), cy: y(place), r: 6 }));
  });
  const width = 28 + 22 * Math.max(0, ...places.map((place) => place.column));
  const height = 28 + 22 * Math.max(0, ...places.map((place) => place.row));
  byId("chat-tree").replaceChildren(draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
    "aria-label": "Tree of branches" }, ...lines, ...dots));
}

function renderSettings() {
  for (const name of ["model", "system", "temperature", "tokens", "seed"]) {
    const field = byId(`chat-${name}`);
    if (document.activeElement !== field) field.value = shown[name];
  }
}

function render() {
  const list = byId("chat-messages");
  const path = shown.path();
  list.replaceChildren(...path.map(item));
  if (path.length === 0) {
    list.append(make("li", { class: "empty" }, "Nothing was said yet. What you write stays in this browser; what the model computed for it stays on the server, also when it restarts."));
  }
  list.scrollTop = list.scrollHeight;
  byId("chat-stop").hidden = !running.has(shown.leaf);
  byId("chat-send").hidden = running.has(shown.leaf);
  renderList();
  renderTree();
  renderSettings();
  keep();
}

function choose(conversation) {
  shown = conversation;
  render();
}

function begin() {
  const empty = conversations.find((one) => Object.keys(one.nodes).length === 0);
  if (empty === undefined) {
    conversations.unshift(new Conversation({ model: shown?.model ?? byId("chat-model").value }));
  }
  choose(empty ?? conversations[0]);
  byId("chat-input").focus();
}

async function models() {
  const list = (await get("/v1/models")).data ?? [];
  byId("chat-model").replaceChildren(...list.map((one) => make("option", { value: one.id }, one.id)));
  if (!list.some((one) => one.id === shown.model)) shown.model = list[0]?.id ?? "";
  renderSettings();
}

function toggle(button, side) {
  byId(button).addEventListener("click", () => {
    const open = byId(side).classList.toggle("open");
    byId(button).setAttribute("aria-expanded", String(open));
  });
}

/* ---- for main.js ---------------------------------------------------------------------------- */

export function start() {
  conversations = load();
  begin();
  byId("chat-form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  byId("chat-input").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  byId("chat-stop").addEventListener("click", stop);
  byId("chat-new").addEventListener("click", begin);
  for (const name of ["model", "system", "temperature", "tokens", "seed"]) {
    byId(`chat-${name}`).addEventListener("input", (event) => { shown[name] = event.target.value; keep(); });
  }
  byId("chat-delete").replaceWith(dangerous("Delete this conversation", () => {
    for (const id of Object.keys(shown.nodes)) running.get(id)?.abort();
    conversations = conversations.filter((one) => one !== shown);
    begin();
  }));
  toggle("chat-list-toggle", "chat-side");
  toggle("chat-tree-toggle", "chat-tree-side");
  return { open: () => attempt(models), keys };
}

function keys(event) {
  if (event.key === "Escape") stop();
  else if (event.key === "/") byId("chat-input").focus();
  else if (event.altKey && event.key.toLowerCase() === "n") begin();
  else if (event.altKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    const step = event.key === "ArrowLeft" ? -1 : 1;
    for (const node of shown.path().reverse()) {
      const all = shown.siblings(node);
      const to = all[all.indexOf(node) + step];
      if (all.length > 1 && to !== undefined) { shown.show(to.id); render(); break; }
    }
  } else return false;
  return true;
}

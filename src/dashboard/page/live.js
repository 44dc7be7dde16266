/* What the runtime says of itself, each second: charts, the device, tenants. */

import { get, post } from "./api.js";
import { Chart } from "./chart.js";
import { attempt, byId, bytes, count, make, seconds } from "./dom.js";
import { quantile, sum, fetchMetrics } from "./metrics.js";

const INTERVAL_MS = 1000;
let before = null;
let timer = null;
let charts = null;

const rate = (text) => (value) => `${count(value)} ${text}`;

function makeCharts() {
  charts = {
    tokens: new Chart("Tokens a second", ["generated", "computed of prompts", "kept of prompts"], rate("/s")),
    batch: new Chart("Sequences a step (batch)", ["mean"], count),
    waiting: new Chart("Messages", ["at work", "waiting"], count),
    first: new Chart("Time to first token", ["half within", "99 of 100 within"], seconds),
    kv: new Chart("KV cache by place", ["device", "host", "prefixes", "disk"], bytes),
    device: new Chart("Device at work", ["share"], (value) => `${(100 * value).toFixed(0)} %`),
    actors: new Chart("Actors", ["in memory", "all"], count),
    written: new Chart("Written to the disk", ["a second"], bytes),
  };
  byId("charts").replaceChildren(...Object.values(charts).map((chart) => chart.element));
}

/* The growth of a counter, a second; null at first, and when another runtime is there. */
function growth(now, part, name) {
  const was = before?.overview[part]?.[name];
  const s = (now.uptime_ns - (before?.overview.uptime_ns ?? 0)) / 1e9;
  if (was === undefined || s <= 0) return null;
  return Math.max(0, now[part][name] - was) / s;
}

function firstTokens(metrics) {
  const name = "driftwood_time_to_first_token_seconds";
  return [0.5, 0.99].map((q) => quantile(metrics, before?.metrics, name, q));
}

function addPoint(overview, metrics) {
  const prompt = growth(overview, "runtime", "prompt_tokens");
  const found = growth(overview, "runtime", "found_tokens");
  const steps = growth(overview, "scheduler", "steps");
  const sequences = growth(overview, "scheduler", "step_sequences");
  const busy = growth(overview, "scheduler", "device_ns");
  charts.tokens.add([growth(overview, "runtime", "generated_tokens"), prompt, found]);
  charts.batch.add([steps > 0 ? sequences / steps : steps === null ? null : 0]);
  charts.waiting.add([overview.runtime.working, overview.runtime.waiting]);
  charts.first.add(firstTokens(metrics));
  charts.kv.add(["device", "host", "prefixes", "disk"].map((place) => sum(metrics, "driftwood_kv_bytes", { place })));
  charts.device.add([busy === null ? null : Math.min(1, busy / 1e9)]);
  charts.actors.add([overview.runtime.resident, overview.runtime.actors]);
  charts.written.add([growth(overview, "runtime", "written_bytes")]);
}

function rows(list) {
  return make("dl", { class: "actor" }, ...list.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function showDevice(overview) {
  const scheduler = overview.scheduler ?? {};
  byId("device").replaceChildren(make("h2", {}, "Device and process"), rows([
    ["running for", seconds(overview.uptime_ns / 1e9)],
    ["resident memory", bytes(overview.resident_bytes)],
    ["memory of actors", bytes(overview.runtime.actors_bytes)],
    ["steps", count(scheduler.steps ?? 0)],
    ["most sequences in a step", count(scheduler.most_step_sequences ?? 0)],
    ["device at work", seconds((scheduler.device_ns ?? 0) / 1e9)],
    ["idle between steps, median", seconds((scheduler.device_idle_median_ns ?? 0) / 1e9)],
    ["parked / brought back", `${count(overview.runtime.parks)} / ${count(overview.runtime.thaws)}`],
    ["messages answered / failed", `${count(overview.runtime.ended)} / ${count(overview.runtime.ended_failed)}`],
  ]));
}

function showTenants(overview) {
  const columns = [["actors", (t) => count(t.actors)], ["at work", (t) => count(t.working)],
    ["messages", (t) => count(t.messages)], ["failed", (t) => count(t.failed)], ["device", (t) => seconds(t.device_ns / 1e9)],
    ["guest", (t) => seconds(t.guest_ns / 1e9)], ["prompt tokens", (t) => count(t.prompt_tokens)],
    ["generated", (t) => count(t.generated_tokens)], ["kept", (t) => count(t.found_tokens)], ["written", (t) => bytes(t.written_bytes)]];
  byId("tenants").replaceChildren(make("h2", {}, "Tenants"), make("table", { class: "wide" },
    make("thead", {}, make("tr", {}, make("th", {}, "tenant"), ...columns.map(([name]) => make("th", { class: "number" }, name)))),
    make("tbody", {}, ...(overview.tenants ?? []).map((tenant) => make("tr", {}, make("td", {}, tenant.name || "(own)"),
      ...columns.map(([, value]) => make("td", { class: "number" }, value(tenant))))))));
}

/* How far it is, and when it goes. */
function modelState({ status, in_use: used, idle_seconds: idle, keep_seconds: kept }) {
  if (status.value === "loading") return `loading, ${(100 * status.fraction).toFixed(0)} %`;
  if (status.value !== "loaded") return status.failed ? `not loaded: ${status.error}` : "unloaded";
  if (used) return "loaded, in use";
  return typeof kept === "number" ? `loaded, goes in ${seconds(Math.max(0, kept - idle))}` : "loaded";
}

function modelButton(model) {
  const loaded = model.status.value !== "unloaded";
  return make("button", { on: { click: () => attempt(() => post(`/models/${loaded ? "unload" : "load"}`, { model: model.id })) } },
    loaded ? "Unload" : "Load");
}

/* Drawn again where something has changed: a button under the pointer stays. */
let modelsShown = "";

function showModels(models) {
  const rowsOf = models.map((model) => [model.id, modelState(model), bytes(model.status.value === "loaded" ? model.size : 0),
    bytes(model.size)]);
  if (JSON.stringify(rowsOf) === modelsShown) return;
  modelsShown = JSON.stringify(rowsOf);
  byId("models").replaceChildren(make("h2", {}, "Models"), make("table", { class: "wide" },
    make("thead", {}, make("tr", {}, ...["model", "state", "in memory", "weights", ""].map((name, i) =>
      make("th", { class: i === 2 || i === 3 ? "number" : null }, name)))),
    make("tbody", {}, ...models.map((model, row) => make("tr", {}, ...rowsOf[row].map((text, i) =>
      make("td", { class: i > 1 ? "number" : null }, text)), make("td", {}, modelButton(model)))))));
}

async function look() {
  try {
    get("/v1/models", { quiet: true }).then((told) => showModels(told.data ?? [])).catch(() => {});
    const [overview, metrics] = await Promise.all([get("/v1/overview?actors=1", { quiet: before !== null }), fetchMetrics().catch(() => [])]);
    if (before !== null && overview.uptime_ns < before.overview.uptime_ns) before = null; /* it was started again */
    addPoint(overview, metrics);
    showDevice(overview);
    showTenants(overview);
    before = { overview, metrics };
  } catch {
    /* the line at the top says that the server is away */
  }
  if (timer !== null) timer = setTimeout(look, document.hidden ? 10 * INTERVAL_MS : INTERVAL_MS);
}

export function start() {
  makeCharts();
  return {
    open: () => { timer = 0; look(); },
    close: () => { clearTimeout(timer); timer = null; },
  };
}

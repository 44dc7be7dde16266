/* The links of the chain from a guest's memory to the device, checked on the server's machine. */

import { get } from "./api.js";
import { attempt, byId, count, make } from "./dom.js";

const names = { "link 1": "pages (mmap)", "link 2": "guest's memory", "link 3": "device's buffer", chain: "all together" };

function chain(checks) {
  const good = (link) => checks.filter((check) => check.link === link).every((check) => check.ok);
  const arrow = (link) => make("i", { class: good(link) ? "" : "failed", title: link }, good(link) ? "⟶" : "⤬");
  return make("div", { class: "chain", "aria-label": "Chain" }, make("span", {}, "mmap"), arrow("link 1"),
    make("span", {}, "WebAssembly memory"), arrow("link 2"), make("span", {}, "device buffer"), arrow("link 3"),
    make("span", {}, good("chain") ? "no byte copied" : "copied, or wrong"));
}

function row(check) {
  const goal = check.goal === null ? "" : ` (goal ${check.goal})`;
  return make("div", { class: "check" }, make("span", { class: check.ok ? "ok" : "failed" }, check.ok ? "ok" : "FAILED"),
    make("code", {}, check.name), make("span", {}, `${count(check.value)} ${check.unit}${goal}`),
    make("span", {}, check.what, check.note === "" ? null : make("span", { class: "hint" }, ` – ${check.note}`)));
}

async function check() {
  const button = byId("links-check");
  button.disabled = true;
  byId("links-state").textContent = "checking…";
  const told = await attempt(() => get("/v1/links"));
  button.disabled = false;
  byId("links-state").textContent = told === undefined ? "" :
    `${told.device}: ${told.description} (${told.backend}, ${told.unified ? "unified" : "discrete"} memory)`;
  if (told === undefined) return;
  byId("links-list").replaceChildren(chain(told.checks), ...Object.keys(names).map((link) =>
    make("div", { class: "panel link-group" }, make("h2", {}, `${link === "chain" ? "Chain" : link[0].toUpperCase() + link.slice(1)}: ${names[link]}`),
      ...told.checks.filter((one) => one.link === link).map(row))));
}

export function start() {
  byId("links-check").addEventListener("click", check);
  return { open: () => { if (byId("links-list").childElementCount === 0) check(); } };
}

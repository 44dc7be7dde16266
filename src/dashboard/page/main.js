/* Views, theme, keys, and whether the server is there. */

import { request } from "./api.js";
import * as actors from "./actors.js";
import * as chat from "./chat.js";
import { byId } from "./dom.js";
import * as links from "./links.js";
import * as live from "./live.js";

const views = { chat: chat.start(), actors: actors.start(), live: live.start(), links: links.start() };
let current = null;

function show(name) {
  if (name === current || !(name in views)) return;
  views[current]?.close?.();
  current = name;
  for (const other of Object.keys(views)) {
    byId(other).hidden = other !== name;
    byId(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    byId(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  if (location.hash.slice(1) !== name) history.replaceState(null, "", `#${name}`);
  views[name].open?.();
}

function startTabs() {
  const names = Object.keys(views);
  names.forEach((name, i) => {
    byId(`tab-${name}`).addEventListener("click", () => show(name));
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined || event.altKey) return;
      const to = names[(i + step + names.length) % names.length];
      show(to);
      byId(`tab-${to}`).focus();
    });
  });
  window.addEventListener("hashchange", () => show(location.hash.slice(1)));
}

function startTheme() {
  const button = byId("theme");
  const names = { "": "system", light: "light", dark: "dark" };
  const apply = (theme) => {
    if (theme === "") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${names[theme]}`;
    localStorage.setItem("driftwood.theme", theme);
  };
  let theme = localStorage.getItem("driftwood.theme") ?? "";
  if (!(theme in names)) theme = "";
  apply(theme);
  button.addEventListener("click", () => {
    const all = Object.keys(names);
    theme = all[(all.indexOf(theme) + 1) % all.length];
    apply(theme);
  });
}

function isWriting(element) {
  return element.matches("input, textarea, select");
}

function onKey(event) {
  if (document.querySelector("dialog[open]") !== null) return;
  const number = "1234".indexOf(event.key);
  if (event.altKey && number >= 0) {
    show(Object.keys(views)[number]);
  } else if (isWriting(event.target) && !event.altKey && event.key !== "Escape") {
    return;
  } else if (event.key === "?") {
    byId("help").showModal();
  } else if (!views[current].keys?.(event)) {
    return;
  }
  event.preventDefault();
}

async function watchHealth() {
  const line = byId("health");
  try {
    await request("GET", "/ready", { quiet: true });
    line.className = "health good";
    line.textContent = "running";
  } catch (error) {
    line.className = "health bad";
    line.textContent = error.status === 503 ? "shutting down" : "not reached";
  }
  setTimeout(watchHealth, document.hidden ? 15000 : 4000);
}

startTabs();
startTheme();
document.addEventListener("keydown", onKey);
byId("help-open").addEventListener("click", () => byId("help").showModal());
show(location.hash.slice(1) in views ? location.hash.slice(1) : "chat");
watchHealth();

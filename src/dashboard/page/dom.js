/* Elements made by hand: texts are only ever texts, so that nothing that a model, a guest or a name
 * says becomes markup. */

/* make("button", {class: "quiet", on: {click: f}}, "text", child, ...) */
export function make(name, about = {}, ...children) {
  const element = document.createElement(name);
  fill(element, about, children);
  return element;
}

export function draw(name, about = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(element, about, children);
  return element;
}

function fill(element, { on = {}, ...about }, children) {
  for (const [key, value] of Object.entries(about)) {
    if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(key, value === true ? "" : value);
    }
  }
  for (const [event, f] of Object.entries(on)) element.addEventListener(event, f);
  element.append(...children.filter((child) => child !== null && child !== undefined));
}

export const byId = (id) => document.getElementById(id);

/* A line that goes by itself; errors stay longer. */
export function note(text, bad = false) {
  const line = make("p", { class: bad ? "bad" : "good" }, text,
    make("button", { class: "quiet", "aria-label": "Close", on: { click: () => line.remove() } }, "×"));
  while (byId("notes").childElementCount >= 3) byId("notes").firstElementChild.remove();
  byId("notes").append(line);
  setTimeout(() => line.remove(), bad ? 12000 : 4000);
}

/* Runs an action, and tells its failure. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name !== "AbortError") note(error.message, true);
    return undefined;
  }
}

/* ask("Fork", [{name, label, value, type}]) -> {name: value} or null. */
export function ask(title, fields, go = "Go on") {
  const dialog = byId("ask-dialog");
  byId("ask-title").textContent = title;
  byId("ask-ok").textContent = go;
  const inputs = fields.map((field) => {
    const input = make(field.options ? "select" : field.rows ? "textarea" : "input",
      { name: field.name, rows: field.rows, type: field.options || field.rows ? null : field.type ?? "text",
        min: field.min, required: field.required });
    for (const option of field.options ?? []) {
      input.append(make("option", { value: option }, option === "" ? "(none)" : option));
    }
    if (field.type === "checkbox") input.checked = Boolean(field.value);
    else if (field.value !== undefined) input.value = field.value;
    return input;
  });
  byId("ask-fields").replaceChildren(...fields.map((field, i) =>
    make("label", { class: "row" }, `${field.label} `, inputs[i])));
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "ok") return resolve(null);
      resolve(Object.fromEntries(inputs.map((input) =>
        [input.name, input.type === "checkbox" ? input.checked : input.value])));
    }, { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

/* A button that a second press confirms: for what cannot be undone. */
export function dangerous(label, action) {
  let armed = null;
  const button = make("button", { class: "danger", on: { click: () => {
    if (armed !== null) {
      clearTimeout(armed);
      armed = null;
      button.textContent = label;
      attempt(action);
      return;
    }
    button.textContent = `${label}: press again`;
    armed = setTimeout(() => { armed = null; button.textContent = label; }, 3000);
  } } }, label);
  return button;
}

/* ---- numbers for people ---- */

export function bytes(count = 0) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  let value = count;
  while (value >= 1024 && i + 1 < units.length) {
    value /= 1024;
    i++;
  }
  return `${value >= 100 || i === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[i]}`;
}

export function count(value = 0) {
  return Math.abs(value) >= 100000
    ? Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value)
    : Intl.NumberFormat("en", { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 }).format(value);
}

export function seconds(s) {
  if (s < 0.001) return `${(s * 1e6).toFixed(0)} µs`;
  if (s < 1) return `${(s * 1e3).toFixed(s < 0.01 ? 1 : 0)} ms`;
  if (s < 90) return `${s.toFixed(1)} s`;
  if (s < 5400) return `${(s / 60).toFixed(0)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

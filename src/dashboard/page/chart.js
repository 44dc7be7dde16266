/* A chart of what was seen lately: up to four lines over the same two minutes. */

import { draw, make } from "./dom.js";

const POINTS = 120;

export class Chart {
  /* lines: names; text(value) says a value for people. */
  constructor(title, lines, text) {
    this.lines = lines;
    this.text = text;
    this.values = lines.map(() => []);
    this.now = make("span", { class: "now" });
    this.top = make("span");
    this.polylines = lines.map((_, i) => draw("polyline", { class: `series-${i + 1}` }));
    this.svg = draw("svg", { viewBox: `0 0 ${POINTS - 1} 100`, preserveAspectRatio: "none", role: "img" },
      ...[0, 50, 100].map((y) => draw("line", { class: "grid", x1: 0, x2: POINTS - 1, y1: y, y2: y })), ...this.polylines);
    this.title = title;
    this.keys = lines.map((name, i) => {
      const value = make("b");
      return { element: make("span", {}, make("i", { class: `key-${i + 1}` }), `${name} `, value), value };
    });
    this.element = make("figure", { class: "chart" },
      make("figcaption", {}, make("span", {}, title), this.now), this.svg,
      make("div", { class: "axis" }, make("span", {}, "two minutes ago"), this.top, make("span", {}, "now")),
      lines.length > 1 ? make("div", { class: "legend" }, ...this.keys.map((key) => key.element)) : null);
  }

  /* One value a line; null: nothing was seen. */
  add(values) {
    this.values.forEach((list, i) => {
      list.push(values[i] ?? null);
      if (list.length > POINTS) list.shift();
    });
    const seen = this.values.flat().filter((value) => value !== null);
    const top = Math.max(1e-9, ...seen);
    this.polylines.forEach((polyline, i) => {
      const list = this.values[i];
      const points = [];
      list.forEach((value, at) => {
        if (value !== null) points.push(`${POINTS - list.length + at},${(98 - 96 * value / top).toFixed(2)}`);
      });
      polyline.setAttribute("points", points.join(" "));
    });
    const last = this.values.map((list) => list.findLast((value) => value !== null));
    this.now.textContent = last[0] === undefined ? "–" : this.text(last[0]);
    this.top.textContent = seen.length > 0 ? `top ${this.text(top)}` : "";
    this.keys.forEach((key, i) => { key.value.textContent = last[i] === undefined ? "–" : this.text(last[i]); });
    this.svg.setAttribute("aria-label", `${this.title}: ` +
      this.lines.map((name, i) => `${name} ${last[i] === undefined ? "nothing yet" : this.text(last[i])}`).join(", "));
  }
}

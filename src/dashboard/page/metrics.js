/* Prometheus' text form, read: [{name, labels, value}]. */

import { request } from "./api.js";

export async function fetchMetrics() {
  const response = await request("GET", "/metrics", { quiet: true });
  return parse(await response.text());
}

export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (found === null) continue;
    const labels = {};
    for (const label of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      labels[label[1]] = label[2].replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    const value = found[3] === "+Inf" ? Infinity : Number(found[3]);
    samples.push({ name: found[1], labels, value });
  }
  return samples;
}

function matches(sample, name, labels) {
  return sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
}

/* Of all samples of that name that have these labels; null: there is none. */
export function sum(samples, name, labels = {}) {
  const all = samples.filter((sample) => matches(sample, name, labels));
  return all.length === 0 ? null : all.reduce((total, sample) => total + sample.value, 0);
}

function buckets(samples, name) {
  const counts = new Map();
  for (const sample of samples) {
    if (sample.name === `${name}_bucket`) {
      const end = sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le);
      counts.set(end, (counts.get(end) ?? 0) + sample.value);
    }
  }
  return counts;
}

/* Of a histogram, of what came since `before`: the value that the part `q` does not exceed, in the bucket's line;
 * null: nothing came. */
export function quantile(samples, before, name, q) {
  const now = buckets(samples, name);
  const then = before ? buckets(before, name) : new Map();
  const ends = [...now.keys()].sort((a, b) => a - b);
  const counts = ends.map((end) => now.get(end) - (then.get(end) ?? 0));
  const all = counts.at(-1) ?? 0;
  if (all <= 0) return null;
  const at = counts.findIndex((some) => some >= q * all);
  const low = at > 0 ? ends[at - 1] : 0;
  if (ends[at] === Infinity) return low;
  const under = at > 0 ? counts[at - 1] : 0;
  return low + (ends[at] - low) * (q * all - under) / (counts[at] - under);
}

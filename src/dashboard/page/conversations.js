/* The conversations of this browser: each a tree of messages, of which the path to `leaf` is shown. The server
 * keeps what was computed for them by their texts, and needs nothing of this. */

const STORE = "driftwood.conversations";

export class Conversation {
  constructor(from) {
    Object.assign(this, {
      id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), title: "", model: "", system: "",
      temperature: "", tokens: "", seed: "", updated: Date.now(), nodes: {}, leaf: null, next: 1,
    }, from);
  }

  /* A message under `parent` (null: the first); it becomes the one that is shown. */
  add(parent, role, text) {
    const node = { id: String(this.next++), parent, role, text, thought: "", end: null, about: null };
    this.nodes[node.id] = node;
    this.leaf = node.id;
    this.updated = Date.now();
    if (this.title === "" && role === "user") this.title = text.trim().slice(0, 60);
    return node;
  }

  path(leaf = this.leaf) {
    const nodes = [];
    for (let id = leaf; id !== null; id = this.nodes[id].parent) nodes.unshift(this.nodes[id]);
    return nodes;
  }

  children(id) {
    return Object.values(this.nodes).filter((node) => node.parent === id)
      .sort((a, b) => Number(a.id) - Number(b.id));
  }

  siblings(node) {
    return this.children(node.parent);
  }

  /* Shows the branch that leads through this message, to its newest end. */
  show(id) {
    for (let below = this.children(id); below.length > 0; below = this.children(id)) {
      id = below[below.length - 1].id;
    }
    this.leaf = id;
  }
}

/* What was kept; anything of another form is left out. */
export function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    return kept.filter((one) => typeof one.nodes === "object").map((one) => {
      for (const node of Object.values(one.nodes)) {
        if (node.end === null && node.role === "assistant") node.end = "left"; /* the page was closed meanwhile */
      }
      return new Conversation(one);
    });
  } catch {
    return [];
  }
}

/* false: the browser keeps no more. */
export function save(conversations) {
  try {
    localStorage.setItem(STORE, JSON.stringify(conversations));
    return true;
  } catch {
    return false;
  }
}

/* Where each message of the tree stands: {node, column, row}; the first branch goes straight down. */
export function layout(conversation) {
  const places = [];
  const below = new Map();
  for (const node of Object.values(conversation.nodes)) {
    below.set(node.parent, [...(below.get(node.parent) ?? []), node]);
  }
  let columns = 0;
  const waiting = (below.get(null) ?? []).map((node) => ({ node, row: 0, column: null })).reverse();
  while (waiting.length > 0) {
    const place = waiting.pop();
    place.column ??= columns++;
    places.push(place);
    const next = (below.get(place.node.id) ?? []).sort((a, b) => Number(a.id) - Number(b.id));
    for (let i = next.length - 1; i >= 0; i--) {
      waiting.push({ node: next[i], row: place.row + 1, column: i === 0 ? place.column : null });
    }
  }
  return places;
}

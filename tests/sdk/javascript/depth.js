// What recurses too deep throws what can be caught, whatever it recurses by.
import { print } from "driftwood";

let depth = 0;
function plain() { depth++; plain(); }
const text = { toString() { depth++; return "" + text; } };
function bySort() { depth++; [2, 1].sort(bySort); }
function byReplace() { depth++; "a".replace(/a/, byReplace); }
function byEval() { depth++; (0, eval)("byEval()"); }
globalThis.byEval = byEval;
const proxy = new Proxy({}, { get(target, key, self) { depth++; return self[key]; } });
class Nested { constructor() { depth++; new Nested(); } }
function* generator() { depth++; yield* generator(); }
function byJson() { depth++; JSON.stringify({ toJSON: byJson }); }
function byApply() { depth++; Reflect.apply(byApply, null, []); }
function bySpread(...list) { depth++; bySpread(...list); }

for (const [name, call] of Object.entries({
  plain, toString: () => String(text), bySort, byReplace, byEval, proxy: () => proxy.x, new: () => new Nested(),
  generator: () => [...generator()], byJson, byApply, bySpread: () => bySpread(1, 2, 3, 4, 5, 6, 7, 8),
})) {
  depth = 0;
  try {
    call();
  } catch (error) {
    print(`${name} ${error.name} ${depth > 300}\n`);
  }
}

export function receive() {
  try {
    plain();
  } catch (error) {
    return error.name;
  }
}

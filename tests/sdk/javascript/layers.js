// What tests/guest/layers.c says, by this SDK.
import { constants as C, Context, Model, Sampler, floats, forwardMany, print } from "driftwood";

const prompt = [504, 3575, 282, 4649, 314, 260];
const bits = (value) => new Uint32Array(Float32Array.of(value).buffer)[0];

function told(row) {
  let best = 0;
  for (let i = 1; i < row.length; i++) {
    if (row[i] > row[best]) best = i;
  }
  return ` ${best}:${bits(row[best])}`;
}

function refuses(call) {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}

const model = new Model();
const vocab = model.info.vocab_count;
const context = new Context(model, 64);
context.forward(prompt);

const draft = [10, 20, 30, 40, 50, 60];
const rows = floats(6 * vocab);
context.forwardTree({ tokens: draft, parents: [-1, 0, 0, 1, 2, -1] }, rows);
print("tree");
for (let i = 0; i < draft.length; i++) print(told(rows.subarray(i * vocab, (i + 1) * vocab)));
const refused = refuses(() => context.keep([3, 1]));
print(`\nkept ${context.keep([0, 1, 3])}`);
const row = floats(vocab);
context.forward([70], row);
print(told(row));
const masked = new Context(model, 32);
masked.forward(prompt.slice(0, 3));
masked.forwardTree({
  tokens: draft.slice(0, 3), positions: [3, 4, 3],
  mask: [1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1],
}, rows.subarray(0, 2 * vocab));
print(`\nmask${told(rows.subarray(0, vocab))}${told(rows.subarray(vocab, 2 * vocab))}`);
const short = refuses(() => masked.forwardTree({ tokens: draft, parents: [-1] }));
print(` ${refused && short ? "refused" : "taken"}\n`);

const steps = [
  { context, tokens: [80], rows: 1 },
  { context: context.fork(), tokens: [81, 82], sampler: new Sampler(model, {}), top: 3 },
  { context: context.fork(), tokens: [83], rows: 1, hidden: true },
];
const [first, second, third] = forwardMany(steps);
const through = [first, second, third].filter((one) => !one.error).length;
print(`many ${through} ${first.length}${told(first.rows)} ${second.token} `
  + `${bits(second.logProbability)} ${second.top.map((one) => one.token).join(" ")} `
  + `${bits(second.top[2].logProbability)} ${bits(third.rows[1])}\n`);

const [leaves, plain] = forwardMany([
  { context, tree: { tokens: [20, 30, 40], parents: [-1, 0, 0] }, rows: 3 },
  { context: context.fork(), tokens: [84], rows: 1 },
]);
print("steps 2");
for (let i = 0; i < 3; i++) print(told(leaves.rows.subarray(i * vocab, (i + 1) * vocab)));
print(`${told(plain.rows)} ${plain.length} ${context.keep([0, 2])}\n`);

const embeddings = model.tokenEmbeddings(prompt);
const fresh = new Context(model, 32);
const length = fresh.forwardEmbeddings(embeddings, row);
print(`rows ${embeddings.length} ${bits(embeddings[0])} ${bits(embeddings[embeddings.length - 1])} `
  + `${length}${told(row)}\n`);
const one = model.embed(prompt);
const all = model.embed(prompt, C.POOLING_NONE, 0);
print(`embed ${one.length} ${bits(one[0])} ${bits(one[one.length - 1])} ${bits(all[0])} `
  + `${bits(all[all.length - 1])}\n`);

// What tests/guest/layers.c says, by this SDK.
import { Context, Model, Sampler, Step, Tree, floats, forwardMany, print, raw } from "driftwood";

function list(values: i32[]): Int32Array {
  const out = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = values[i];
  return out;
}

function bits(value: f32): string {
  return reinterpret<u32>(value).toString();
}

function told(row: Float32Array): string {
  let best = 0;
  for (let i = 1; i < row.length; i++) {
    if (row[i] > row[best]) best = i;
  }
  return " " + best.toString() + ":" + bits(row[best]);
}

const prompt = list([504, 3575, 282, 4649, 314, 260]);
const draft = list([10, 20, 30, 40, 50, 60]);
const model = Model.open().must("model");
const vocab = <i32>model.info.vocab_count;
const context = Context.create(model, 64).must("context");
context.forward(prompt).must("prompt");

const tree = new Tree(draft);
tree.parents = list([-1, 0, 0, 1, 2, -1]);
const rows = floats(6 * vocab);
context.forwardTree(tree, rows).must("tree");
print("tree");
for (let i = 0; i < draft.length; i++) print(told(rows.subarray(i * vocab, (i + 1) * vocab)));
const refused = !context.keep(list([3, 1])).ok;
print("\nkept " + context.keep(list([0, 1, 3])).must("keep").toString());
const row = floats(vocab);
context.forward(list([70]), row).must("forward");
print(told(row));
const masked = Context.create(model, 32).must("context");
masked.forward(prompt.subarray(0, 3)).must("prompt");
const ownMask = new Tree(draft.subarray(0, 3));
const seen: u8[] = [1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1];
const mask = new Uint8Array(seen.length);
for (let i = 0; i < seen.length; i++) mask[i] = seen[i];
ownMask.positions = list([3, 4, 3]);
ownMask.mask = mask;
masked.forwardTree(ownMask, rows.subarray(0, 2 * vocab)).must("mask");
print("\nmask" + told(rows.subarray(0, vocab)) + told(rows.subarray(vocab, 2 * vocab)));
const short = new Tree(draft);
short.parents = list([-1]);
print(refused && !masked.forwardTree(short).ok ? " refused\n" : " taken\n");

const steps: Step[] = [
  new Step(context, list([80])),
  new Step(context.fork().must("fork"), list([81, 82])),
  new Step(context.fork().must("fork"), list([83])),
];
steps[0].rows = 1;
steps[1].sampler = Sampler.create(model).must("sampler");
steps[1].topCount = 3;
steps[2].rows = 1;
steps[2].hidden = true;
const through = forwardMany(steps).must("many");
const top = steps[1].top;
print("many " + through.toString() + " " + steps[0].status.toString() + told(steps[0].rowData)
  + " " + steps[1].token.toString() + " " + bits(steps[1].logProbability)
  + " " + top.tokens[0].toString() + " " + top.tokens[1].toString()
  + " " + top.tokens[2].toString() + " " + bits(top.logProbabilities[2])
  + " " + bits(steps[2].rowData[1]) + "\n");

const leaves = new Tree(list([20, 30, 40]));
leaves.parents = list([-1, 0, 0]);
const beside: Step[] = [
  new Step(context, leaves.tokens),
  new Step(context.fork().must("fork"), list([84])),
];
beside[0].tree = leaves;
beside[0].rows = 3;
beside[1].rows = 1;
print("steps " + forwardMany(beside).must("steps").toString());
for (let i = 0; i < 3; i++) print(told(beside[0].rowData.subarray(i * vocab, (i + 1) * vocab)));
print(told(beside[1].rowData) + " " + beside[1].status.toString() + " "
  + context.keep(list([0, 2])).must("keep").toString() + "\n");

const embeddings = model.tokenEmbeddings(prompt).must("rows");
const fresh = Context.create(model, 32).must("context");
const length = fresh.forwardEmbeddings(embeddings, row).must("rows");
print("rows " + embeddings.length.toString() + " " + bits(embeddings[0]) + " "
  + bits(embeddings[embeddings.length - 1]) + " " + length.toString() + told(row) + "\n");
const one = model.embed(prompt).must("embed");
const all = model.embed(prompt, raw.POOLING_NONE, 0).must("embed");
print("embed " + one.length.toString() + " " + bits(one[0]) + " " + bits(one[one.length - 1]) + " "
  + bits(all[0]) + " " + bits(all[all.length - 1]) + "\n");

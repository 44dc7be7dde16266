// Who may use a context while the device generates on it, and behind that; see test_ahead.
import { Context, Generation, Model, Result, Sampler, print } from "driftwood";

function code<T>(result: Result<T>): string {
  return result.ok ? "0" : result.failure!.code.toString();
}

const model = Model.open().must("model");
const sampler = Sampler.create(model).must("sampler");
const context = Context.create(model, 64).must("context");
const prompt = model.tokenize("The sea").must("tokens");
const one = new Generation(8);
const other = new Generation(8);
one.begin(context, sampler, prompt).must("begin");
const twice = code(one.begin(context, sampler, prompt));
print("taken " + code(context.fork()) + " " + code(context.trim(0)) + " " + code(context.forward(prompt)) + " "
  + code(other.begin(context, sampler, prompt)) + " " + code(sampler.accept(1)) + "\n");
while (!one.ended) one.wait().must("wait");
print("ended " + one.chosen.length.toString() + " " + one.end().must("end").toString() + " "
  + one.wait().must("wait").toString() + "\n");
const fork = context.fork();
const free = code(fork) + " " + code(context.trim(2)) + " " + code(context.forward(prompt));
fork.value.close().must("close");
other.begin(context, sampler, prompt).must("begin");
print("free " + free + ", again " + one.wait().must("wait").toString() + " " + (other.ended ? "true" : "false")
  + "\n");
const closed = code(context.close());
print("closing " + closed + ", then " + code(context.trim(0)) + "\n");
other.end().must("end");
context.close().must("close");
print("closed " + code(context.close()) + ", then " + code(context.fork()) + " " + code(context.trim(0)) + "\n");
if (twice != "-11") print("begun twice\n");

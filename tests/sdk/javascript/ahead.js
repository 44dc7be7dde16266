// Who may use a context while the device generates on it, and behind that; see test_ahead.
import { Context, Model, Sampler, print } from "driftwood";

function code(call) {
  try {
    call();
    return 0;
  } catch (error) {
    return error.code;
  }
}

const model = new Model();
const sampler = new Sampler(model);
const context = new Context(model, 64);
const prompt = model.tokenize("The sea");
const begin = (on) => on.generate(sampler, prompt, { tokensMax: 8 });
const one = begin(context);
const taken = [() => context.fork(), () => context.trim(0), () => context.forward(prompt), () => begin(context),
  () => sampler.accept(1)].map(code);
print(`taken ${taken.join(" ")}\n`);
while (!one.ended) one.wait();
print(`ended ${one.tokens.length} ${one.end()} ${one.wait()}\n`);
const free = [() => context.fork().close(), () => context.trim(2), () => context.forward(prompt)].map(code);
const other = begin(context);
print(`free ${free.join(" ")}, again ${one.wait()} ${other.ended}\n`);
const closed = code(() => context.close());
print(`closing ${closed}, then ${code(() => context.length)}\n`);
other.end();
context.close();
print(`closed ${code(() => context.close())}, then ${code(() => context.fork())} ${code(() => context.trim(0))}\n`);

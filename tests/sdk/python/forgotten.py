# A generation that nobody refers to any more, nor to its context, goes on: its memory stays its own.
import driftwood
import driftwood_native as raw
import gc
from driftwood import Context, Model, Sampler, octets, tokens

model = Model()
sampler = Sampler(model)


def begin(wake_tokens=0):
    context = Context(model, 64)
    return context, context.generate(sampler, model.tokenize("The sea"), 8, wake_tokens=wake_tokens)


def begin_and_forget():
    return begin()[0].handle


handle = begin_and_forget()
gc.collect()
others = [tokens([7] * 8) for _ in range(400)] + [octets([7] * 80) for _ in range(400)]
count = raw.generate_wait(handle)
changed = [one for one in others if one.tolist() != [7] * len(one)]
print(f"{count} chosen, {len(changed)} changed")
raw.generate_end(handle)
driftwood._under_way.clear()

context, generation = begin(1)
next(generation)
generation.end()
print("ended", len(driftwood._under_way))
context, generation = begin(1)
context.close()  # while it is under way
print("closed", len(driftwood._under_way))

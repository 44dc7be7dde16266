# What tests/guest/layers.c says, by this SDK.
from driftwood import Context, Model, Sampler, Step, Tree, constants, floats, forward_many, octets

C = constants
prompt = [504, 3575, 282, 4649, 314, 260]


def bits(value):
    one = floats([value])
    place = octets(4)
    place.put("f", 0, one[0])
    return place.get("u", 0)


def told(row):
    best = row.argmax()
    return f" {best}:{bits(row[best])}"


def refuses(act):
    try:
        act()
        return False
    except Exception:
        return True


model = Model()
vocab = model.info.vocab_count
context = Context(model, 64)
context.forward(prompt)

draft = [10, 20, 30, 40, 50, 60]
rows = floats(6 * vocab)
context.forward_tree(Tree(draft, parents=[-1, 0, 0, 1, 2, -1]), rows)
print("tree" + "".join([told(rows[i * vocab:(i + 1) * vocab]) for i in range(6)]))
refused = refuses(lambda: context.keep([3, 1]))
row = floats(vocab)
kept = context.keep([0, 1, 3])
context.forward([70], row)
print(f"kept {kept}" + told(row))
masked = Context(model, 32)
masked.forward(prompt[:3])
masked.forward_tree(Tree(draft[:3], positions=[3, 4, 3],
                         mask=[1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1]), rows[:2 * vocab])
short = refuses(lambda: masked.forward_tree(Tree(draft, parents=[-1])))
print("mask" + told(rows[:vocab]) + told(rows[vocab:2 * vocab]) + " "
      + ("refused" if refused and short else "taken"))

steps = [Step(context, [80], rows=1),
         Step(context.fork(), [81, 82], sampler=Sampler(model), top=3),
         Step(context.fork(), [83], rows=1, hidden=True)]
first, second, third = forward_many(steps)
through = len([one for one in steps if one.error is None])
print(f"many {through} {first.length}{told(first.rows)} {second.token} {bits(second.log_probability)} "
      + " ".join([str(one[0]) for one in second.top])
      + f" {bits(second.top[2][1])} {bits(third.rows[1])}")

leaves, plain = forward_many([Step(context, Tree([20, 30, 40], parents=[-1, 0, 0]), rows=3),
                              Step(context.fork(), [84], rows=1)])
print("steps 2" + "".join(told(leaves.rows[i * vocab:(i + 1) * vocab]) for i in range(3))
      + f"{told(plain.rows)} {plain.length} {context.keep([0, 2])}")

embeddings = model.token_embeddings(prompt)
fresh = Context(model, 32)
length = fresh.forward_embeddings(embeddings, row)
print(f"rows {len(embeddings)} {bits(embeddings[0])} {bits(embeddings[-1])} {length}{told(row)}")
one = model.embed(prompt)
every = model.embed(prompt, C.POOLING_NONE, 0)
print(f"embed {len(one)} {bits(one[0])} {bits(one[-1])} {bits(every[0])} {bits(every[-1])}")

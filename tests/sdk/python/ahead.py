# Who may use a context while the device generates on it, and behind that; see test_ahead.
from driftwood import Context, Model, Sampler


def code(call):
    try:
        call()
        return 0
    except Exception as e:
        return e.code


model = Model()
sampler = Sampler(model)
context = Context(model, 64)
prompt = model.tokenize("The sea")


def begin(on):
    return on.generate(sampler, prompt, 8)


def each(calls):
    codes = []
    for call in calls:
        begin(context)  # the call ends it
        codes.append(str(code(call)))
    return " ".join(codes)


print("taken", each([lambda: context.fork().close(), lambda: context.trim(0), lambda: context.forward(prompt),
                     lambda: begin(context)]), code(lambda: sampler.accept(1)))
context.trim(0)
one = begin(context)
while not one.ended:
    one.wait()
print("ended", len(one.tokens), one.end(), one.wait())
free = [str(code(call)) for call in [lambda: context.fork().close(), lambda: context.trim(2),
                                     lambda: context.forward(prompt)]]
other = begin(context)
print(f"free {' '.join(free)}, again {one.wait()} {other.ended}".lower())
closed = code(lambda: context.close())
print(f"closing {closed}, then", code(lambda: context.length))
closed = code(lambda: context.close())
print(f"closed {closed}, then", code(lambda: context.fork()), code(lambda: context.trim(0)))

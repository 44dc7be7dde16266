"""Driftwood's guest API for Python. Every function of the ABI is described in docs/guest-abi.md; `raw`
has them as they are. What has a close() is open until that is called, or the guest ends."""
import json

import driftwood_native as raw
import driftwood_raw as constants

C = constants
Buffer = raw.Buffer

# This module's, which is Driftwood's.
version = "0.1.0"

# ---- errors and memory ---------------------------------------------------------------------

_status_names = {}
for _name in dir(constants):
    if _name.startswith("E_") and getattr(constants, _name) < 0:
        _status_names[getattr(constants, _name)] = _name


class DriftwoodError(Exception):
    """A status below zero, with the host's words: code, status ("E_LIMIT"), message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.status = _status_names.get(code, "unknown")
        self.message = message


def _check(result):
    if result >= 0:
        return result
    words = raw.alloc("B", 256)
    length = raw.last_error(words, len(words))
    raise DriftwoodError(result, raw.text(words, max(length, 0)))


def floats(count):
    """Zeros, or the numbers of a list, where every device uses them in place."""
    return _buffer("f", count)


def tokens(count):
    """The same of 32-bit integers."""
    return _buffer("i", count)


def octets(count):
    return _buffer("B", count)


def _buffer(kind, count):
    if isinstance(count, int):
        return raw.alloc(kind, count)
    if isinstance(count, bytes):
        count = list(count)
    elif not isinstance(count, Buffer) and not isinstance(count, tuple):
        count = list(count)
    out = raw.alloc(kind, len(count))
    out[:] = count
    return out


def _aligned(values, kind):
    if isinstance(values, Buffer) and values.kind == kind and raw.address(values) % C.TENSOR_ALIGN == 0:
        return values
    return _buffer(kind, values)


def _bytes_of(message):
    if isinstance(message, str):
        return message.encode()
    if not isinstance(message, bytes) and not isinstance(message, Buffer):
        raise TypeError(f"str or bytes is needed, not {type(message).__name__}")
    return message


def _growing(kind, room, told, write):
    """What `write` writes into a buffer that grows until it fits, and what that returned."""
    room = max(room, 4)
    while True:
        out = raw.alloc(kind, room)
        result = write(out, room)
        if result >= 0:
            return out, result
        if result != C.E_SPACE or room > 1 << 28:
            _check(result)
        room = out.get("u", 0) if told else 2 * room


def _growing_text(room, told, write):
    out, size = _growing("B", room, told, write)
    return raw.text(out, size)


def _growing_bytes(room, told, write):
    out, size = _growing("B", room, told, write)
    return out[:size].tobytes()


def _growing_tokens(room, told, write):
    out, count = _growing("i", room, told, write)
    return out[:count]


class Struct:
    """A struct of the ABI, in memory of its own or in a part of a buffer."""

    def __init__(self, name, values=None, within=None, at=0):
        self.name = name
        size, self.fields = C.structs[name]
        self.at = at
        self.buffer = raw.alloc("B", size) if within is None else within
        self.held = []  # what it points at
        for field, value in (values or {}).items():
            self.put(field, value)

    def field(self, name):
        found = self.fields.get(name)
        if found is None:
            raise TypeError(f"{self.name} has no {name}")
        return found

    def get(self, name):
        kind, offset, count = self.field(name)
        offset += self.at
        size = 8 if kind in "IFU" else 4
        if count == 0:
            return self.buffer.get(kind, offset)
        return [self.buffer.get(kind, offset + size * i) for i in range(count)]

    def put(self, name, value):
        kind, offset, count = self.field(name)
        offset += self.at
        size = 8 if kind in "IFU" else 4
        if isinstance(value, Buffer) or isinstance(value, bytes):
            self.held.append(value)
            value = raw.address(value)
        if count == 0:
            self.buffer.put(kind, offset, value)
            return
        if len(value) > count:
            raise ValueError(f"{self.name}.{name}: {len(value)} values, room for {count}")
        for i, one in enumerate(value):
            self.buffer.put(kind, offset + size * i, one)


class Record:
    """Fields with values."""

    def __init__(self, values):
        for name, value in values.items():
            setattr(self, name, value)


# ---- the host ------------------------------------------------------------------------------

def abi_version():
    return raw.abi_version()


def clock_ns():
    return raw.clock_ns()


def host_copied_bytes():
    return raw.host_copied_bytes()


def device_name():
    return _growing_text(256, False, raw.device_name)


def input_bytes():
    """The next message from outside; None: there are no more."""
    try:
        return _growing_bytes(4096, False, raw.input)
    except DriftwoodError as error:
        if error.code == C.E_END:
            return None
        raise error


def input():
    data = input_bytes()
    return None if data is None else raw.text(data, len(data))


def call_bytes(name, request):
    """A granted tool's answer. The request is str, bytes, or what becomes JSON."""
    if not isinstance(request, str) and not isinstance(request, bytes):
        request = json.dumps(request, ensure_ascii=False)
    asked = _bytes_of(request)
    own = name.encode()
    answer = raw.alloc("B", 4096)
    result = raw.call(own, len(own), asked, len(asked), answer, len(answer))
    if result == C.E_SPACE:
        return _growing_bytes(1 << 14, False, raw.call_answer)
    return answer[:_check(result)].tobytes()


def call(name, request):
    """The same, as text."""
    answer = call_bytes(name, request)
    return raw.text(answer, len(answer))


def write(text):
    """To standard output, at once."""
    raw.write(1, text)


def env(name, default=None):
    """A variable of the guest's environment, such as DRIFTWOOD_PROMPT."""
    value = raw.env(name)
    return default if value is None else value


# ---- handles -------------------------------------------------------------------------------

class Handle:
    handle = 0

    def close(self):
        """Not to be used afterwards."""
        own = self.handle
        self.handle = 0
        if own != 0:
            _check(self._close(own))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _room_for(buffer, needed):
    if not isinstance(buffer, Buffer) or buffer.kind != "f" or len(buffer) < needed:
        raise ValueError(f"floats({needed}) are needed")


def _rows_of(buffer, width, most):
    if buffer is not None and (not isinstance(buffer, Buffer) or buffer.kind != "f"):
        raise TypeError(f"rows go to floats(n), not to {type(buffer).__name__}")
    return 0 if buffer is None else min(len(buffer) // width, most)


class Model(Handle):
    def __init__(self, name="", handle=None):
        """By a granted name; without one, the first."""
        if handle is None:
            own = name.encode()
            handle = _check(raw.model_open(own, len(own)))
        self.handle = handle
        info = Struct("model_info")
        _check(raw.model_info(handle, info.buffer))
        self.info = Record({field: info.get(field) for field in info.fields.keys()})

    def _close(self, handle):
        return raw.model_close(handle)

    @staticmethod
    def names():
        return [_growing_text(C.MODEL_NAME_MAX + 1, False, lambda to, room: raw.model_name(i, to, room))
                for i in range(max(raw.model_count(), 0))]

    def loras(self):
        """Names of the LoRA adapters that the host has loaded for it."""
        return [_growing_text(C.LORA_NAME_MAX + 1, False,
                              lambda to, room: raw.lora_name(self.handle, i, to, room))
                for i in range(max(raw.lora_count(self.handle), 0))]

    def tokenize(self, text, flags=None):
        """flags: constants.TOKENIZE_..."""
        data = _bytes_of(text)
        flags = C.TOKENIZE_SPECIAL if flags is None else flags
        return _growing_tokens(len(data) + 16, True, lambda to, room: raw.tokenize(
            self.handle, data, len(data), to, room, flags))

    def detokenize_bytes(self, values, flags=0):
        own = _aligned(values, "i")
        return _growing_bytes(len(own) * 16 + 16, False, lambda to, room: raw.detokenize(
            self.handle, own, len(own), to, room, flags))

    def detokenize(self, values, flags=0):
        data = self.detokenize_bytes(values, flags)
        return raw.text(data, len(data))

    def is_end(self, token):
        return raw.token_is_end(self.handle, token) == 1

    def chat_template(self, messages, open_answer=True):
        """messages: [{"role": ..., "content": ...}], as the model's own template has them."""
        texts = []
        for message in messages:
            texts.append(octets((message["role"] + "\0").encode()))
            texts.append(octets((message["content"] + "\0").encode()))
        places = tokens([raw.address(text) for text in texts])
        return _growing_text(4096, False, lambda to, room: raw.chat_template(
            self.handle, places, len(messages), open_answer, to, room))

    def chat_render(self, request):
        """Requests are dicts with OpenAI's names: messages, tools, response_format ..."""
        text = json.dumps(request, ensure_ascii=False).encode()
        return _growing_text(4096, True, lambda to, room: raw.chat_render(
            self.handle, text, len(text), to, room))

    def chat_tokenize(self, request, skip=0):
        text = json.dumps(request, ensure_ascii=False).encode()
        return _growing_tokens(1024, True, lambda to, room: raw.chat_tokenize(
            self.handle, text, len(text), skip, to, room))

    def chat_parse(self, request, answer, partial=False):
        """The model's answer, with its special tokens, as a message. partial: it goes on."""
        text = json.dumps(request, ensure_ascii=False).encode()
        said = _bytes_of(answer)
        flags = C.CHAT_PARTIAL if partial else 0
        return json.loads(_growing_text(len(said) + 1024, True, lambda to, room: raw.chat_parse(
            self.handle, text, len(text), said, len(said), flags, to, room)))

    def chat_info(self, request):
        text = json.dumps(request, ensure_ascii=False).encode()
        return json.loads(_growing_text(4096, True, lambda to, room: raw.chat_info(
            self.handle, text, len(text), to, room)))

    def embed(self, values, pooling=None, flags=None):
        """embedding_length floats; with POOLING_NONE for each token."""
        own = _aligned(values, "i")
        pooling = C.POOLING_MODEL if pooling is None else pooling
        flags = C.EMBED_NORMALIZE if flags is None else flags
        rows = len(own) if pooling == C.POOLING_NONE else 1
        out = floats(rows * self.info.embedding_length)
        _check(raw.embed(self.handle, own, len(own), pooling, flags, out))
        return out

    def token_embeddings(self, values):
        own = _aligned(values, "i")
        out = floats(len(own) * self.info.embedding_length)
        _check(raw.token_embeddings(self.handle, own, len(own), out))
        return out

    def greedy(self, logits):
        _room_for(logits, self.info.vocab_count)
        return _check(raw.greedy(self.handle, logits))


class Sampler(Handle):
    """params: fields of dw_sampler_params, as temperature=0.7; none: greedy."""

    def __init__(self, model, **params):
        own = Struct("sampler_params", params)
        own.put("struct_bytes", C.structs["sampler_params"][0])
        self.handle = _check(raw.sampler_create(model.handle, own.buffer))
        self.model = model

    def _close(self, handle):
        return raw.sampler_close(handle)

    def logit_bias(self, biases):
        """biases: [(token, bias)]."""
        values = raw.alloc("B", 8 * len(biases))
        for i, pair in enumerate(biases):
            values.put("i", 8 * i, pair[0])
            values.put("f", 8 * i + 4, pair[1])
        _check(raw.sampler_logit_bias(self.handle, values, len(biases)))

    def dry_breakers(self, breakers):
        texts = [octets((text + "\0").encode()) for text in breakers]
        places = tokens([raw.address(text) for text in texts])
        _check(raw.sampler_dry_breakers(self.handle, self.model.handle, places, len(texts)))

    def grammar(self, text):
        """GBNF; "": none."""
        own = text.encode()
        _check(raw.sampler_grammar(self.handle, self.model.handle, own, len(own)))

    def json_schema(self, schema):
        own = (schema if isinstance(schema, str) else json.dumps(schema, ensure_ascii=False)).encode()
        _check(raw.sampler_json_schema(self.handle, self.model.handle, own, len(own)))

    def chat(self, request):
        """Whether the request asks for tool calls or an answer to be held to a schema."""
        own = json.dumps(request, ensure_ascii=False).encode()
        return _check(raw.sampler_chat(self.handle, self.model.handle, own, len(own))) == 1

    def mask(self, logits):
        _room_for(logits, self.model.info.vocab_count)
        _check(raw.sampler_mask(self.handle, logits))

    def fork(self, seed=0):
        """With seed 0 it draws as this one would."""
        made = Sampler.__new__(Sampler)
        made.handle = _check(raw.sampler_fork(self.handle, seed))
        made.model = self.model
        return made

    def sample(self, logits):
        _room_for(logits, self.model.info.vocab_count)
        return _check(raw.sample(self.handle, logits))

    def accept(self, token):
        _check(raw.sampler_accept(self.handle, token))


# ---- contexts ------------------------------------------------------------------------------

class Tree:
    """A tree of tokens behind a context: parents, positions and mask as in dw_tree_shape."""

    def __init__(self, values, parents=None, positions=None, mask=None):
        self.tokens = _aligned(values, "i")
        self.parents = parents
        self.positions = positions
        self.mask = mask

    def fill(self, step, length):
        """The fields of a step or a shape, for a context of that length."""
        count = len(self.tokens)
        for name in ("parents", "positions"):
            values = getattr(self, name)
            if values is not None:
                if len(values) != count:
                    raise ValueError(f"{name}: {len(values)} for {count} tokens")
                step.put(name, _aligned(values, "i"))
        if self.mask is not None:
            if len(self.mask) != count * (length + count):
                raise ValueError("mask: [tokens][length + tokens] is needed")
            step.put("mask", octets(self.mask))


class Context(Handle):
    def __init__(self, model, tokens_max=0, handle=None):
        """tokens_max 0: as long as model and limits allow."""
        self.handle = _check(raw.context_create(model.handle, tokens_max)) if handle is None else handle
        self.model = model
        self.generation = None  # under way, or forgotten under way

    def _close(self, handle):
        if self.generation is not None:  # under which it is not closed
            raw.generate_end(handle)
            self._leave(handle)
        return raw.context_close(handle)

    def _leave(self, handle):
        """No generation is under way any more."""
        self.generation = None
        _under_way.pop(handle, None)

    def _own(self):
        """The handle, free: a generation whose loop was left ends here."""
        if self.generation is not None:
            self.generation.end()
        return self.handle

    @staticmethod
    def open(model, name, tokens_max=0):
        """What was saved under the name, here or in another guest."""
        own = name.encode()
        return Context(model, 0, _check(raw.context_open(model.handle, own, len(own), tokens_max)))

    def save(self, name):
        """Under a name, in the place of what had it."""
        own = name.encode()
        _check(raw.context_save(self._own(), own, len(own)))

    @staticmethod
    def remove(name):
        """Removes what was saved under the name; it needs the grant to save under it."""
        own = name.encode()
        _check(raw.context_remove(own, len(own)))

    def fork(self):
        return Context(self.model, 0, _check(raw.context_fork(self._own())))

    @property
    def length(self):
        return _check(raw.context_length(self._own()))

    @property
    def capacity(self):
        return _check(raw.context_capacity(self.handle))

    def trim(self, length):
        _check(raw.context_trim(self._own(), length))

    def shift(self, keep, drop):
        return _check(raw.context_shift(self._own(), keep, drop))

    def window(self, sink, window):
        """Holds its first `sink` tokens and at most `window` more from now on; 0 and 0: all."""
        _check(raw.context_window(self._own(), sink, window))

    def set_loras(self, loras):
        """While it is empty: these adapters of its model, [(index, scale)]."""
        indices = tokens([index for index, _ in loras] + [0])
        scales = floats([scale for _, scale in loras] + [0.0])
        _check(raw.context_set_loras(self._own(), indices, scales, len(loras)))

    def loras(self):
        """Those that it has, as set_loras takes them."""
        indices = tokens(C.LORAS_MAX)
        scales = floats(C.LORAS_MAX)
        count = _check(raw.context_loras(self.handle, indices, scales, C.LORAS_MAX))
        return [(indices[i], scales[i]) for i in range(count)]

    def keep_rows(self, count):
        """Keeps rows of logits of the last `count` tokens from now on."""
        _check(raw.context_rows(self._own(), count))

    def logits(self, row=None):
        """The last token's row once more, where it is kept."""
        row = floats(self.model.info.vocab_count) if row is None else row
        _room_for(row, self.model.info.vocab_count)
        _check(raw.context_logits(self._own(), row))
        return row

    def forward(self, values, logits=None):
        """Appends tokens: the new length. logits: whole rows, for the last so many tokens."""
        own = _aligned(values, "i")
        rows = _rows_of(logits, self.model.info.vocab_count, len(own))
        return _check(raw.forward(self._own(), own, len(own), logits if rows > 0 else None, rows))

    def forward_hidden(self, values, hidden):
        own = _aligned(values, "i")
        rows = _rows_of(hidden, self.model.info.embedding_length, len(own))
        return _check(raw.forward_hidden(self._own(), own, len(own), hidden, rows))

    def forward_embeddings(self, embeddings, logits=None):
        own = _aligned(embeddings, "f")
        count = len(own) // self.model.info.embedding_length
        rows = _rows_of(logits, self.model.info.vocab_count, count)
        return _check(raw.forward_embeddings(self._own(), own, count, logits if rows > 0 else None,
                                             rows))

    def forward_top(self, values, count):
        """Appends tokens: the `count` likeliest to follow, [(token, log probability)]."""
        own = _aligned(values, "i")
        top = tokens(count)
        chances = floats(count)
        _check(raw.forward_top(self._own(), own, len(own), top, chances, count))
        return [(top[i], chances[i]) for i in range(count)]

    def forward_sample(self, values, sampler):
        """Appends tokens and chooses the next one, which is not appended."""
        own = _aligned(values, "i")
        return _check(raw.forward_sample(self._own(), own, len(own), sampler.handle))

    def forward_tree(self, tree, logits=None):
        """Computes a Tree; keep() appends a path of it."""
        step = Struct("forward_tree_step", {
            "context": self._own(), "tokens": tree.tokens, "token_count": len(tree.tokens)})
        rows = _rows_of(logits, self.model.info.vocab_count, len(tree.tokens))
        if rows > 0:
            step.put("rows", logits)
            step.put("row_count", rows)
        tree.fill(step, self.length if tree.mask is not None else 0)
        return _check(raw.forward_tree(step.buffer))

    def keep(self, path):
        own = _aligned(path, "i")
        return _check(raw.context_keep(self._own(), own, len(own)))

    def generate(self, sampler, prompt, tokens_max, stop_tokens=None, stop_strings=None, flags=0,
                 wake_tokens=1):
        """Lets the device go on by itself: `for token in context.generate(...)`. The token that ends
        it is not given. A loop that is left ends when the context is used again."""
        return Generation(self, sampler, prompt, tokens_max, stop_tokens or [], stop_strings or [],
                          flags, wake_tokens)


# Generations under way by their contexts' handles: the host writes to their memory, whoever has
# forgotten them and their contexts.
_under_way = {}


class Generation:
    def __init__(self, context, sampler, prompt, tokens_max, stop_tokens, stop_strings, flags,
                 wake_tokens):
        own = context._own()
        self.context = context
        self.taken = 0
        self.list = tokens(tokens_max)
        texts = [octets(text.encode()) for text in stop_strings]
        strings = raw.alloc("B", 8 * len(texts))
        for i, text in enumerate(texts):
            strings.put("u", 8 * i, raw.address(text))
            strings.put("u", 8 * i + 4, len(text))
        prompt = _aligned(prompt, "i")
        self.request = Struct("generate_request", {
            "struct_bytes": C.structs["generate_request"][0], "flags": flags, "prompt": prompt,
            "prompt_count": len(prompt), "tokens": self.list, "tokens_max": tokens_max,
            "wake_tokens": wake_tokens, "stop_tokens": _aligned(stop_tokens, "i"),
            "stop_token_count": len(stop_tokens), "stop_strings": strings,
            "stop_string_count": len(texts)})
        self.request.held.append(texts)
        _check(raw.generate_begin(own, sampler.handle, self.request.buffer))
        context.generation = self
        _under_way[own] = self

    def _left(self):
        if self.context.generation is self:
            self.context._leave(self.context.handle)

    @property
    def ended(self):
        if self.request.get("end") == C.GENERATE_GOES_ON:
            return False
        self._left()
        return True

    @property
    def tokens(self):
        """Those chosen so far."""
        return self.list[:self.request.get("token_count")]

    @property
    def why(self):
        """constants.GENERATE_..."""
        return self.request.get("end")

    @property
    def stop_index(self):
        return self.request.get("stop_index")

    def wait(self):
        """Until there is more, or the end: how many tokens there are."""
        if self.ended:  # the context may have another one by now
            return self.request.get("token_count")
        result = raw.generate_wait(self.context.handle)
        if result < 0:
            self._left()
        self.ended
        return _check(result)

    def end(self):
        """Ends it, if it goes on: how many tokens there are."""
        if self.ended:
            return self.request.get("token_count")
        result = raw.generate_end(self.context.handle)
        self._left()
        return _check(result)

    def __iter__(self):
        return self

    def __next__(self):
        # In one call: how often is waited depends on time, and objects made meanwhile would be another
        # state of an actor.
        token = raw.next_token(self.context.handle, self.context.model.handle, self.request.buffer,
                               self.taken)
        if token >= 0:
            self.taken += 1
            return token
        self._left()
        if token != C.E_END:
            _check(token)
        raise StopIteration

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Step:
    """One of forward_many: tokens appended to a context, or a Tree behind it, and what is wanted of
    them. Behind forward_many: length, token, log_probability, rows, top; error, or None."""

    def __init__(self, context, values, sampler=None, top=0, rows=0, hidden=False):
        self.context = context
        self.tree = values if isinstance(values, Tree) else None
        self.tokens = self.tree.tokens if self.tree else _aligned(values, "i")
        self.sampler = sampler
        self.top_count = top
        self.row_count = rows
        self.hidden = hidden
        self.error = None
        self.length = 0
        self.token = -1
        self.log_probability = 0.0
        self.rows = None
        self.top = None
        self.own = None

    def fill(self, within, at):
        info = self.context.model.info
        self.own = own = Struct("forward_step", {
            "context": self.context._own(), "tokens": self.tokens,
            "token_count": len(self.tokens)}, within, at)
        flags = 0
        if self.row_count > 0:
            self.rows = floats(self.row_count * (
                info.embedding_length if self.hidden else info.vocab_count))
            own.put("rows", self.rows)
            own.put("row_count", self.row_count)
            flags |= C.FORWARD_HIDDEN if self.hidden else 0
        if self.sampler is not None:
            own.put("sampler", self.sampler.handle)
            flags |= C.FORWARD_LOG_PROBABILITY
        if self.top_count > 0:
            self.top_tokens = tokens(self.top_count)
            self.chances = floats(self.top_count)
            own.put("top_count", self.top_count)
            own.put("top_tokens", self.top_tokens)
            own.put("top_log_probabilities", self.chances)
        if self.tree is not None:
            shape = Struct("tree_shape")
            self.tree.fill(shape, self.context.length if self.tree.mask is not None else 0)
            own.held.append(shape)
            own.put("tree", shape.buffer)
        own.put("flags", flags)

    def take(self):
        status = self.own.get("status")
        if status < 0:
            self.error = DriftwoodError(status, _status_names.get(status, "unknown"))
            return
        self.length = status
        if self.sampler is not None:
            self.token = self.own.get("token")
            self.log_probability = self.own.get("log_probability")
        if self.top_count > 0:
            self.top = [(self.top_tokens[i], self.chances[i]) for i in range(self.top_count)]


def forward_many(steps):
    """Steps of different contexts in one run of the device; returns them."""
    size = C.structs["forward_step"][0]
    values = raw.alloc("B", size * len(steps))
    for i, step in enumerate(steps):
        step.fill(values, size * i)
    through = raw.forward_many(values, len(steps))
    if through < 0 and through != C.E_CANCELLED:
        _check(through)
    for step in steps:
        step.take()
    return steps


# ---- chats ---------------------------------------------------------------------------------

class TextStream:
    """Text that comes token by token, in whole characters."""

    def __init__(self, model, out=None):
        self.model = model
        self.out = write if out is None else out
        self.held = b""

    def put(self, token):
        self.held = self.held + self.model.detokenize_bytes([token])
        whole = len(self.held)
        for back in range(1, min(3, whole) + 1):
            byte = self.held[whole - back]
            if byte & 0xc0 != 0x80:
                length = 1 + (byte >= 0xc0) + (byte >= 0xe0) + (byte >= 0xf0)
                if length > back:
                    whole -= back
                break
        if whole > 0:
            text = self.held[:whole]
            self.held = self.held[whole:]
            self.out(raw.text(text, len(text)))


class Chat:
    """A conversation whose context keeps what it has computed: an answer costs the tokens that are
    new. For models with a chat template. options: further members of the requests, as tools."""

    def __init__(self, model, params=None, **options):
        self.model = model
        self.params = params or {}
        self.options = options
        self.messages = []
        self.context = None
        self.held = []

    def add(self, role, content=None):
        self.messages.append({"role": role, "content": content} if isinstance(role, str) else role)

    def answer(self, tokens_max, out=None):
        """Has the model answer, gives its text to `out` as it comes, and adds the answer. The answer:
        {"role", "content", "tool_calls"?}."""
        request = {"messages": self.messages}
        request.update(self.options)
        sampler = Sampler(self.model, **self.params)
        try:
            message = self._answer(request, sampler, tokens_max, out)
        except Exception as error:
            sampler.close()
            raise error
        sampler.close()
        return message

    def _answer(self, request, sampler, tokens_max, out):
        values = self.model.chat_tokenize(request)
        for token in values:
            sampler.accept(token)
        sampler.chat(request)
        if self.context is None:
            self.context = Context(self.model)
        same = 0
        while same < len(self.held) and same + 1 < len(values) and self.held[same] == values[same]:
            same += 1
        self.context.trim(same)
        self.held = self.held[:same]
        stream = TextStream(self.model, out)
        said = b""
        speech = self.context.generate(sampler, values[same:], tokens_max)
        for token in speech:
            said = said + self.model.detokenize_bytes([token], C.DETOKENIZE_SPECIAL)
            stream.put(token)
        self.held = values.tolist() + speech.tokens[:-1].tolist()
        message = self.model.chat_parse(request, said)
        self.messages.append(message)
        return message


# ---- actors --------------------------------------------------------------------------------

def _id(write_it):
    own = raw.alloc("B", 64)
    _check(write_it(own, len(own)))
    end = 0
    while own[end] != 0:
        end += 1
    return raw.text(own, end)


class actor:
    """A program that is an actor has a function receive(message); what that returns, yields piece by
    piece, or replies, is the answer. Variables keep their values between messages."""

    @staticmethod
    def id():
        return _id(raw.actor_id)

    @staticmethod
    def message_from():
        """Who sent the message: an actor's id, this one's own for timers, "" for outside."""
        return _id(raw.message_from)

    @staticmethod
    def message_bytes():
        """The message under way as it came; receive() gets it as text."""
        return raw.message()

    @staticmethod
    def message_kind():
        """MESSAGE_PLAIN, or MESSAGE_WATCH: the host's word about an actor that is watched."""
        return _check(raw.message_kind())

    @staticmethod
    def reply(message):
        data = _bytes_of(message)
        _check(raw.reply(data, len(data)))

    @staticmethod
    def reply_later():
        """The message is answered later: the ticket for reply_to."""
        return _check(raw.reply_later())

    @staticmethod
    def reply_to(ticket, message, last=True):
        """The next piece of the answer that a ticket is for; last: it is whole."""
        data = _bytes_of(message)
        _check(raw.reply_to(ticket, data, len(data), C.REPLY_LAST if last else 0))

    @staticmethod
    def send(to, message):
        """To an actor by its id, in a runtime also "@NAME" and "#GROUP"."""
        whom = to.encode()
        data = _bytes_of(message)
        _check(raw.actor_send(whom, len(whom), data, len(data)))

    @staticmethod
    def watch(whom, events=0):
        """A message once that actor has ended or could not be made; events, WATCH_ON_*: also when
        that happens."""
        own = whom.encode()
        _check(raw.actor_watch(own, len(own), events))

    @staticmethod
    def unwatch(whom):
        own = whom.encode()
        _check(raw.actor_unwatch(own, len(own)))

    @staticmethod
    def spawn(guest, message):
        """guest "": this one's own module. The new actor's id."""
        own = guest.encode()
        data = _bytes_of(message)
        return _id(lambda to, room: raw.actor_spawn(own, len(own), data, len(data), to, room))

    @staticmethod
    def fork(message):
        """A copy of this actor as it is after this message: its id."""
        data = _bytes_of(message)
        return _id(lambda to, room: raw.actor_fork(data, len(data), to, room))

    @staticmethod
    def timer(wait_ms, message):
        data = _bytes_of(message)
        _check(raw.actor_timer(wait_ms, data, len(data)))

    @staticmethod
    def join(group):
        own = group.encode()
        _check(raw.group_join(own, len(own)))

    @staticmethod
    def leave(group):
        own = group.encode()
        _check(raw.group_leave(own, len(own)))

    @staticmethod
    def stop():
        _check(raw.actor_stop())

    @staticmethod
    def give_state(message):
        """In state(): appends to what is handed over to another module."""
        data = _bytes_of(message)
        _check(raw.state_give(data, len(data)))

    @staticmethod
    def take_state():
        """In upgrade(): all that the module before handed over."""
        out = octets(_check(raw.state_bytes()))
        taken = 0
        while taken < len(out):
            more = _check(raw.state_take(out[taken:], len(out) - taken))
            if more == 0:
                break
            taken += more
        return out[:taken].tobytes()

    @staticmethod
    def keep(handle):
        """In upgrade(): a model, context or sampler of the module before stays open."""
        _check(raw.handle_keep(handle))


# ---- tensor graphs -------------------------------------------------------------------------

class Graph(Handle):
    """Over buffers of floats() and tokens(): docs/guest-abi-tensors.md."""

    def __init__(self):
        self.handle = _check(raw.graph_create())
        self.over = []  # what it stands over

    def _close(self, handle):
        self.over = []
        return raw.graph_destroy(handle)

    def tensor(self, data, sizes, kind=None):
        """A tensor of these sizes over floats or tokens, or of any type over a buffer."""
        if kind is None:
            kind = C.I32 if data.kind == "i" else C.F32
        count = 1
        for size in sizes:
            count *= size
        if data.kind != "B" and count > len(data):
            raise ValueError(f"a tensor of {count} elements over {len(data)}")
        self.over.append(data)
        ne = tokens((list(sizes) + [1, 1, 1, 1])[:4])
        return _check(raw.graph_tensor(self.handle, kind, ne, data))

    def op(self, what, inputs, **params):
        """constants.OP_... on up to four tensors; params: i, f."""
        values = tokens((list(inputs) + [0, 0, 0, 0])[:4])
        own = Struct("op_params", params).buffer if len(params) > 0 else None
        return _check(raw.graph_op(self.handle, what, values, own))

    def shape(self, tensor):
        """type, dims and ne."""
        shape = Struct("shape")
        _check(raw.tensor_shape(self.handle, tensor, shape.buffer))
        return Record({field: shape.get(field) for field in shape.fields.keys()})

    def output(self, tensor, data):
        count = 1
        for size in self.shape(tensor).ne:
            count *= size
        _room_for(data, count)
        self.over.append(data)
        _check(raw.graph_output(self.handle, tensor, data))

    def build(self):
        _check(raw.graph_build(self.handle))

    def run(self):
        _check(raw.graph_run(self.handle))

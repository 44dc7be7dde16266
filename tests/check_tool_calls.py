#!/usr/bin/env python3
"""Tool calls of the default model under tool_choice "required", each held against its tool's JSON
Schema by the package jsonschema.

check_tool_calls.py SOURCE BUILD [COUNT]: COUNT answers in all (15, under DW_TEST_SHORT 3; 200 shows what the
documents say).
The model is small: that a call is valid is the grammar's doing, not its wit.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    print("skipped: the package jsonschema is not there")
    sys.exit(77)


def tool(name, properties, required=(), **more):
    parameters = {"type": "object", "properties": properties, "required": list(required), **more}
    return {"type": "function", "function": {"name": name, "description": f"Does {name}.",
                                             "parameters": parameters}}


TOOLS = [
    tool("get_weather", {"city": {"type": "string", "maxLength": 40},
                         "unit": {"enum": ["celsius", "fahrenheit"]},
                         "days": {"type": "integer", "minimum": 1, "maximum": 14}},
         ["city", "days"], additionalProperties=False),
    tool("set_thermostat", {"room": {"type": "string", "pattern": "^[a-z]{3,12}$"},
                            "degrees": {"type": "number", "minimum": 5, "maximum": 30.5}},
         ["room", "degrees"]),
    tool("book_table", {"at": {"type": "string", "format": "date-time"},
                        "guests": {"type": "array", "minItems": 1, "maxItems": 4,
                                   "items": {"type": "object", "properties": {
                                       "name": {"type": "string", "minLength": 1,
                                                "maxLength": 20},
                                       "vegan": {"type": "boolean"}}, "required": ["name"],
                                       "additionalProperties": False}}}, ["at", "guests"]),
    tool("choose", {"option": {"anyOf": [{"const": "none"},
                                         {"type": "integer", "exclusiveMinimum": 0,
                                          "maximum": 99}]},
                    "why": {"type": ["string", "null"], "maxLength": 60}}, ["option"]),
    tool("no_arguments", {}),
]
ASKS = ["What will the weather be in Oslo for three days?", "Make the kitchen warmer, please.",
        "A table for Ann and Bob tomorrow at eight.", "Which option shall we take?", "Go."]
TEMPLATES = [None, "hermes", "chatml"]


def requests():
    """(request, template): all tools at once, and each by its name."""
    for template in TEMPLATES:
        for i, ask in enumerate(ASKS):
            choice = "required" if i % 2 == 0 else {
                "type": "function", "function": {"name": TOOLS[i]["function"]["name"]}}
            yield {"messages": [{"role": "user", "content": ask}], "tools": TOOLS,
                   "tool_choice": choice, "parallel_tool_calls": i == 0}, template


def calls(program, model, request, template, count):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(request, file)
        file.flush()
        done = subprocess.run([program, model, file.name, str(count)] +
                              ([template] if template else []), capture_output=True, text=True,
                              timeout=1200, check=False)
    if done.returncode != 0:
        raise SystemExit(f"call_tools: {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(message, request, seen):
    """-> why the message is wrong, or None."""
    schemas = {t["function"]["name"]: t["function"]["parameters"] for t in request["tools"]}
    made = message.get("tool_calls", [])
    # An answer that ended at the limit of tokens in the middle of a later call has a note, and what
    # there is of that call as its content.
    if not made or (message["content"].strip() and "note" not in message):
        return "no call at once"
    if len(made) > 1 and not request["parallel_tool_calls"]:
        return "several calls"
    for call in made:
        function = call["function"]
        wanted = request["tool_choice"]
        if isinstance(wanted, dict) and function["name"] != wanted["function"]["name"]:
            return f"another tool: {function['name']}"
        try:
            jsonschema.validate(json.loads(function["arguments"]), schemas[function["name"]],
                                format_checker=jsonschema.FormatChecker())
        except (ValueError, KeyError, jsonschema.ValidationError) as error:
            return f"{function}: {str(error).splitlines()[0]}"
        if not call["id"]:
            return "no id"
        seen[function["name"]] = seen.get(function["name"], 0) + 1
    return None


def main():
    build = sys.argv[2]
    short = bool(os.environ.get("DW_TEST_SHORT"))
    total = int(sys.argv[3]) if len(sys.argv) > 3 else 3 if short else 15
    model = os.path.join(os.environ["DW_TEST_MODEL_DIR"], "SmolLM2-135M-Instruct.Q4_1.gguf")
    program = os.path.join(build, "tests", "call_tools")
    cases = list(requests())[::len(ASKS) + 1 if short else 1]  # then one of each template
    seen, wrong, answers = {}, [], 0
    for i, (request, template) in enumerate(cases):
        count = total // len(cases) + (1 if i < total % len(cases) else 0)
        for message in calls(program, model, request, template, count):
            answers += 1
            why = check(message, request, seen)
            if why is not None:
                wrong.append((template, request["messages"][0]["content"], why, message))
    print(f"{answers} answers, {sum(seen.values())} calls valid against their schemas: {seen}")
    for one in wrong:
        print("WRONG", *one)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

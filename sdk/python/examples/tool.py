# The model calls a tool of the host's, and answers with what that said.
#   driftwood run --tool 'weather=echo sunny, 21 degrees' ./tool.wasm
from driftwood import Chat, Model, call

TOOLS = [{
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}]

model = Model()
chat = Chat(model, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
chat.add("user", "What is the weather in Oslo?")
wanted = chat.answer(96, lambda text: None)["tool_calls"][0]["function"]
print(wanted["name"], wanted["arguments"])
result = call(wanted["name"], wanted["arguments"])
print("-> " + result, end="")

chat.options = {"tools": TOOLS}
chat.add("tool", result)
chat.answer(48)
print()

// The model calls a tool of the host's, and answers with what that said.
//   driftwood run --tool 'weather=echo sunny, 21 degrees' ./tool.wasm
import { Chat, Model, call, print } from "driftwood";

const tools = [{
  type: "function",
  function: {
    name: "weather",
    description: "The weather in a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string", maxLength: 20 } },
      required: ["city"],
    },
  },
}];

const model = new Model();
const chat = new Chat(model, { tools, tool_choice: "required", parallel_tool_calls: false });
chat.add("user", "What is the weather in Oslo?");
const { function: wanted } = chat.answer(96, () => {}).tool_calls[0];
print(`${wanted.name} ${wanted.arguments}\n`);
const result = call(wanted.name, wanted.arguments);
print(`-> ${result}`);

chat.options = { tools };
chat.add("tool", result);
chat.answer(48);
print("\n");

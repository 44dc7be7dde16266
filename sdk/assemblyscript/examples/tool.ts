// The model calls a tool of the host's, and answers with what that said.
//   driftwood run --tool 'weather=echo sunny, 21 degrees' ./tool.wasm
import { Chat, Model, call, jsonItem, jsonMember, jsonText, print } from "driftwood";

const tools = '"tools":[{"type":"function","function":{"name":"weather","description":' +
  '"The weather in a city","parameters":{"type":"object","properties":{"city":' +
  '{"type":"string","maxLength":20}},"required":["city"]}}}]';

const chat = new Chat(Model.open().must("model"));
chat.options = tools + ',"tool_choice":"required","parallel_tool_calls":false';
chat.add("user", "What is the weather in Oslo?");
const message = chat.answer(96, (text: string): void => {}).must("call");
const wanted = jsonMember(jsonItem(jsonMember(message, "tool_calls"), 0), "function");
const name = jsonText(jsonMember(wanted, "name"));
const args = jsonText(jsonMember(wanted, "arguments"));
print(name + " " + args + "\n");
const result = call(name, args).must(name);
print("-> " + result);

chat.options = tools;
chat.add("tool", result);
chat.answer(48).must("answer");
print("\n");

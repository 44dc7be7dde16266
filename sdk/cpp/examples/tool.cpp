// The model calls a tool of the host's, and answers with what that said.
//   driftwood run --tool 'weather=echo sunny, 21 degrees' tool.wasm
#include "driftwood.hpp"

static const char options[] =
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":"
    "\"The weather in a city\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":"
    "{\"type\":\"string\",\"maxLength\":20}},\"required\":[\"city\"]}}}]";

int main()
{
    dw::Model model = dw::Model::open().must("model");
    dw::String must_call = dw::String::of(dw::Text(options));
    must_call.append(dw::Text(",\"tool_choice\":\"required\",\"parallel_tool_calls\":false"));
    dw::Chat chat(model, {}, must_call);
    chat.add("user", "What is the weather in Oslo?").must("prompt");
    dw::String message = chat.answer(96, [](dw::Text) {}).must("call");

    dw::Text call = dw::json::item(dw::json::member(message, "tool_calls"), 0);
    dw::Text function = dw::json::member(call, "function");
    dw::String name = dw::json::text(dw::json::member(function, "name"));
    dw::String arguments = dw::json::text(dw::json::member(function, "arguments"));
    printf("%.*s %.*s\n", (int)name.size(), name.data(), (int)arguments.size(), arguments.data());
    dw::String result = dw::call(name, arguments).must("tool");
    printf("-> %.*s", (int)result.size(), result.data());

    chat.set_options(options);
    chat.add("tool", result).must("result");
    chat.answer(48, dw::print).must("answer");
    dw::print("\n");
}

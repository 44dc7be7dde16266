//! The model calls a tool of the host's, and answers with what that said.
//!   driftwood run --tool 'weather=echo sunny, 21 degrees' ./tool.wasm
const std = @import("std");
const driftwood = @import("driftwood");
const allocator = std.heap.wasm_allocator;

const tools =
    \\"tools":[{"type":"function","function":{"name":"weather","description":"The weather in a city",
    \\"parameters":{"type":"object","properties":{"city":{"type":"string","maxLength":20}},
    \\"required":["city"]}}}]
;

const Message = struct {
    tool_calls: []const struct { function: struct { name: []const u8, arguments: []const u8 } },
};

fn silent(_: []const u8) void {}

fn ask(question: []const u8) !void {
    const model = try driftwood.Model.open("");
    defer model.close();
    var chat = try driftwood.Chat.init(allocator, model);
    defer chat.deinit();
    chat.options = tools ++ ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false";
    try chat.add("user", question);
    const text = try chat.answer(96, silent);
    const message = try std.json.parseFromSlice(Message, allocator, text, .{ .ignore_unknown_fields = true });
    defer message.deinit();
    const call = message.value.tool_calls[0].function;
    driftwood.print(call.name);
    driftwood.print(" ");
    driftwood.print(call.arguments);
    const result = try driftwood.call(allocator, call.name, call.arguments);
    driftwood.print("\n-> ");
    driftwood.print(result);

    chat.options = tools;
    try chat.add("tool", result);
    allocator.free(try chat.answer(48, driftwood.print));
    driftwood.print("\n");
}

pub fn main() void {
    ask("What is the weather in Oslo?") catch |err| driftwood.die("weather", err);
}

//! Answers the prompt, and prints the answer as it comes.
//!   driftwood run --prompt "Name three things that float." ./generate.wasm
const std = @import("std");
const driftwood = @import("driftwood");
const allocator = std.heap.wasm_allocator;

fn answer() !void {
    const prompt = try driftwood.env(allocator, "DRIFTWOOD_PROMPT");
    const tokens_max = try driftwood.env(allocator, "DRIFTWOOD_MAX_TOKENS");
    const model = try driftwood.Model.open("");
    defer model.close();
    var chat = try driftwood.Chat.init(allocator, model);
    defer chat.deinit();
    try chat.add("user", prompt orelse "Name three things that float.");
    const count = try std.fmt.parseInt(u32, tokens_max orelse "64", 10);
    allocator.free(try chat.answer(count, driftwood.print));
    driftwood.print("\n");
}

pub fn main() void {
    answer() catch |err| driftwood.die("generate", err);
}

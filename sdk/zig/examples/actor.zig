//! An actor: a chat that keeps its context between messages.
//!   driftwood actor spawn --state state --guest ./actor.wasm > id
//!   driftwood actor send --state state $(cat id) "Name a sea."
const std = @import("std");
const driftwood = @import("driftwood");
const allocator = std.heap.wasm_allocator;

/// Made for the first message, saved with the actor's memory behind each.
var chat: ?driftwood.Chat = null;

fn handle(message: []const u8) !void {
    if (chat == null) chat = try driftwood.Chat.init(allocator, try driftwood.Model.open(""));
    const own = &chat.?;
    try own.add("user", message);
    allocator.free(try own.answer(24, driftwood.print));
    driftwood.print("\n");
}

export fn driftwood_receive() i32 {
    return driftwood.actor.receive(allocator, handle);
}

//! An actor that writes by the standard library and by this one's functions, and panics.
const std = @import("std");
const driftwood = @import("driftwood");
const allocator = std.heap.wasm_allocator;

fn handle(message: []const u8) !void {
    if (message[0] == '=') {
        const answer = try driftwood.call(allocator, "echo", message[1..]);
        defer allocator.free(answer);
        return driftwood.actor.reply(answer);
    }
    std.debug.print("heard {d} bytes\n", .{message.len});
    driftwood.print(if (try driftwood.env(allocator, "NOSUCH") == null) "none " else "one ");
    if (std.mem.eql(u8, message, "panic")) @panic("no tide today");
    if (std.mem.eql(u8, message, "fail")) return error.NoTide;
    const list = try allocator.alloc(u8, 5);
    defer allocator.free(list);
    list[message.len] = 1;
    driftwood.print("well");
}

export fn driftwood_receive() i32 {
    return driftwood.actor.receive(allocator, handle);
}

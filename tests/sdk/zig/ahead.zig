//! Who may use a context while the device generates on it, and behind that; see test_ahead.
const std = @import("std");
const driftwood = @import("driftwood");
const raw = driftwood.raw;
const allocator = std.heap.wasm_allocator;

fn print(comptime format: []const u8, values: anytype) void {
    var text: [512]u8 = undefined;
    driftwood.print(std.fmt.bufPrint(&text, format, values) catch "too long");
}

fn code(result: anytype) i32 {
    _ = result catch |err| return driftwood.codeOf(err);
    return 0;
}

fn work() !void {
    const model = try driftwood.Model.open("");
    const sampler = try driftwood.Sampler.create(model, .{});
    const context = try driftwood.Context.create(allocator, model, 64);
    const prompt = try model.tokenize(allocator, "The sea", raw.DW_TOKENIZE_SPECIAL);
    const none: []f32 = &.{};
    const one = try driftwood.Generation.create(context, 8);
    defer one.destroy();
    const other = try driftwood.Generation.create(context, 8);
    defer other.destroy();
    try one.begin(sampler, prompt);
    const twice = code(one.begin(sampler, prompt));
    print("taken {d} {d} {d} {d} {d}\n", .{ code(context.fork()), code(context.trim(0)), code(context.forward(prompt, none)), code(other.begin(sampler, prompt)), code(sampler.accept(1)) });
    while (!one.ended()) _ = try one.wait();
    print("ended {d} {d} {d}\n", .{ one.chosen().len, try one.end(), try one.wait() });
    const fork = try context.fork();
    fork.close();
    print("free 0 {d} {d}", .{ code(context.trim(2)), code(context.forward(prompt, none)) });
    try other.begin(sampler, prompt);
    print(", again {d} {}\n", .{ try one.wait(), other.ended() });
    context.close();
    print("closing 0, then {d}\n", .{raw.context_length(context.handle)});
    context.close();
    print("closed 0, then {d} {d}\n", .{ code(context.fork()), code(context.trim(0)) });
    if (twice != raw.DW_E_STATE or !other.ended()) print("begun twice, or not ended\n", .{});
}

pub fn main() void {
    work() catch |err| driftwood.die("ahead", err);
}

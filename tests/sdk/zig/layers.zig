//! What tests/guest/layers.c says, by this SDK.
const std = @import("std");
const driftwood = @import("driftwood");
const raw = driftwood.raw;
const allocator = std.heap.wasm_allocator;

const prompt = [_]i32{ 504, 3575, 282, 4649, 314, 260 };
const draft = [_]i32{ 10, 20, 30, 40, 50, 60 };
const parents = [_]i32{ -1, 0, 0, 1, 2, -1 };

fn bits(value: f32) u32 {
    return @bitCast(value);
}

fn print(comptime format: []const u8, values: anytype) void {
    var text: [512]u8 = undefined;
    driftwood.print(std.fmt.bufPrint(&text, format, values) catch "too long");
}

fn printRow(row: []const f32) void {
    var best: usize = 0;
    for (row, 0..) |value, i| {
        if (value > row[best]) best = i;
    }
    print(" {d}:{d}", .{ best, bits(row[best]) });
}

fn list(from: []const i32) !driftwood.Tokens {
    const out = try driftwood.tokens(allocator, from.len);
    @memcpy(out, from);
    return out;
}

fn trees(model: driftwood.Model, context: driftwood.Context, rows: []f32) !void {
    const vocab = model.info.vocab_count;
    const none: []f32 = &.{};
    _ = try context.forward(&prompt, none);
    _ = try context.forwardTree(.{ .tokens = &draft, .parents = &parents }, rows);
    print("tree", .{});
    for (0..draft.len) |i| printRow(rows[i * vocab ..][0..vocab]);
    const kept: anyerror!u32 = context.keep(&.{ 3, 1 });
    print("\nkept {d}", .{try context.keep(&.{ 0, 1, 3 })});
    _ = try context.forward(&.{70}, rows[0..vocab]);
    printRow(rows[0..vocab]);
    const masked = try driftwood.Context.create(allocator, model, 32);
    defer masked.close();
    _ = try masked.forward(prompt[0..3], none);
    _ = try masked.forwardTree(.{
        .tokens = draft[0..3],
        .positions = &.{ 3, 4, 3 },
        .mask = &.{ 1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1 },
    }, rows[0 .. 2 * vocab]);
    print("\nmask", .{});
    printRow(rows[0..vocab]);
    printRow(rows[vocab..][0..vocab]);
    const short: anyerror!u32 = masked.forwardTree(.{ .tokens = &draft, .parents = parents[0..1] }, none);
    var refused: u32 = 0;
    if (kept) |_| {} else |_| refused += 1;
    if (short) |_| {} else |_| refused += 1;
    print(" {s}\n", .{if (refused == 2) "refused" else "taken"});
}

fn many(model: driftwood.Model, context: driftwood.Context, rows: []f32) !void {
    const vocab = model.info.vocab_count;
    const top = try driftwood.tokens(allocator, 3);
    const chances = try driftwood.floats(allocator, 3);
    const hidden = try driftwood.floats(allocator, model.info.embedding_length);
    const second = try context.fork();
    const third = try context.fork();
    const sampler = try driftwood.Sampler.create(model, .{});
    const lists = [_]driftwood.Tokens{ try list(&.{80}), try list(&.{ 81, 82 }), try list(&.{83}) };
    var steps = [_]raw.ForwardStep{
        .{ .context = context.handle, .tokens = lists[0].ptr, .token_count = 1, .rows = rows.ptr, .row_count = 1 },
        .{
            .context = second.handle,
            .flags = raw.DW_FORWARD_LOG_PROBABILITY,
            .tokens = lists[1].ptr,
            .token_count = 2,
            .sampler = sampler.handle,
            .top_count = 3,
            .top_tokens = top.ptr,
            .top_log_probabilities = chances.ptr,
        },
        .{
            .context = third.handle,
            .flags = raw.DW_FORWARD_HIDDEN,
            .tokens = lists[2].ptr,
            .token_count = 1,
            .rows = hidden.ptr,
            .row_count = 1,
        },
    };
    print("many {d} {d}", .{ try driftwood.forwardMany(&steps), context.length() });
    printRow(rows[0..vocab]);
    print(" {d} {d} {d} {d} {d} {d} {d}\n", .{
        steps[1].token, bits(steps[1].log_probability), top[0],         top[1],
        top[2],         bits(chances[2]),               bits(hidden[1]),
    });
}

fn treeAmongSteps(context: driftwood.Context, rows: []f32, vocab: usize) !void {
    const leaves = try list(&.{ 20, 30, 40 });
    const on = try list(&.{ -1, 0, 0 });
    const token = try list(&.{84});
    const fork = try context.fork();
    const shape = [1]raw.TreeShape{.{ .parents = on.ptr }};
    var steps = [_]raw.ForwardStep{
        .{ .context = context.handle, .tokens = leaves.ptr, .token_count = 3, .rows = rows.ptr, .row_count = 3, .tree = &shape },
        .{ .context = fork.handle, .tokens = token.ptr, .token_count = 1, .rows = rows[3 * vocab ..].ptr, .row_count = 1 },
    };
    print("steps {d}", .{try driftwood.forwardMany(&steps)});
    for (0..4) |i| printRow(rows[i * vocab ..][0..vocab]);
    print(" {d} {d}\n", .{ steps[1].status, try context.keep(&.{ 0, 2 }) });
}

fn embedded(model: driftwood.Model, rows: []f32) !void {
    const fresh = try driftwood.Context.create(allocator, model, 32);
    defer fresh.close();
    const embeddings = try model.tokenEmbeddings(allocator, &prompt);
    const last = embeddings.len - 1;
    print("rows {d} {d} {d}", .{ embeddings.len, bits(embeddings[0]), bits(embeddings[last]) });
    print(" {d}", .{try fresh.forwardEmbeddings(embeddings, rows[0..model.info.vocab_count])});
    printRow(rows[0..model.info.vocab_count]);
    const one = try model.embed(allocator, &prompt, raw.DW_POOLING_MODEL, raw.DW_EMBED_NORMALIZE);
    const all = try model.embed(allocator, &prompt, raw.DW_POOLING_NONE, 0);
    print("\nembed {d} {d} {d} {d} {d}\n", .{
        one.len, bits(one[0]), bits(one[one.len - 1]), bits(all[0]), bits(all[all.len - 1]),
    });
}

fn run() !void {
    const model = try driftwood.Model.open("");
    defer model.close();
    const context = try driftwood.Context.create(allocator, model, 64);
    defer context.close();
    const rows = try driftwood.floats(allocator, 6 * model.info.vocab_count);
    try trees(model, context, rows);
    try many(model, context, rows);
    try treeAmongSteps(context, rows, model.info.vocab_count);
    try embedded(model, rows);
}

pub fn main() void {
    run() catch |err| driftwood.die("layers", err);
}
